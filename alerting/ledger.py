"""The record of what happened to alerts: append-only, each row sealed with the one before it.

A row's hash is SHA-256 of the hash before it and of the digest of its content, which is every other
column, the time it was recorded included: a changed, removed or moved row breaks the chain, and the
digests alone of rows that may not be shown still link those that may. Rows cut off at the end, and
a chain that was computed anew, are found only against heads that were kept elsewhere.
"""

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from alerting.errors import LedgerError

GENESIS = "0" * 64
"""`previous_hash` of the first row."""

_CHAINED = ("previous_hash", "hash")


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be filed. `subject`: what an entry of no alert is about, as `user:jane`. `seals`:
    [message id, `seal`] of each message that the alert shows; `run_id`: the run that found it. A
    person's entry has neither. `final`: no later message can change it."""

    event_id: str
    alert_id: str | None = None
    subject: str | None = None
    event: str
    occurred_at: datetime
    details: dict[str, Any]
    run_id: str | None = None
    seals: list[tuple[str, str]] | None = None
    final: bool = True


class LedgerRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `alert_events`. Times are UTC; `details` and `seals` are JSON."""

    sequence: int
    id: str
    alert_id: str | None
    subject: str | None = None
    event: str
    occurred_at: datetime
    recorded_at: datetime
    actor: str
    details: dict[str, Any]
    run_id: str | None = None
    seals: list[tuple[str, str]] | None = None
    final: bool = True
    previous_hash: str
    hash: str


class Broken(msgspec.Struct, frozen=True):
    """The first row that does not hold, and why. `id` is what stands in that place now, if any."""

    sequence: int
    reason: str
    id: str | None = None


class Point(msgspec.Struct, frozen=True, order=True):
    """A place in the chain: the hash of the row with this sequence; GENESIS at 0."""

    sequence: int = 0
    hash: str = GENESIS


def append(
    end: Point, entries: Iterable[Entry], recorded_at: datetime, actor: str
) -> list[LedgerRow]:
    """Rows that continue a ledger that ends at `end`.

    Raises `LedgerError` for details that JSON cannot hold or a time without a zone.
    """
    rows: list[LedgerRow] = []
    for entry in entries:
        row = LedgerRow(
            sequence=end.sequence + 1,
            id=entry.event_id,
            alert_id=entry.alert_id,
            subject=entry.subject,
            event=entry.event,
            occurred_at=entry.occurred_at,
            recorded_at=recorded_at,
            actor=actor,
            details=entry.details,
            run_id=entry.run_id,
            seals=entry.seals,
            final=entry.final,
            previous_hash=end.hash,
            hash="",
        )
        end = Point(row.sequence, hash_of(row))
        rows.append(msgspec.structs.replace(row, hash=end.hash))
    return rows


def content_digest(row: LedgerRow) -> str:
    """SHA-256 of all columns but the two hashes: `canonical`, times in UTC to microseconds.

    Raises `LedgerError`.
    """
    fields = {name: getattr(row, name) for name in row.__struct_fields__ if name not in _CHAINED}
    for name in ("occurred_at", "recorded_at"):
        if fields[name].tzinfo is None:
            raise LedgerError(f"{name} of event {row.id} has no time zone: give it in UTC")
        fields[name] = fields[name].astimezone(UTC).isoformat(timespec="microseconds")
    try:
        return hashlib.sha256(canonical(fields)).hexdigest()
    except (TypeError, ValueError) as error:
        raise LedgerError(f"details of event {row.id} are not JSON ({error})") from error


def hash_of(row: LedgerRow) -> str:
    """The hash that the row must have, by the one before it and what it says."""
    return link(row.previous_hash, content_digest(row))


def link(previous_hash: str, digest: str) -> str:
    """The hash of a row: SHA-256 of the 32 bytes before it and the 32 of its content's digest."""
    return hashlib.sha256(bytes.fromhex(previous_hash + digest)).hexdigest()


def canonical(value: Any) -> bytes:
    """JSON, keys sorted, no blanks, UTF-8. Raises TypeError or ValueError for what it cannot be."""
    text = json.dumps(
        value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False
    )
    return text.encode("utf-8", "surrogatepass")


def seal(salt: str, message: Mapping[str, Any]) -> str:
    """HMAC-SHA-256 of a message as an alert shows it, under its salt (hexadecimal).

    With the salt it proves the text. Without it, after the text was erased, it tells nothing of it:
    no guess of the text can be tried.
    """
    return hmac.digest(bytes.fromhex(salt), canonical(message), "sha256").hex()


def verify(
    rows: Iterable[LedgerRow | Broken], start: Point | None = None, heads: Iterable[Point] = ()
) -> Broken | None:
    """The first row that is not what was written, or None where the ledger holds.

    Keeps no row. A row that could not even be read comes as `Broken` itself. `start`: where the row
    before the first given stands. `heads`: places that the chain must run through, from there on.
    """
    end = start or Point()
    ahead = sorted({head for head in heads if head.sequence >= end.sequence}, reverse=True)
    broken = _off_the_heads(end, ahead)
    for row in rows:
        if broken is not None:
            return broken
        if isinstance(row, Broken):
            return msgspec.structs.replace(row, sequence=end.sequence + 1)
        reason = _reason(row, end)
        if reason is not None:
            return Broken(end.sequence + 1, reason, row.id)
        end = Point(row.sequence, row.hash)
        broken = _off_the_heads(end, ahead, row.id)
    if broken is None and ahead:
        return Broken(
            end.sequence + 1,
            f"rows are missing at the end: a head was taken at row {ahead[0].sequence}",
        )
    return broken


def _off_the_heads(end: Point, ahead: list[Point], row_id: str | None = None) -> Broken | None:
    """Takes the heads of this place off those `ahead`, the furthest of which comes first."""
    while ahead and ahead[-1].sequence == end.sequence:
        if ahead.pop() != end:
            return Broken(end.sequence, "is not the row that the head was taken of", row_id)
    return None


def _reason(row: LedgerRow, end: Point) -> str | None:
    if row.sequence != end.sequence + 1:
        return f"missing or moved: row {row.sequence} stands in its place"
    if row.previous_hash != end.hash:
        return "does not continue the row before it"
    if row.hash != hash_of(row):
        return "its content does not match its hash"
    return None
