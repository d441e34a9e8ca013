"""Which messages are late: a function of the data, never of the clock.

A message is late when its event time lies below (the maximum at lower offsets of its partition)
minus the bound of disorder minus the allowed lateness. So a replay of the same offsets finds the
same messages late.
"""

from datetime import datetime, timedelta

import msgspec

from connectors.errors import ConnectorError
from connectors.message import Message


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


class LateMessage(msgspec.Struct, frozen=True, gc=False):
    """A message that came too late for its windows; it is stored and tagged all the same.

    `frontier`: the event time (UTC) that its `published_at` lies below. `reason`: `late`, or
    `partition_idle` where its partition had been silent.
    """

    message: Message
    frontier: datetime
    reason: str
