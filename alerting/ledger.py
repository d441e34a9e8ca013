"""The record of what happened to alerts: append-only, each row sealed with the one before it.

A row's hash covers every column but `hash` and `signature`, `previous_hash` included, so that a
changed, removed or moved row breaks the chain. Rows cut off at the end are found only against a
head (the last hash) that was kept elsewhere.
"""

import hashlib
import json
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

import msgspec

from alerting.errors import LedgerError

GENESIS = "0" * 64
"""`previous_hash` of the first row."""


class Recordable(Protocol):
    """What the ledger files: an `AlertChange`, or what a person did to an alert."""

    @property
    def event_id(self) -> str: ...
    @property
    def alert_id(self) -> str: ...
    @property
    def event(self) -> str: ...
    @property
    def occurred_at(self) -> datetime: ...
    @property
    def details(self) -> dict[str, Any]: ...


Entry = TypeVar("Entry", bound=Recordable)


class LedgerRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `alert_events`. Times are UTC; `details` is JSON."""

    sequence: int
    id: str
    alert_id: str
    event: str
    occurred_at: datetime
    recorded_at: datetime
    actor: str
    details: dict[str, Any]
    previous_hash: str
    hash: str
    signature: str | None = None


class Broken(msgspec.Struct, frozen=True):
    """The first row that does not hold, and why."""

    sequence: int
    reason: str


def unseen(changes: Iterable[Entry], known: Collection[str]) -> list[Entry]:
    """Those whose event is not in the ledger yet (`known` event ids), each once, in order."""
    fresh: dict[str, Entry] = {}
    for change in changes:
        if change.event_id not in known:
            fresh.setdefault(change.event_id, change)
    return list(fresh.values())


def append(
    previous_hash: str,
    sequence: int,
    changes: Iterable[Recordable],
    recorded_at: datetime,
    actor: str,
) -> list[LedgerRow]:
    """Rows that continue a ledger whose last row has this `sequence` and hash.

    An empty ledger continues from GENESIS and 0. Raises `LedgerError` for details that JSON cannot
    hold or a time without a zone.
    """
    rows: list[LedgerRow] = []
    for change in changes:
        sequence += 1
        row = LedgerRow(
            sequence=sequence,
            id=change.event_id,
            alert_id=change.alert_id,
            event=change.event,
            occurred_at=change.occurred_at,
            recorded_at=recorded_at,
            actor=actor,
            details=change.details,
            previous_hash=previous_hash,
            hash="",
        )
        previous_hash = hash_of(row)
        rows.append(msgspec.structs.replace(row, hash=previous_hash))
    return rows


def hash_of(row: LedgerRow) -> str:
    """SHA-256 of the row's canonical form: JSON, keys sorted, UTF-8, times in UTC to microseconds.

    Raises `LedgerError`.
    """
    fields = {
        name: getattr(row, name)
        for name in row.__struct_fields__
        if name not in ("hash", "signature")
    }
    for name in ("occurred_at", "recorded_at"):
        if fields[name].tzinfo is None:
            raise LedgerError(f"{name} of event {row.id} has no time zone: give it in UTC")
        fields[name] = fields[name].astimezone(UTC).isoformat(timespec="microseconds")
    try:
        text = json.dumps(
            fields, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False
        )
    except (TypeError, ValueError) as error:
        raise LedgerError(f"details of event {row.id} are not JSON ({error})") from error
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def verify(
    rows: Iterable[LedgerRow],
    previous_hash: str = GENESIS,
    sequence: int = 0,
    head: str | None = None,
) -> Broken | None:
    """The first row that is not what was written, or None where the ledger holds.

    `previous_hash` and `sequence` are of the row before the first given; `head`, where known, is
    the hash that the last row must have.
    """
    ids: set[str] = set()
    for row in rows:
        sequence += 1
        if row.sequence != sequence:
            return Broken(sequence, f"missing or moved: row {row.sequence} stands in its place")
        if row.previous_hash != previous_hash:
            return Broken(sequence, "does not continue the row before it")
        if row.hash != hash_of(row):
            return Broken(sequence, "its content does not match its hash")
        if row.id in ids:
            return Broken(sequence, f"event {row.id} stands in the ledger twice")
        ids.add(row.id)
        previous_hash = row.hash
    if head is not None and head != previous_hash:
        return Broken(sequence + 1, "rows are missing at the end: the last hash is not the head")
    return None
