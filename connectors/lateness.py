"""Which messages are late: a function of the data, never of the clock.

A message is late when its event time lies below (the maximum at lower offsets of its partition)
minus the bound of disorder minus the allowed lateness. So a replay of the same offsets finds the
same messages late.
"""

from datetime import UTC, datetime, timedelta

import msgspec

from connectors.dead_letter import DeadLetter
from connectors.errors import ConnectorError
from connectors.message import Message

BEGINNING = datetime.min.replace(tzinfo=UTC)
"""Nothing lies below it."""


class LatenessSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`disorder_seconds`: how far messages may come out of order without delaying anything; results
    are provisional that long after the event time reached. `allowed_seconds`: how much longer
    windows wait for stragglers before they are final."""

    disorder_seconds: float = 10.0
    allowed_seconds: float = 600.0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if not 0 <= getattr(self, name) <= 7 * 86_400:
                raise ConnectorError(f"{name} is {getattr(self, name)}: give 0 to a week")

    @property
    def disorder(self) -> timedelta:
        return timedelta(seconds=self.disorder_seconds)

    @property
    def allowed(self) -> timedelta:
        return timedelta(seconds=self.allowed_seconds)


class Lateness:
    """Judges the messages of one partition, in the order of their offsets.

    `maximum`: the latest event time (UTC) so far, which is all the state that there is; None where
    there was no message. `frontier`: what lies below it is late.
    """

    __slots__ = ("_slack", "frontier", "maximum")

    def __init__(self, settings: LatenessSettings, maximum: datetime | None = None) -> None:
        self._slack = settings.disorder + settings.allowed
        self.maximum = maximum
        self.frontier = BEGINNING if maximum is None else maximum - self._slack

    def late(self, published_at: datetime) -> bool:
        """Whether the message at the next offset is late; it then counts for those behind it."""
        if self.maximum is None or published_at > self.maximum:
            self.maximum = published_at
            self.frontier = published_at - self._slack
            return False
        return published_at < self.frontier


LATE = "late"
PARTITION_IDLE = "partition_idle"


class LateMessage(msgspec.Struct, frozen=True, gc=False):
    """A message that came too late for its windows; it is stored and tagged all the same.

    `frontier`: the event time (UTC) that its `published_at` lies below. `reason`: `late`, or
    `partition_idle` where its partition had been silent.
    """

    message: Message
    frontier: datetime
    reason: str


Item = Message | LateMessage | DeadLetter
"""What comes from a source."""
