"""Rules at work on the store: what was filed goes to whom it concerns, in the same transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import select

from alerting.alert import Alert
from alerting.decisions import MACHINE
from alerting.ledger import LedgerRow
from alerting.notification import delivery
from alerting.routing import VERSION, Filed, Known, Outcome, RoutingState, decode, encode
from connectors.store import Store, Transaction
from connectors.store.schema import alerts
from pipelines.alerting.following import STATE
from pipelines.alerting.incidents import incidents_of
from pipelines.alerting.ruling import RulesFile
from pipelines.alerting.silencing import holding
from pipelines.recording import record_event

_ROUTING = "routing"
_BEGINNING = datetime.min.replace(tzinfo=UTC)

NEWS = frozenset({"opened", "updated", "revised", "resolved", "withdrawn"})
"""The events of the ledger that are routed."""


@dataclass
class Routing:
    """Tells by the rules of a file. `due`: when time alone makes something happen, as far as it is
    known."""

    file: RulesFile
    _due: datetime | None = _BEGINNING

    def tell(self, tx: Transaction, rows: Sequence[LedgerRow], now: datetime) -> None:
        """Routes what was filed."""
        news = [row for row in rows if row.event in NEWS]
        if not news:
            return
        state = _load(tx)
        quiet = holding(tx, now)
        incidents = incidents_of(tx, [str(row.alert_id) for row in news])
        for row in news:
            filed = _filed(row, incidents.get(str(row.alert_id)))
            outcome = self.file.router.route(state, filed, quiet, now)
            _write(tx, outcome, now)
        _save(tx, state)
        self._due = min((at for at in (self._due, state.due()) if at is not None), default=None)

    def tick(self, store: Store, now: datetime) -> None:
        """Does what is due by time alone: digests, and the next ones to be told."""
        if self._due is None or self._due > now:
            return
        with store.transaction() as tx:
            tx.ledger_end()
            state = _load(tx)
            outcome = self.file.router.tick(state, lambda name: _known(tx, name), now)
            if outcome.entries:
                _write(tx, outcome, now)
            _save(tx, state)
        self._due = state.due()


def alert_of(row: Mapping[str, Any]) -> Alert:
    """A row of `alerts` as the ledger has it: without texts."""
    evidence = {name: value for name, value in row["evidence"].items() if name != "messages"}
    names = (name for name in Alert.__struct_fields__ if name in row)
    return Alert(**{**{name: row[name] for name in names}, "evidence": evidence})


def _filed(row: LedgerRow, incident: str | None) -> Filed:
    return Filed(
        event_id=row.id,
        event=row.event,
        occurred_at=row.occurred_at,
        alert=msgspec.convert(row.details["alert"], Alert),
        incident=incident,
        closed="kept" in row.details,
    )


def _known(tx: Transaction, alert_id: str) -> Known | None:
    for row in tx.rows(select(alerts).where(alerts.c.id == alert_id)):
        return Known(
            alert=alert_of(row),
            acknowledged=row["acknowledged_at"] is not None,
            over=row["state"] == "resolved",
            snoozed_until=row["snoozed_until"],
        )
    return None


def _write(tx: Transaction, outcome: Outcome, now: datetime) -> None:
    for entry in outcome.entries:
        record_event(tx, entry, actor=MACHINE, now=now)
    tx.upsert("deliveries", [delivery(one, now) for one in outcome.notifications])


def _load(tx: Transaction) -> RoutingState:
    found = tx.state(STATE).get(_ROUTING)
    return decode(found[1]) if found else RoutingState()


def _save(tx: Transaction, state: RoutingState) -> None:
    tx.save_state(STATE, 0, {_ROUTING: (VERSION, encode(state))})
