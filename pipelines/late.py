"""Late messages in the store: stored, tagged and listed, and in no window."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import repeat

from sqlalchemy import select

from connectors.lateness import LateMessage
from connectors.store import Transaction
from connectors.store.schema import late_messages, messages
from pipelines.records import Tagged
from pipelines.rows import tag_rows


def store_late(
    tx: Transaction,
    found: Sequence[tuple[LateMessage, Tagged]],
    run_id: str | None,
    now: datetime,
) -> int:
    """Stores what is not there yet, the first copy of each; returns how many were new.

    A late copy of a message that was on time is there: it is a copy, and not listed.
    """
    known = _stored(tx, [late.message.id for late, _ in found])
    new = {
        late.message.id: (late, tagged)
        for late, tagged in reversed(found)
        if late.message.id not in known
    }
    fresh = [tagged for _, tagged in new.values()]
    tx.upsert_records("messages", [one.message for one in fresh], received_at=repeat(now))
    tx.upsert("tags", tag_rows(fresh, now))
    list_late(tx, [late for late, _ in new.values()], run_id)
    return len(new)


def list_late(tx: Transaction, late: Iterable[LateMessage], run_id: str | None) -> None:
    """Lists messages that came too late for their windows."""
    tx.upsert(
        "late_messages",
        [
            {
                "message_id": one.message.id,
                "published_at": one.message.published_at,
                "frontier": one.frontier,
                "reason": one.reason,
                "run_id": run_id,
            }
            for one in late
        ],
    )


def is_copy(tx: Transaction, late: LateMessage) -> bool:
    """Whether a message of this id is there that was on time."""
    listed = select(late_messages.c.message_id).where(late_messages.c.message_id == late.message.id)
    return bool(_stored(tx, [late.message.id])) and not tx.rows(listed)


def _stored(tx: Transaction, ids: Sequence[str]) -> set[str]:
    return {row["id"] for row in tx.rows(select(messages.c.id).where(messages.c.id.in_(ids)))}
