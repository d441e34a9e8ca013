"""Follows a live job: what its watch step commits becomes alerts, minute by minute.

Final minutes are folded as a replay folds them, so that final alerts and events are a replay's. The
tail beyond them is folded from a copy of that state, so that people hear at once: what it says is
provisional until the final fold confirms, revises or withdraws it.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec

from alerting.alert import Alert, AlertChange, provisional
from alerting.ledger import LedgerRow
from alerting.lifecycle import Lifecycle, LifecycleSettings, LifecycleState
from alerting.spike import Spike
from connectors.errors import StoreError
from connectors.store import Store, Transaction
from pipelines.alerting.incidents import group
from pipelines.alerting.minutes import MINUTE, Minute, read
from pipelines.recording import Enrich, Withdrawal, record_changes, record_withdrawals
from pipelines.state import StateError

STATE = "alerting"
"""The `run_id` under which the state lies: it outlives a release and its manifest."""

_VERSION = 1
_MOST = 500  # final minutes in one transaction
_BEGINNING = datetime.min.replace(tzinfo=UTC)

Tell = Callable[[Transaction, Sequence[LedgerRow], datetime], None]
"""Says to whom it concerns what was filed, in the same transaction."""


def tell_nobody(_tx: Transaction, _rows: Sequence[LedgerRow], _now: datetime) -> None:
    """Nobody is to be told."""


class Overtaken(StoreError):
    """Another process has gone on from the same state."""


class Pending(msgspec.Struct, frozen=True, array_like=True):
    """A provisional event that waits for the final fold. `at`: event time, UTC."""

    alert_id: str
    event: str
    at: datetime


class _Stored(msgspec.Struct, frozen=True, array_like=True):
    """`revision` counts the commits; `frontier`: start of the last final minute that was folded;
    `pending`: by the event's id."""

    revision: int = 0
    frontier: datetime = _BEGINNING
    life: bytes = b""
    pending: dict[str, Pending] = {}


@dataclass
class _Place:
    """Where the fold stands: `_Stored`, decoded."""

    frontier: datetime
    life: LifecycleState
    pending: dict[str, Pending]
    revision: int

    def passed(self, pending: Pending) -> bool:
        """Whether the final fold would have said it by now."""
        if pending.event == "resolved":
            return pending.at <= self.life.now
        return pending.at <= max(self.frontier + MINUTE, self.life.now)

    def withdrawal(self, name: str) -> Withdrawal:
        """Of the pending event of this id, which is no longer pending then."""
        pending = self.pending.pop(name)
        return Withdrawal(pending.alert_id, name, max(pending.at, self.life.now))


@dataclass
class Follower:
    """One configuration's alerts. `run_id`: what the ledger names as the finder."""

    store: Store
    configuration: str
    settings: LifecycleSettings
    enrich: Enrich
    run_id: str
    tell: Tell = tell_nobody
    _life: Lifecycle = field(init=False)
    _place: _Place | None = None
    _tail: list[Minute] = field(default_factory=list)
    _told: dict[str, Alert] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._life = Lifecycle(self.settings)

    @property
    def event_time(self) -> datetime:
        """How far the final fold has come, UTC; the beginning of time before the first look."""
        return self._place.life.now if self._place else _BEGINNING

    def look(self, now: datetime) -> tuple[list[LedgerRow], bool]:
        """Folds what was committed since the last look, at `now` (UTC).

        Returns the ledger's new rows, and whether more is there already. Raises StoreError; what
        was not committed then is looked at again.
        """
        try:
            return self._look(self._place or self._load(), now)
        except BaseException:
            self._place, self._tail, self._told = None, [], {}
            raise

    def _load(self) -> _Place:
        with self.store.transaction() as tx:
            stored = self._stored(tx)
        life = self._life.decode(stored.life) if stored.life else self._life.initial()
        self._place = _Place(stored.frontier, life, stored.pending, stored.revision)
        return self._place

    def _stored(self, tx: Transaction) -> _Stored:
        found = tx.state(STATE).get(self.configuration)
        if found is None:
            return _Stored()
        version, payload = found
        if version != _VERSION:
            raise StateError(STATE, version, _VERSION)
        return msgspec.msgpack.decode(payload, type=_Stored)

    def _look(self, place: _Place, now: datetime) -> tuple[list[LedgerRow], bool]:
        with self.store.snapshot() as connection:
            minutes = read(connection, self.configuration, place.frontier, _MOST)
        if not minutes.final and minutes.tail == self._tail:
            return [], False
        life = self._copy(place.life)
        found = self._step(life, minutes.final)
        ahead = [provisional(one) for one in self._step(self._copy(life), minutes.tail)]
        fresh = [one for one in ahead if self._told.get(one.event_id) != one.alert]
        filed: list[LedgerRow] = []
        if minutes.final or fresh:
            frontier = minutes.final[-1][0] if minutes.final else place.frontier
            after = _Place(frontier, life, dict(place.pending), place.revision + 1)
            with self.store.transaction() as tx:
                filed = self._commit(tx, after, found, fresh, now)
            self._place = after
        self._tail = minutes.tail
        self._told = {one.event_id: one.alert for one in ahead}
        return filed, minutes.more

    def _commit(
        self,
        tx: Transaction,
        after: _Place,
        found: Sequence[AlertChange],
        fresh: Sequence[AlertChange],
        now: datetime,
    ) -> list[LedgerRow]:
        """Files what the final fold `found`, takes back what it passed by, files the `fresh`."""
        tx.ledger_end()  # nobody else commits from here on
        if self._stored(tx).revision != after.revision - 1:
            raise Overtaken(
                f"another process follows {self.configuration} in {self.store.url} too: stop it"
            )
        filed = self._file(tx, found, now)
        for one in found:
            after.pending.pop(one.event_id, None)
        over = [name for name, one in after.pending.items() if after.passed(one)]
        gone = [after.withdrawal(name) for name in over]
        filed += record_withdrawals(tx, gone, self.enrich, self.run_id, now)
        new = self._file(tx, fresh, now)
        changes = {one.event_id: one for one in fresh}
        for row in new:
            name = row.details.get("revises", row.id)
            change = changes[name]
            after.pending[name] = Pending(change.alert_id, change.event, change.occurred_at)
        filed += new
        group(tx, filed, now)
        self.tell(tx, filed, now)
        life = self._life.encode(after.life)
        stored = _Stored(after.revision, after.frontier, life, after.pending)
        state = {self.configuration: (_VERSION, msgspec.msgpack.encode(stored))}
        tx.save_state(STATE, after.revision, state)
        return filed

    def _file(
        self, tx: Transaction, changes: Sequence[AlertChange], now: datetime
    ) -> list[LedgerRow]:
        shown = self.enrich(tx, [change.alert for change in changes])
        return record_changes(tx, list(zip(changes, shown, strict=True)), self.run_id, now)

    def _step(self, life: LifecycleState, minutes: Iterable[Minute]) -> list[AlertChange]:
        changes: list[AlertChange] = []
        for minute, spikes in minutes:
            events: tuple[Spike | datetime, ...] = (*spikes, minute)
            for event in events:
                changes += self._life.step(life, event)[1]
        return changes

    def _copy(self, life: LifecycleState) -> LifecycleState:
        return self._life.decode(self._life.encode(life))
