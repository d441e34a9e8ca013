"""The one way into the ledger, for the pipeline and for people alike: an event, and the alert's row
as the ledger then says it is, in one transaction.
"""

import secrets
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from alerting import ledger
from alerting.alert import Alert, AlertChange
from alerting.decisions import (
    MACHINE,
    Action,
    DecisionSettings,
    Standing,
    decide,
    follow,
    follow_all,
)
from alerting.errors import LedgerError
from alerting.ledger import Entry, LedgerRow, Point
from alerting.spike import identity
from connectors.store import Transaction

_SALT_BYTES = 16


def record_changes(
    tx: Transaction, changes: Sequence[tuple[AlertChange, Alert]], run_id: str, now: datetime
) -> None:
    """Files what a run found, each change with the alert as it is shown, its messages included.

    What the ledger says already is left out, and the alert with it. Where another run found
    something else at the same place, an event `revised` says what. An alert that a person closed
    stays closed, and the event says that it was.
    """
    if not changes:
        return
    end = _end(tx)
    filed = _filed(tx, [change.alert_id for change, _ in changes])
    standing = {alert_id: follow_all(rows) for alert_id, rows in filed.items()}
    known = {row.id: _found(row.details) for rows in filed.values() for row in rows}
    salts = _salts(tx, [alert for _, alert in changes])
    shown: dict[str, Alert] = {}
    for change, alert in changes:
        entry = _entry(change, known)
        if entry is None:
            continue
        known[entry.event_id] = entry.details
        before = standing.get(alert.id)
        sealed = [(row["id"], ledger.seal(salts[row["id"]], row)) for row in _messages(alert)]
        entry = msgspec.structs.replace(
            entry, details=_kept(entry.details, before), run_id=run_id, seals=sealed
        )
        (row,) = _append(tx, end, [entry], now, MACHINE)
        end = Point(row.sequence, row.hash)
        after = standing[alert.id] = follow(before, row)
        if after is not before:
            shown[alert.id] = alert
    tx.upsert_records("alerts", list(shown.values()))


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


def _entry(change: AlertChange, known: Mapping[str, Mapping[str, Any]]) -> Entry | None:
    """The entry of a change; None where the ledger says the same."""
    entry = Entry(
        event_id=change.event_id,
        alert_id=change.alert_id,
        event=change.event,
        occurred_at=change.occurred_at,
        details=change.details,
    )
    filed = known.get(change.event_id)
    if filed is None:
        return entry
    if _same(filed, change.details):
        return None
    content = ledger.canonical(change.details).decode("utf-8", "surrogatepass")
    revised = identity("revised", change.event_id, content)
    if revised in known:
        return None
    return msgspec.structs.replace(
        entry,
        event_id=revised,
        event="revised",
        details={**change.details, "revises": change.event_id},
    )


def _same(filed: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    return ledger.canonical(filed) == ledger.canonical(found)


def _found(details: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in details.items() if name != "kept"}


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
