"""Erases the text of a message that the law wants gone, and lets the ledger's chain hold.

The ledger holds no text: only seals, which tell nothing once their salt is gone.
"""

from collections.abc import Iterable, Mapping, Set
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import select

from alerting.errors import DecisionRefused
from alerting.ledger import Entry, LedgerRow
from alerting.spike import identity
from connectors.store import Transaction, schema
from pipelines.recording import record_event, record_fact

ERASED = "erased"
"""The event, and between brackets what stands where the text was."""

_TEXT = f"[{ERASED}]"


def erase(
    tx: Transaction, message_id: str, *, reason: str, actor: str, now: datetime
) -> list[LedgerRow]:
    """Erases title, text, address and author of a message and of every alert that shows it.

    Returns the ledger's new rows on these alerts, one for each; where there is none, the ledger
    says it of the message alone. Raises `DecisionRefused`.
    """
    message = schema.messages
    found = tx.rows(select(message.c.text).where(message.c.id == message_id))
    if not found:
        raise DecisionRefused(f"there is no message {message_id!r}: take an id from alerts export")
    if found[0]["text"] == _TEXT:
        raise DecisionRefused(f"the message {message_id!r} was erased before")
    return _erase(tx, {message_id}, reason, actor, now)


class ErasedAuthor(NamedTuple):
    """The messages of an author, in order of their ids, and the ledger's new rows."""

    message_ids: list[str]
    filed: list[LedgerRow]


def erase_author(
    tx: Transaction, author_hash: str, *, reason: str, actor: str, now: datetime
) -> ErasedAuthor:
    """`erase` of all messages of an author; the hash of his name goes, too.

    Raises `DecisionRefused` where the store holds nothing of his.
    """
    message = schema.messages
    query = select(message.c.id).where(message.c.author_hash == author_hash)
    ids = [row["id"] for row in tx.rows(query.order_by(message.c.id))]
    if not ids:
        raise DecisionRefused(
            "the store holds no message of this author: either the name is written otherwise, or "
            "the messages were read under another key or none, or all of his were erased"
        )
    return ErasedAuthor(ids, _erase(tx, set(ids), reason, actor, now))


def _erase(
    tx: Transaction, message_ids: Set[str], reason: str, actor: str, now: datetime
) -> list[LedgerRow]:
    if not reason.strip():
        raise DecisionRefused("the reason is empty: say on what ground the text is erased")
    tx.ledger_end()  # from here on no other alert comes to show one of them
    shown_by = [
        (row["id"], row["evidence"], shown)
        for row in tx.rows(select(schema.alerts.c.id, schema.alerts.c.evidence))
        if (shown := message_ids & {message["id"] for message in row["evidence"]["messages"]})
    ]
    filed = [
        record_event(tx, _entry(alert_id, message_id, reason, now), actor=actor, now=now)
        for alert_id, _, shown in shown_by
        for message_id in sorted(shown)
    ]
    said = {"text": reason.strip()}
    for message_id in sorted(message_ids - {one for _, _, shown in shown_by for one in shown}):
        subject = f"message:{message_id}"
        record_fact(tx, ERASED, subject, actor=actor, now=now, message_id=message_id, **said)
    for message_id in message_ids:
        tx.erase_message(message_id, _TEXT)
    for alert_id, evidence, shown in shown_by:
        messages = [
            _without_text(message) if message["id"] in shown else message
            for message in evidence["messages"]
        ]
        tx.erase_evidence(alert_id, {**evidence, "messages": messages})
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
