"""The one way into the ledger, for the pipeline and for people alike: an event, and the alert's row
as the ledger then says it is, in one transaction.
"""

import secrets
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from alerting import ledger
from alerting.alert import Alert, AlertChange
from alerting.decisions import (
    MACHINE,
    Action,
    DecisionSettings,
    Said,
    Standing,
    decide,
    follow,
    follow_all,
    latest,
)
from alerting.errors import LedgerError
from alerting.ledger import Entry, LedgerRow, Point
from alerting.spike import identity
from connectors.store import Transaction

Enrich = Callable[[Transaction, Sequence[Alert]], list[Alert]]
"""Adds to the alerts' evidence what only the store and the model know: texts and their words."""

_SALT_BYTES = 16


def record_changes(
    tx: Transaction, changes: Sequence[tuple[AlertChange, Alert]], run_id: str, now: datetime
) -> list[LedgerRow]:
    """Files what a run found, each change with the alert as it is shown, its messages included.

    What the ledger says already is left out; what it said provisionally and is `final` now gets an
    event `confirmed`. What is said otherwise than before, because of messages that came since or by
    another run, is `revised`. An alert that a person closed stays closed, and the event says that
    it was. Returns the new rows.
    """
    if not changes:
        return []
    filing = _Filing.of(tx, [alert.id for _, alert in changes], run_id, now)
    filing.fetch_salts([alert for _, alert in changes])
    for change, alert in changes:
        filing.change(change, alert)
    return filing.end()


class Withdrawal(msgspec.Struct, frozen=True):
    """Of an event that was filed provisionally: nothing final says it. `at`: event time, UTC."""

    alert_id: str
    event_id: str
    at: datetime


def record_withdrawals(
    tx: Transaction, withdrawals: Sequence[Withdrawal], enrich: Enrich, run_id: str, now: datetime
) -> list[LedgerRow]:
    """Files withdrawals, the latest event of an alert first, each with the alert as it stands then.

    An alert of which nothing is left is resolved. What is final meanwhile stays as it is.
    """
    if not withdrawals:
        return []
    filing = _Filing.of(tx, [one.alert_id for one in withdrawals], run_id, now)
    for one in sorted(withdrawals, key=filing.order, reverse=True):
        filing.withdraw(one, enrich)
    return filing.end()


def record_decision(
    tx: Transaction,
    alert_id: str,
    action: Action,
    *,
    actor: str,
    now: datetime,
    reasons: Collection[str] = DecisionSettings().reasons,
) -> LedgerRow:
    """Files what a person decides at `now` (UTC) and sets the alert's columns.

    Raises `DecisionRefused`, or `LedgerError` where the ledger holds nothing of the alert.
    """
    end = _end(tx)
    before = follow_all(_filed(tx, [alert_id]).get(alert_id, ()))
    if before is None:
        raise LedgerError(
            f"the ledger holds nothing of alert {alert_id}: check it with foreshock alerts verify"
        )
    after, entry = decide(before, action, actor=actor, now=now, reasons=reasons)
    (row,) = _append(tx, end, [entry], now, actor.strip())
    columns = {name: getattr(after.people, name) for name in entry.details.get("set", {})}
    if columns:
        tx.decide(alert_id, columns)
    return row


def record_event(tx: Transaction, entry: Entry, *, actor: str, now: datetime) -> LedgerRow:
    """Files an event that changes no column of an alert's row."""
    (row,) = _append(tx, _end(tx), [entry], now, actor)
    return row


def record_fact(
    tx: Transaction, event: str, subject: str, *, actor: str, now: datetime, **details: Any
) -> LedgerRow:
    """Files what somebody did to something else than an alert: `user:jane`, `silence:5c1e`.

    Ask for it before you touch the rows it is about, so that no two writers wait for each other.
    """
    end = _end(tx)
    entry = Entry(
        event_id=identity("fact", end.hash, event, subject),
        subject=subject,
        event=event,
        occurred_at=now,
        details=details,
    )
    (row,) = _append(tx, end, [entry], now, actor)
    return row


