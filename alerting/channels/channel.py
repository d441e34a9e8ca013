"""What a channel is, and how it says that it could not deliver."""

from datetime import timedelta
from typing import Protocol, runtime_checkable

from alerting.channels.notice import Notice
from alerting.errors import AlertingError
from alerting.heads import Head


class NotDelivered(AlertingError):
    """`reason` is in our own words, for the ledger; `said` what the other side answered, made
    harmless. Neither holds a secret."""

    def __init__(self, reason: str, said: str = "") -> None:
        super().__init__(f"{reason} ({said})" if said else reason)
        self.reason = reason


class Retry(NotDelivered):
    """Not now; `after`: how long the other side asks us to wait, where it does."""

    def __init__(self, reason: str, said: str = "", *, after: timedelta | None = None) -> None:
        super().__init__(reason, said)
        self.after = after


class Refused(NotDelivered):
    """This notice will never be taken, whatever is tried: it is not the channel, but the notice."""


@runtime_checkable
class HeadChannel(Protocol):
    """A channel that takes heads of the ledger too."""

    def send_head(self, head: Head) -> None:
        """As `Channel.send`; `head.id` is what the other side can tell a copy by."""


class Channel(Protocol):
    """One way to tell people. It is used by one thread at a time."""

    def send(self, notice: Notice) -> None:
        """Returns when the other side has taken the notice; raises `Retry` or `Refused`.

        May be called again with the same notice, also where it was taken before and we did not
        live to note it: an implementation passes on `notice.id`, by which the other side can tell.
        """
