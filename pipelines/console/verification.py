"""The ledger proved in the background: it is read as a whole, for which no page can wait."""

import threading
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from alerting.errors import LedgerError
from connectors.errors import StoreError
from connectors.store import Store
from pipelines.audit import Proof, prove


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The last proof that this process made. Times are UTC; `error` where none could be made."""

    running: bool = False
    asked_by: str | None = None
    finished_at: datetime | None = None
    proof: Proof | None = None
    error: str | None = None


@dataclass
class Verifier:
    """One proof at a time."""

    store: Store
    _last: Verification = field(default_factory=Verification)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def last(self) -> Verification:
        """What is known now."""
        return self._last

    def start(self, actor: str) -> None:
        """Begins a proof, unless one is being made."""
        with self._lock:
            if self._last.running:
                return
            self._last = replace(self._last, running=True, asked_by=actor)
        threading.Thread(target=self._prove, name="verify", daemon=True).start()

    def _prove(self) -> None:
        found = Verification(
            asked_by=self._last.asked_by, error="it was broken off: see the console's log"
        )
        try:
            found = replace(found, proof=prove(self.store), error=None)
        except (StoreError, LedgerError) as error:
            found = replace(found, error=str(error))
        finally:
            self._last = replace(found, finished_at=datetime.now(UTC))