@dataclass
class _Filing:
    """Some events going into the ledger, and the alerts' rows after them."""

    tx: Transaction
    run_id: str
    now: datetime
    point: Point
    standing: dict[str, Standing]
    salts: dict[str, str] = field(default_factory=dict)
    filed: list[LedgerRow] = field(default_factory=list)
    shown: dict[str, Alert] = field(default_factory=dict)

    @classmethod
    def of(cls, tx: Transaction, alert_ids: Iterable[str], run_id: str, now: datetime) -> "_Filing":
        point = _end(tx)
        found = {alert_id: follow_all(rows) for alert_id, rows in _filed(tx, alert_ids).items()}
        standing = {alert_id: one for alert_id, one in found.items() if one is not None}
        return cls(tx, run_id, now, point, standing)

    def order(self, withdrawal: Withdrawal) -> tuple[bool, datetime, bool]:
        return self._said(withdrawal).order

    def change(self, change: AlertChange, alert: Alert) -> None:
        before = self.standing.get(alert.id)
        seals = self._seals(alert)
        entry = _entry(change, before.said.get(change.event_id) if before else None, seals)
        if entry is not None and self._file(entry).latest == change.event_id:
            self._show(alert)

    def withdraw(self, withdrawal: Withdrawal, enrich: Enrich) -> None:
        said = self._said(withdrawal)
        if said.withdrawn or said.alert.final:
            return
        left = {
            **self.standing[withdrawal.alert_id].said,
            withdrawal.event_id: msgspec.structs.replace(said, withdrawn=True),
        }
        stands = left[latest(left)]
        alert = stands.alert
        if stands.withdrawn:
            over = {"state": "resolved", "resolved_at": withdrawal.at}
            alert = msgspec.structs.replace(said.alert, **over)
        (shown,) = enrich(self.tx, [alert])
        self.fetch_salts([shown])
        self._file(
            Entry(
                event_id=identity("withdrawn", said.row),
                alert_id=alert.id,
                event="withdrawn",
                occurred_at=withdrawal.at,
                details={
                    "withdraws": withdrawal.event_id,
                    "alert": msgspec.to_builtins(alert),
                },
                seals=self._seals(shown),
                final=False,
            )
        )
        self._show(shown)

    def fetch_salts(self, alerts: Iterable[Alert]) -> None:
        """Of the messages that the alerts show."""
        self.salts |= _salts(self.tx, alerts)

    def end(self) -> list[LedgerRow]:
        """Writes the alerts' rows; returns those of the ledger."""
        self.tx.upsert_records("alerts", list(self.shown.values()))
        return self.filed

    def _said(self, withdrawal: Withdrawal) -> Said:
        return self.standing[withdrawal.alert_id].said[withdrawal.event_id]

    def _file(self, entry: Entry) -> Standing:
        alert_id = str(entry.alert_id)
        before = self.standing.get(alert_id)
        entry = msgspec.structs.replace(
            entry, details=_kept(entry.details, before), run_id=self.run_id
        )
        (row,) = _append(self.tx, self.point, [entry], self.now, MACHINE)
        self.point = Point(row.sequence, row.hash)
        self.filed.append(row)
        after = self.standing[alert_id] = follow(before, row)
        return after

    def _show(self, alert: Alert) -> None:
        final = self.standing[alert.id].alert.final
        self.shown[alert.id] = msgspec.structs.replace(alert, final=final)

    def _seals(self, alert: Alert) -> list[tuple[str, str]]:
        return [(row["id"], ledger.seal(self.salts[row["id"]], row)) for row in _messages(alert)]


def _append(
    tx: Transaction, end: Point, entries: Iterable[Entry], now: datetime, actor: str
) -> list[LedgerRow]:
    rows = ledger.append(end, entries, now, actor)
    tx.upsert_records("alert_events", rows)
    return rows


def _end(tx: Transaction) -> Point:
    last = tx.ledger_end()
    return Point(last["sequence"], last["hash"]) if last else Point()


def _filed(tx: Transaction, alert_ids: Iterable[str]) -> dict[str, list[LedgerRow]]:
    filed: dict[str, list[LedgerRow]] = defaultdict(list)
    for row in tx.events_of(alert_ids):
        filed[row["alert_id"]].append(LedgerRow(**row))
    return filed


def _entry(change: AlertChange, said: Said | None, seals: list[tuple[str, str]]) -> Entry | None:
    """The entry of a change; None where the ledger says as much."""
    entry = Entry(
        event_id=change.event_id,
        alert_id=change.alert_id,
        event=change.event,
        occurred_at=change.occurred_at,
        details=change.details,
        seals=seals,
        final=change.alert.final,
    )
    final = entry.final
    if said is None:
        return entry
    if said.alert.final and not final:
        return None
    as_found = msgspec.structs.replace(said.alert, final=final)
    if as_found == change.alert and not said.withdrawn:
        if said.alert.final == final:
            return None
        if said.seals == seals:
            return msgspec.structs.replace(
                entry,
                event_id=identity("confirmed", said.row),
                event="confirmed",
                details={"confirms": change.event_id},
                seals=None,
            )
    content = ledger.canonical(change.details).decode("utf-8", "surrogatepass")
    return msgspec.structs.replace(
        entry,
        event_id=identity("revised", said.row, content),
        event="revised",
        details={**change.details, "revises": change.event_id},
    )


def _kept(details: dict[str, Any], standing: Standing | None) -> dict[str, Any]:
    """`details`, with the person's decision that the pipeline found and leaves as it is."""
    if standing is None or standing.people.closed_at is None:
        return details
    people = msgspec.to_builtins(standing.people)
    kept = {name: people[name] for name in ("closed_at", "closed_by", "disposition")}
    return {**details, "kept": kept}


def _messages(alert: Alert) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = alert.evidence["messages"]
    return messages


def _salts(tx: Transaction, alerts: Iterable[Alert]) -> dict[str, str]:
    """A salt for each message that is shown: random, so that rows that are compared hold none."""
    wanted = list(dict.fromkeys(row["id"] for alert in alerts for row in _messages(alert)))
    salts = tx.salts(wanted)
    fresh = {name: secrets.token_hex(_SALT_BYTES) for name in wanted if name not in salts}
    tx.upsert(
        "evidence_salts", [{"message_id": name, "salt": salt} for name, salt in fresh.items()]
    )
    return salts | fresh
