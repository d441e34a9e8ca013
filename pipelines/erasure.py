"""Erases the text of a message that the law wants gone, and lets the ledger's chain hold.

The ledger holds no text: only seals, which tell nothing once their salt is gone.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select

from alerting.errors import DecisionRefused
from alerting.ledger import Entry, LedgerRow
from alerting.spike import identity
from connectors.store import Transaction, schema
from pipelines.recording import record_event

ERASED = "erased"
"""The event, and between brackets what stands where the text was."""

_TEXT = f"[{ERASED}]"


def erase(
    tx: Transaction, message_id: str, *, reason: str, actor: str, now: datetime
) -> list[LedgerRow]:
    """Erases title, text, address and author of a message and of every alert that shows it.

    Returns the ledger's new rows, one for each of these alerts. Raises `DecisionRefused`.
    """
    message = schema.messages
    found = tx.rows(select(message.c.text).where(message.c.id == message_id))
    if not found:
        raise DecisionRefused(f"there is no message {message_id!r}: take an id from alerts export")
    if found[0]["text"] == _TEXT:
        raise DecisionRefused(f"the message {message_id!r} was erased before")
    if not reason.strip():
        raise DecisionRefused("the reason is empty: say on what ground the text is erased")
    shown_by = [
        row
        for row in tx.rows(select(schema.alerts.c.id, schema.alerts.c.evidence))
        if any(shown["id"] == message_id for shown in row["evidence"]["messages"])
    ]
    filed = [
        record_event(tx, _entry(row["id"], message_id, reason, now), actor=actor, now=now)
        for row in shown_by
    ]
    tx.erase_message(message_id, _TEXT)
    for row in shown_by:
        messages = [
            _without_text(shown) if shown["id"] == message_id else shown
            for shown in row["evidence"]["messages"]
        ]
        tx.erase_evidence(row["id"], {**row["evidence"], "messages": messages})
    return filed


def erased_messages(rows: Iterable[LedgerRow]) -> set[str]:
    """The ids of the messages that the ledger says were erased."""
    return {str(row.details.get("message_id")) for row in rows if row.event == ERASED}


def is_erased(message: Mapping[str, Any]) -> bool:
    """Whether nothing is left of the message's text."""
    return message.get("text") == _TEXT and not (
        message.get("title") or message.get("url") or message.get("words")
    )


def _entry(alert_id: str, message_id: str, reason: str, now: datetime) -> Entry:
    return Entry(
        event_id=identity("erasure", alert_id, message_id, now.isoformat()),
        alert_id=alert_id,
        event=ERASED,
        occurred_at=now,
        details={"message_id": message_id, "text": reason.strip()},
    )


def _without_text(shown: Mapping[str, Any]) -> dict[str, Any]:
    bare = {**shown, "title": None, "text": _TEXT, "url": None}
    return {**bare, "words": []} if "words" in shown else bare
