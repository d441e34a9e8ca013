"""Proves a store by itself: the ledger's chain, and that the alerts are what the ledger says.

All is read as it stands in the database, in one consistent view of it.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import Connection, Table

from alerting import ledger
from alerting.decisions import Standing, follow
from alerting.errors import LedgerError
from alerting.heads import Head
from alerting.ledger import Broken, LedgerRow, Point
from alerting.rules import version_of
from connectors.store import Store, schema
from connectors.store.raw import Damaged, raw_rows
from pipelines.erasure import erased_messages, is_erased
from pipelines.manifest import digest


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """The first row that is not what was written; `sequence`: its place in the ledger, if it is
    there or meant to be."""

    table: str
    id: str | None
    sequence: int | None = None
    reason: str


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What was proved. `unproved`: sentences on what nothing at hand can tell."""

    holds: bool
    events: int
    alerts: int
    end: Point
    broken: Finding | None = None
    erased: list[str] = []
    unproved: list[str] = []


def prove(store: Store, head: Head | None = None, *, signed: bool = False) -> Proof:
    """Proves everything in the store. `signed`: the head's signature was checked, and is good.

    Raises StoreError where the database cannot be read at all.
    """
    with store.snapshot() as connection:
        audit = _Audit(connection)
        broken = audit.chain(head) or next(audit.disagreements(), None)
    return Proof(
        holds=broken is None,
        events=len(audit.rows),
        alerts=len(audit.standing),
        end=audit.end,
        broken=broken,
        erased=sorted(audit.erased),
        unproved=_unproved(audit.end, head, signed),
    )


def proven_end(store: Store) -> Point:
    """Where the ledger ends, its chain being whole. Raises `LedgerError` where it is not."""
    with store.snapshot() as connection:
        audit = _Audit(connection)
        broken = audit.chain(None)
    if broken is not None:
        raise LedgerError(
            f"no head is taken of a ledger that is broken at row {broken.sequence}: {broken.reason}"
        )
    return audit.end


def _unproved(end: Point, head: Head | None, signed: bool) -> list[str]:
    if head is None:
        return [
            "Without a head that was kept outside (--head) nothing tells whether rows were cut off "
            "at the end, or the whole chain was computed anew by somebody who can write the store."
        ]
    sentences = []
    if not signed:
        sentences.append(
            "The head's signature was not checked (--public-key): it proves as much as the place "
            "where it was kept is safe."
        )
    if end.sequence > head.sequence:
        sentences.append(
            f"Rows {head.sequence + 1} to {end.sequence} came after the head: nothing tells "
            "whether these were written anew or more of them cut off. Take a new head."
        )
    return sentences


