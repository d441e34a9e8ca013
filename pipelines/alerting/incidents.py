"""Incidents in the store: each alert joins one when it opens, for good."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec
from sqlalchemy import select

from alerting.alert import Alert
from alerting.decisions import MACHINE
from alerting.incident import APART, Member, member
from alerting.ledger import Entry, LedgerRow
from alerting.spike import identity
from connectors.store import Transaction
from connectors.store.schema import incident_members, tags
from pipelines.recording import record_event


def group(tx: Transaction, rows: Sequence[LedgerRow], now: datetime) -> None:
    """Finds the incident of each alert that opened; the ledger says which one it joined."""
    opened = {row.alert_id: row for row in rows if row.event == "opened"}
    for row in opened.values():
        alert = msgspec.convert(row.details["alert"], Alert)
        stories = _stories(tx, alert.evidence["message_ids"])
        found = member(alert.id, alert.key, alert.opened_at, stories, _known(tx, alert.opened_at))
        tx.upsert_records("incident_members", [found])
        if not found.is_first:
            entry = Entry(
                event_id=identity("grouped", alert.id),
                alert_id=alert.id,
                event="grouped",
                occurred_at=alert.opened_at,
                details={"incident": found.incident_id},
            )
            record_event(tx, entry, actor=MACHINE, now=now)


def incidents_of(tx: Transaction, alert_ids: Iterable[str]) -> dict[str, str]:
    """Alert -> its incident."""
    wanted = incident_members.c.alert_id.in_(sorted(set(alert_ids)))
    return {
        row["alert_id"]: row["incident_id"]
        for row in tx.rows(select(incident_members).where(wanted))
    }


def _stories(tx: Transaction, message_ids: Sequence[str]) -> set[str]:
    query = select(tags.c.message_id, tags.c.story).where(tags.c.message_id.in_(message_ids))
    return {row["story"] or row["message_id"] for row in tx.rows(query)}


def _known(tx: Transaction, opened_at: datetime) -> list[Member]:
    near = incident_members.c.opened_at.between(opened_at - APART, opened_at + APART)
    return [
        Member(**{**row, "stories": tuple(row["stories"])})
        for row in tx.rows(select(incident_members).where(near))
    ]
