"""Silences in the store: asked for, approved, ended; the ledger says of each step who took it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import select

from alerting import silence as steps
from alerting.errors import DecisionRefused
from alerting.ledger import LedgerRow, canonical
from alerting.silence import Silence
from connectors.store import Transaction
from connectors.store.schema import silences
from pipelines.alerting.approving import approvals
from pipelines.recording import record_fact

SUBJECT = "silence:"
"""How the subject of a silence's events begins; its id follows."""

ASKED_FOR, APPROVED, ENDED, REFUSED = (
    "silenced",
    "silence-approved",
    "silence-ended",
    "silence-refused",
)


def ask_for(
    tx: Transaction,
    *,
    owner: str,
    reason: str,
    starts_at: datetime,
    ends_at: datetime,
    keys: tuple[str, ...],
    kinds: tuple[str, ...],
    now: datetime,
) -> Silence:
    """Files that somebody asks for a silence, which holds at once unless the rules in force want a
    second person to approve it. Raises `DecisionRefused`."""
    tx.ledger_end()
    asked = steps.propose(
        owner=owner,
        reason=reason,
        starts_at=starts_at,
        ends_at=ends_at,
        keys=keys,
        kinds=kinds,
        now=now,
        second_person=approvals(tx.rows).silences,
    )
    return _record(tx, ASKED_FOR, asked, actor=asked.owner, now=now)


def approve(tx: Transaction, silence_id: str, *, actor: str, now: datetime) -> Silence:
    """Files that a second person approves a silence. Raises `DecisionRefused`."""
    approved = steps.approve(_standing(tx, silence_id), actor=actor, now=now)
    return _record(tx, APPROVED, approved, actor=str(approved.approved_by), now=now)


def end(tx: Transaction, silence_id: str, *, actor: str, now: datetime) -> Silence:
    """Files that somebody ends a silence before its time, or refuses one that nobody has approved.
    Raises `DecisionRefused`."""
    before = _standing(tx, silence_id)
    ended = steps.end(before, actor=actor, now=now)
    event = ENDED if before.approved_at is not None else REFUSED
    return _record(tx, event, ended, actor=str(ended.ended_by), now=now)


def holding(tx: Transaction, now: datetime) -> list[Silence]:
    """The silences whose time it is at `now` (UTC), the oldest first."""
    query = select(silences).where(silences.c.starts_at <= now, silences.c.ends_at > now)
    found = tx.rows(query.order_by(silences.c.starts_at, silences.c.id))
    return [silence_of(row) for row in found]


def silence_of(row: Mapping[str, Any]) -> Silence:
    """A row of `silences` as the record."""
    whole = {name: row[name] for name in Silence.__struct_fields__}
    return Silence(**{**whole, "keys": tuple(row["keys"]), "kinds": tuple(row["kinds"])})


def agrees(row: Mapping[str, Any], event: LedgerRow) -> bool:
    """Whether a row of `silences` is what the last event on it says."""
    try:
        return canonical(msgspec.to_builtins(silence_of(row))) == canonical(event.details)
    except TypeError:  # its lists are none
        return False


def state(silence: Silence, now: datetime) -> str:
    """In words: `holds`, `approved` and yet to come, `waits for approval`, `ended`, `refused`."""
    if now >= silence.ends_at:
        return "ended" if silence.approved_at else "refused" if silence.ended_by else "lapsed"
    if silence.approved_at is None:
        return "waits for approval"
    return "holds" if silence.starts_at <= now else "approved"


def _standing(tx: Transaction, silence_id: str) -> Silence:
    """The silence as it stands, which nobody changes until the transaction ends."""
    tx.ledger_end()
    found = tx.rows(select(silences).where(silences.c.id == silence_id))
    if not found:
        raise DecisionRefused(f"there is no silence {silence_id!r}: list them to see their ids")
    return silence_of(found[0])


def _record(tx: Transaction, event: str, silence: Silence, *, actor: str, now: datetime) -> Silence:
    """Files `event` with the silence as it is after it, and writes its row."""
    details = msgspec.to_builtins(silence)
    row = record_fact(tx, event, f"{SUBJECT}{silence.id}", actor=actor, now=now, **details)
    known = tx.rows(select(silences.c.recorded_at).where(silences.c.id == silence.id))
    recorded_at = known[0]["recorded_at"] if known else row.recorded_at
    tx.upsert("silences", [{**msgspec.structs.asdict(silence), "recorded_at": recorded_at}])
    return silence