@dataclass
class _Audit:
    connection: Connection
    rows: list[LedgerRow] = field(default_factory=list)
    standing: dict[str, Standing] = field(default_factory=dict)
    erased: set[str] = field(default_factory=set)

    @property
    def end(self) -> Point:
        return Point(self.rows[-1].sequence, self.rows[-1].hash) if self.rows else Point()

    def chain(self, head: Head | None) -> Finding | None:
        """What is wrong with the chain; reads the ledger, and stops where it breaks."""
        broken = ledger.verify(self._ledger(), head=head.point if head else None)
        if broken is None:
            return None
        return Finding(
            table="alert_events", id=broken.id, sequence=broken.sequence, reason=broken.reason
        )

    def _ledger(self) -> Iterator[LedgerRow | Broken]:
        for found in raw_rows(self.connection, schema.alert_events):
            if isinstance(found, Damaged):
                yield Broken(0, found.reason, found.row.get("id"))
                return
            try:
                row = msgspec.convert(found, LedgerRow)
            except msgspec.ValidationError as error:
                yield Broken(0, f"is no event: {error}", found["id"])
                return
            yield row
            self.rows.append(row)

    def disagreements(self) -> Iterator[Finding]:
        """What other tables say otherwise than the ledger, which must be whole."""
        yield from self._follow()
        self.erased = erased_messages(self.rows)
        shown: dict[str, dict[str, Any]] = {}
        yield from self._alerts(shown)
        yield from self._messages(shown)
        yield from self._runs()
        yield from self._rules()

    def _follow(self) -> Iterator[Finding]:
        for row in self.rows:
            try:
                self.standing[row.alert_id] = follow(self.standing.get(row.alert_id), row)
            except LedgerError as error:
                yield Finding(
                    table="alert_events", id=row.id, sequence=row.sequence, reason=str(error)
                )
                return

    def _alerts(self, shown: dict[str, dict[str, Any]]) -> Iterator[Finding]:
        last = {row.alert_id: row.sequence for row in self.rows}
        salts: dict[str, str] = defaultdict(str)
        for row in self._read(schema.evidence_salts):
            if isinstance(row, Finding):
                yield row
                return
            salts[row["message_id"]] = row["salt"]
        missing = dict(self.standing)
        for row in self._read(schema.alerts):
            if isinstance(row, Finding):
                yield msgspec.structs.replace(row, sequence=last.get(row.id or ""))
                return
            standing = missing.pop(row["id"], None)
            reason = _disagreement(row, standing, salts, self.erased)
            if reason is not None:
                yield Finding(
                    table="alerts", id=row["id"], sequence=last.get(row["id"]), reason=reason
                )
            else:
                shown |= {message["id"]: message for message in row["evidence"]["messages"]}
        for alert_id in missing:
            yield Finding(
                table="alerts",
                id=alert_id,
                sequence=last[alert_id],
                reason="is missing, though the ledger knows it",
            )

    def _messages(self, shown: Mapping[str, dict[str, Any]]) -> Iterator[Finding]:
        missing = set(shown)
        for row in self._read(schema.messages, sorted(shown)):
            if isinstance(row, Finding):
                yield row
                return
            missing.discard(row["id"])
            message = shown[row["id"]]
            erased = row["id"] in self.erased and is_erased(row)
            stored = {**row, "published_at": row["published_at"].isoformat()}
            for name in ("source", "title", "text", "url", "published_at"):
                if stored[name] != message.get(name) and not erased:
                    yield Finding(
                        table="messages",
                        id=row["id"],
                        reason=f"its {name} is not what the alert shows",
                    )
        for message_id in sorted(missing):
            yield Finding(table="messages", id=message_id, reason="is missing; an alert shows it")

    def _runs(self) -> Iterator[Finding]:
        missing = {row.run_id for row in self.rows if row.run_id is not None}
        for row in self._read(schema.runs, sorted(missing)):
            if isinstance(row, Finding):
                yield row
                return
            missing.discard(row["id"])
            if digest(row["manifest"]) != row["id"]:
                yield Finding(
                    table="runs", id=row["id"], reason="its manifest does not match its id"
                )
        for run_id in sorted(missing):
            yield Finding(table="runs", id=run_id, reason="is missing; the ledger names it")

    def _rules(self) -> Iterator[Finding]:
        missing = {str(row.details["rules"]) for row in self.rows if "rules" in row.details}
        for row in self._read(schema.rule_versions, sorted(missing)):
            if isinstance(row, Finding):
                yield row
                return
            missing.discard(row["id"])
            if version_of(row["text"].encode()) != row["id"]:
                yield Finding(
                    table="rule_versions", id=row["id"], reason="its text does not match its id"
                )
        for version in sorted(missing):
            yield Finding(
                table="rule_versions", id=version, reason="is missing; the ledger names it"
            )

    def _read(
        self, table: Table, ids: list[str] | None = None
    ) -> Iterator[dict[str, Any] | Finding]:
        (key,) = table.primary_key
        for found in raw_rows(self.connection, table, ids):
            if isinstance(found, Damaged):
                yield Finding(table=table.name, id=found.row.get(key.name), reason=found.reason)
            else:
                yield found


def _disagreement(
    row: dict[str, Any], standing: Standing | None, salts: Mapping[str, str], erased: set[str]
) -> str | None:
    """What the alert's row says otherwise than the ledger; None where they agree."""
    if standing is None:
        return "the ledger knows no such alert"
    said = {
        **msgspec.structs.asdict(standing.alert),
        **msgspec.structs.asdict(standing.people),
        "state": standing.state,
    }
    evidence = dict(row["evidence"]) if isinstance(row["evidence"], dict) else {}
    messages = evidence.pop("messages", None)
    found = {**row, "evidence": evidence}
    for name in sorted(found):
        if found[name] != said[name]:
            return f"its {name} is not what the ledger says"
    return _broken_seal(messages, standing, salts, erased)


def _broken_seal(
    messages: Any, standing: Standing, salts: Mapping[str, str], erased: set[str]
) -> str | None:
    sealed = [message_id for message_id, _ in standing.seals]
    if not isinstance(messages, list) or sealed != [
        message.get("id") if isinstance(message, dict) else None for message in messages
    ]:
        return "it does not show the messages that the ledger names"
    for message, (message_id, seal) in zip(messages, standing.seals, strict=True):
        try:
            whole = ledger.seal(salts.get(message_id, ""), message) == seal
        except ValueError:  # a salt that is no salt
            whole = False
        if not whole and not (message_id in erased and is_erased(message)):
            return f"the message {message_id} that it shows does not match its seal"
    return None
