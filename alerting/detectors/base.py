"""What every detector offers, so that one suite of checks and one pipeline serve them all."""

from typing import Protocol, TypeVar

from alerting.spike import Spike
from alerting.windows import Minute

State = TypeVar("State")


class Detector(Protocol[State]):
    """Minutes in order to spikes.

    `step` may change the state in place and must look at nothing but the state and the minute;
    the same minutes give the same spikes, whether or not the state went through bytes in between.
    """

    @property
    def configuration_hash(self) -> str:
        """Identity of everything but the data that the spikes depend on."""
        ...

    def initial(self) -> State:
        """The state before the first minute."""
        ...

    def step(self, state: State, minute: Minute) -> list[Spike]:
        """The spikes of this minute, by key and kind. Minutes come in order, empty ones may miss.

        Raises `StateError` for a minute that is not after the last one.
        """
        ...

    def encode(self, state: State) -> bytes:
        """Versioned bytes of the state."""
        ...

    def decode(self, payload: bytes) -> State:
        """The state again. Raises `StateError` for bytes of an unknown version or configuration."""
        ...
