"""Deduplication by message id: the first copy wins, over a stated horizon of event time.

Ids are remembered as 16-byte digests in segments of one hour of event time, so that a run stores
only the segments that a slice has changed. Beyond the horizon the store's primary key decides.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator

from connectors.errors import ConnectorError

VERSION = 1
HOUR = 3_600_000_000
"""Microseconds in a segment."""

_DIGEST = 16


class DeduplicationStateError(ConnectorError):
    """A stored state that this version cannot read."""


class Deduplication:
    """The ids of the last hours. `step` must be called in order of event time; where messages come
    in another one, call `first`, and `forget` with what no message lies below any more."""

    def __init__(self, horizon_hours: int = 24) -> None:
        self.horizon_hours = horizon_hours
        self._segments: OrderedDict[int, set[bytes]] = OrderedDict()
        self._changed: set[int] = set()

    def step(self, message_id: str, at: int) -> bool:
        """True for the first message of this id. `at`: event time in microseconds, UTC."""
        self.forget(at)
        return self.first(message_id, at)

    def first(self, message_id: str, at: int) -> bool:
        """`step` in any order."""
        digest = hashlib.blake2b(message_id.encode(), digest_size=_DIGEST).digest()
        if any(digest in segment for segment in self._segments.values()):
            return False
        hour = at // HOUR
        self._segments.setdefault(hour, set()).add(digest)
        self._changed.add(hour)
        return True

    def forget(self, at: int) -> None:
        """Lets go of what is beyond the horizon of `at`."""
        oldest = at // HOUR - self.horizon_hours
        for hour in [hour for hour in self._segments if hour < oldest]:
            del self._segments[hour]
            self._changed.add(hour)

    def __len__(self) -> int:
        """How many ids are remembered."""
        return sum(map(len, self._segments.values()))

    def changes(self) -> Iterator[tuple[int, bytes | None]]:
        """The segments changed since the last call: (hour, bytes), or None for one that is gone."""
        for hour in sorted(self._changed):
            digests = self._segments.get(hour)
            yield hour, None if digests is None else bytes([VERSION]) + b"".join(sorted(digests))
        self._changed.clear()

    def load(self, hour: int, payload: bytes) -> None:
        """Takes back one segment; segments must come in order of their hour."""
        if payload[:1] != bytes([VERSION]) or len(payload) % _DIGEST != 1:
            raise DeduplicationStateError(
                "The stored state of deduplication was written by another release. Replay into a "
                "new database, or use the release that wrote this one."
            )
        body = payload[1:]
        self._segments[hour] = {body[i : i + _DIGEST] for i in range(0, len(body), _DIGEST)}
