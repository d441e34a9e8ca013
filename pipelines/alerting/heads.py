"""Signed heads of the ledger sent away: at intervals while the alert process runs, and at the end
of every run. What lies elsewhere is what a chain that was computed anew is found by.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from threading import Event

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from alerting.channels.channel import NotDelivered
from alerting.errors import AlertingError, LedgerError
from alerting.heads import Head, add_head, load_private, sign
from alerting.ledger import Point
from connectors.errors import StoreUnavailable
from connectors.store import Store
from pipelines.alerting.channels import open_head_channels
from pipelines.audit import proven_end
from pipelines.configuration import Configuration
from pipelines.metrics.instruments import metrics

_RETRY_SECONDS = 30.0

_log = logging.getLogger(__name__)


class HeadNotSent(AlertingError):
    """A head did not reach all whom it was for."""


@dataclass
class HeadSender:
    """Proves the chain of one store, signs where it ends, and sends that to its `targets`.

    What was proved once is not read again: each head costs what came since the one before.
    """

    store: Store
    key: Ed25519PrivateKey
    targets: Mapping[str, Callable[[Head], None]]
    seconds: float
    _proved: Point = field(default_factory=Point)

    @classmethod
    def configured(cls, store: Store, configuration: Configuration) -> "HeadSender | None":
        """As the section `[heads]` says; None where it names nobody. Raises `KeyFileError` and
        `ConfigurationError`."""
        settings = configuration.heads
        if settings.key_file is None or not settings.wanted:
            return None
        targets: dict[str, Callable[[Head], None]] = dict(open_head_channels(configuration))
        if settings.file is not None:
            targets[str(settings.file)] = partial(add_head, settings.file)
        key = load_private(settings.key_file)
        return cls(store, key, targets, settings.minutes * 60)

    def send(self) -> Head:
        """Sends a head to everybody. Raises `HeadNotSent`, naming who did not get it, `LedgerError`
        where the chain is broken, StoreError."""
        head = self._head()
        if failed := self._send(head, list(self.targets)):
            raise HeadNotSent(
                f"the head at row {head.sequence} did not reach {'; '.join(failed.values())}"
            )
        return head

    def run(self, stop: Event) -> None:
        """Sends a head now and then, until `stop` is set; what could not be sent is tried again.

        Of a broken chain no head is sent, and the log says so each time. Raises other StoreErrors
        than that the store is away.
        """
        waiting = list(self.targets)
        while not stop.is_set():
            pause = self.seconds
            try:
                failed = self._send(self._head(), waiting)
            except StoreUnavailable as error:
                _log.warning("%s; heads wait", error)
                pause = min(_RETRY_SECONDS, self.seconds)
            except LedgerError as error:
                _log.error("%s", error)
            else:
                for said in failed.values():
                    _log.warning("no head sent: %s", said)
                if failed:
                    pause = min(_RETRY_SECONDS, self.seconds)
                waiting = list(failed or self.targets)
            stop.wait(pause)

    def _head(self) -> Head:
        try:
            self._proved = proven_end(self.store, self._proved)
        except LedgerError:
            metrics().ledger(intact=False)  # what else it takes to hold, only `verify` can say
            raise
        return sign(self._proved, self.key)

    def _send(self, head: Head, names: list[str]) -> dict[str, str]:
        """Sends to these targets; returns whom it did not reach, and why."""
        failed = {}
        for name in names:
            try:
                self.targets[name](head)
            except (NotDelivered, LedgerError) as error:
                failed[name] = f"{name}: {error}"
        return failed
