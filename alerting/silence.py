"""A silence: for a while nobody is told of certain alerts; they are filed all the same."""

from datetime import datetime

import msgspec

from alerting.alert import Alert


class Silence(msgspec.Struct, frozen=True, kw_only=True):
    """`keys` and `kinds`: of the alerts, all where none is named. Times are of the clock, UTC;
    it holds from `starts_at` up to `ends_at`."""

    id: str
    owner: str
    reason: str
    starts_at: datetime
    ends_at: datetime
    keys: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()

    def covers(self, alert: Alert, now: datetime) -> bool:
        """Whether it holds at `now` (UTC) for this alert."""
        return (
            self.starts_at <= now < self.ends_at
            and (not self.keys or alert.key in self.keys)
            and (not self.kinds or alert.kind in self.kinds)
        )
