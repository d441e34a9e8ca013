"""A channel whose sendings end in time, whatever the other side does.

A time-out of a socket is for one silence; a server that sends a byte now and then would hold us for
ever. So a sending has a thread of its own, which is left behind when its time is up.
"""

from collections.abc import Callable
from threading import Thread
from typing import Generic, TypeVar

from alerting.channels.channel import Retry

_Sent = TypeVar("_Sent")

_LEFT_BEHIND = 4
"""Sendings without an end after which no more are begun until one of them ends."""


class Bounded(Generic[_Sent]):
    """`sends` of a channel, each of which ends within `seconds`, by `Retry` if need be."""

    def __init__(self, sends: Callable[[_Sent], None], seconds: float) -> None:
        self.seconds = seconds
        self._sends = sends
        self._late: list[Thread] = []

    def send(self, notice: _Sent) -> None:
        """Raises what the channel raises, or `Retry` where the time is up."""
        self._late = [thread for thread in self._late if thread.is_alive()]
        if len(self._late) >= _LEFT_BEHIND:
            raise Retry(f"{_LEFT_BEHIND} sendings before this one have not ended yet")
        failed: list[Exception] = []
        thread = Thread(target=self._send, args=(notice, failed), daemon=True)
        thread.start()
        thread.join(self.seconds)
        if thread.is_alive():
            self._late.append(thread)
            raise Retry(f"the sending did not end within {self.seconds:g} s")
        if failed:
            raise failed[0]

    def _send(self, notice: _Sent, failed: list[Exception]) -> None:
        try:
            self._sends(notice)
        except Exception as error:  # it is raised again, by who waits
            failed.append(error)
