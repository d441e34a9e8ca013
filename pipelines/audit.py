"""Proves a store by itself: the ledger's chain, and that other tables are what the ledger says.

All is read as it stands in the database, in one consistent view of it, some rows at a time: first
the chain from end to end, then each alert with its events, which are held against the chain again.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Column, ColumnElement, Connection, Table, func, literal, select

from alerting import ledger
from alerting.decisions import Standing, follow_all
from alerting.errors import LedgerError
from alerting.heads import Head
from alerting.ledger import Broken, LedgerRow, Point
from alerting.rules import version_of
from connectors.store import Store, schema
from connectors.store.raw import Damaged, raw_rows
from pipelines import corrections
from pipelines.alerting import silencing
from pipelines.erasure import erased_messages, is_erased
from pipelines.manifest import digest

_AT_ONCE = 200  # alerts that are held against the ledger together
_PARAMETERS = 400  # of a statement, of which SQLite takes a limited number

Row = dict[str, Any]


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


def prove(store: Store, heads: Sequence[Head] = (), *, signed: bool = False) -> Proof:
    """Proves everything in the store. `signed`: the heads' signatures were checked, and are good.

    Raises StoreError where the database cannot be read at all.
    """
    with store.snapshot() as connection:
        audit = _Audit(connection)
        broken = audit.chain(heads) or next(audit.disagreements(), None)
    return Proof(
        holds=broken is None,
        events=audit.end.sequence,
        alerts=audit.alerts,
        end=audit.end,
        broken=broken,
        erased=sorted(audit.erased),
        unproved=_unproved(audit.end, heads, signed),
    )


def proven_end(store: Store, start: Point | None = None) -> Point:
    """Where the ledger ends, its chain being whole from `start` on, which was proved before.

    Raises `LedgerError` where it is not.
    """
    with store.snapshot() as connection:
        audit = _Audit(connection, end=start or Point())
        broken = audit.chain()
    if broken is not None:
        raise LedgerError(
            f"no head is taken of a ledger that is broken at row {broken.sequence}: {broken.reason}"
        )
    return audit.end


def _unproved(end: Point, heads: Sequence[Head], signed: bool) -> list[str]:
    if not heads:
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
    last = max(head.sequence for head in heads)
    if end.sequence > last:
        sentences.append(
            f"Rows {last + 1} to {end.sequence} came after the head: nothing tells "
            "whether these were written anew or more of them cut off. Take a new head."
        )
    return sentences


@dataclass(frozen=True)
class _Kept:
    """Rows that people make by events of the ledger: `begins` is the first one's, the subject is
    `prefix` and the row's id. `agrees`: whether a row is what its last event says."""

    table: Table
    prefix: str
    begins: str
    agrees: Callable[[Row, LedgerRow], bool]


_KEPT = (
    _Kept(schema.silences, silencing.SUBJECT, silencing.ASKED_FOR, silencing.agrees),
    _Kept(schema.corrections, corrections.SUBJECT, corrections.CORRECTED, corrections.agrees),
)


@dataclass
class _Audit:
    """What is kept of the chain does not grow with it: where it ends, a sum over the rows on
    alerts, by which they are known again, and what is rare."""

    connection: Connection
    end: Point = field(default_factory=Point)
    alerts: int = 0
    erased: set[str] = field(default_factory=set)
    _sum: int = 0
    _begun: Counter[str] = field(default_factory=Counter)
    _runs: set[str] = field(default_factory=set)
    _rules: set[str] = field(default_factory=set)

    def chain(self, heads: Iterable[Head] = ()) -> Finding | None:
        """What is wrong with the chain; reads the ledger, and stops where it breaks."""
        start = self.end
        broken = ledger.verify(
            self._chained(start), start=start, heads=[head.point for head in heads]
        )
        if broken is None:
            return None
        return Finding(
            table="alert_events", id=broken.id, sequence=broken.sequence, reason=broken.reason
        )

    def _chained(self, start: Point) -> Iterator[LedgerRow | Broken]:
        later = schema.alert_events.c.sequence > start.sequence if start.sequence else None
        for row in self._events(later):
            yield row
            if isinstance(row, LedgerRow):
                self._note(row)

    def _note(self, row: LedgerRow) -> None:
        """Keeps of a row that continues the chain what is asked for later."""
        self.end = Point(row.sequence, row.hash)
        if row.alert_id is not None:
            self._sum += int(row.hash, 16)
        self._begun[row.event] += 1
        self.erased |= erased_messages([row])
        if row.run_id is not None:
            self._runs.add(row.run_id)
        if "rules" in row.details:
            self._rules.add(str(row.details["rules"]))

    def _events(self, where: ColumnElement[bool] | None) -> Iterator[LedgerRow | Broken]:
        for found in raw_rows(self.connection, schema.alert_events, where):
            if isinstance(found, Damaged):
                yield Broken(0, found.reason, found.row.get("id"))
                return
            try:
                yield msgspec.convert(found, LedgerRow)
            except msgspec.ValidationError as error:
                yield Broken(0, f"is no event: {error}", found["id"])
                return

    def disagreements(self) -> Iterator[Finding]:
        """What the tables say otherwise than the ledger, whose chain must be whole."""
        yield from self._twice()
        yield from self._all_alerts()
        for kept in _KEPT:
            yield from self._all_kept(kept)
        yield from self._all_runs()
        yield from self._all_rules()

    def _twice(self) -> Iterator[Finding]:
        name = schema.alert_events.c.id.concat("")  # so that it is read from the table itself
        query = select(name, func.max(schema.alert_events.c.sequence)).group_by(name)
        for row_id, sequence in self.connection.execute(query.having(func.count() > 1).limit(1)):
            yield Finding(
                table="alert_events",
                id=row_id,
                sequence=sequence,
                reason=f"event {row_id} stands in the ledger twice",
            )

    def _all_alerts(self) -> Iterator[Finding]:
        followed = 0
        for rows in _some(self._read(schema.alerts), _AT_ONCE):
            alerts = [row for row in rows if not isinstance(row, Finding)]
            events: defaultdict[str, list[LedgerRow]] = defaultdict(list)
            for event in self._of(schema.alert_events.c.alert_id, [row["id"] for row in alerts]):
                events[str(event.alert_id)].append(event)
                followed += int(event.hash, 16)
            yield from self._some_alerts(alerts, events)
            yield from (row for row in rows if isinstance(row, Finding))
        if followed != self._sum:
            yield self._left_out()

    def _some_alerts(
        self, rows: Sequence[Row], events: Mapping[str, Sequence[LedgerRow]]
    ) -> Iterator[Finding]:
        salts: dict[str, str] = {}
        named = {str(name) for row in rows for name in _shown(row)}
        for salt in self._read_some(schema.evidence_salts, named):
            if isinstance(salt, Finding):
                yield salt
                return
            salts[salt["message_id"]] = salt["salt"]
        for row in rows:
            filed = events.get(row["id"], ())
            try:
                reason = _disagreement(row, follow_all(filed), salts, self.erased)
            except LedgerError as error:
                reason = str(error)
            if reason is not None:
                last = filed[-1].sequence if filed else None
                yield Finding(table="alerts", id=row["id"], sequence=last, reason=reason)
                return
        self.alerts += len(rows)
        yield from self._messages(rows, named)

    def _of(self, column: Column[Any], values: Sequence[str]) -> Iterator[LedgerRow]:
        """The events with these values. What is not a row of the chain, which was read before, is
        left out, and so missed."""
        for some in _some(values, _PARAMETERS):
            for row in self._events(column.in_(some)):
                if isinstance(row, LedgerRow) and row.hash == ledger.hash_of(row):
                    yield row

    def _left_out(self) -> Finding:
        """Of an alert that the ledger knows and that has no row."""
        event, alert = schema.alert_events.c, schema.alerts.c
        missing = ~select(alert.id).where(alert.id == event.alert_id).exists()
        query = select(event.alert_id, func.max(event.sequence)).group_by(event.alert_id)
        for name, sequence in self.connection.execute(
            query.where(event.alert_id.is_not(None), missing).limit(1)
        ):
            reason = "is missing, though the ledger knows it"
            return Finding(table="alerts", id=name, sequence=sequence, reason=reason)
        return Finding(
            table="alert_events",
            id=None,
            reason="read by alert its rows are others than read in their order",
        )

    def _messages(self, alerts: Sequence[Row], named: set[str]) -> Iterator[Finding]:
        missing = set(named)
        stored: dict[str, Row] = {}
        for row in self._read_some(schema.messages, named):
            if isinstance(row, Finding):
                yield row
                return
            missing.discard(row["id"])
            stored[row["id"]] = {**row, "published_at": row["published_at"].isoformat()}
        if missing:
            reason = "is missing; an alert shows it"
            yield Finding(table="messages", id=min(missing), reason=reason)
            return
        for alert in alerts:
            for message in alert["evidence"]["messages"]:
                yield from self._message(stored[message["id"]], message)

    def _message(self, row: Row, shown: Row) -> Iterator[Finding]:
        if row["id"] in self.erased and is_erased(row):
            return
        for name in ("source", "title", "text", "url", "published_at"):
            if row[name] != shown.get(name):
                reason = f"its {name} is not what the alert shows"
                yield Finding(table="messages", id=row["id"], reason=reason)

    def _all_kept(self, kept: _Kept) -> Iterator[Finding]:
        count = 0
        for rows in _some(self._read(kept.table), _AT_ONCE):
            names = [kept.prefix + row["id"] for row in rows if not isinstance(row, Finding)]
            last = {row.subject: row for row in self._of(schema.alert_events.c.subject, names)}
            for row in rows:
                if isinstance(row, Finding):
                    yield row
                    return
                event = last.get(kept.prefix + row["id"])
                if event is None or not kept.agrees(row, event):
                    yield Finding(
                        table=kept.table.name,
                        id=row["id"],
                        sequence=event.sequence if event else None,
                        reason="is not what the ledger says",
                    )
                    return
                count += 1
        if count != self._begun[kept.begins]:
            yield self._kept_no_more(kept)

    def _kept_no_more(self, kept: _Kept) -> Finding:
        event, name = schema.alert_events.c, literal(kept.prefix).concat(kept.table.c.id)
        missing = ~select(kept.table.c.id).where(name == event.subject).exists()
        query = select(event.subject, event.sequence).where(event.event == kept.begins, missing)
        found = self.connection.execute(query.limit(1)).first()
        return Finding(
            table=kept.table.name,
            id=found[0].removeprefix(kept.prefix) if found else None,
            sequence=found[1] if found else None,
            reason="is missing; the ledger names it",
        )

    def _all_runs(self) -> Iterator[Finding]:
        missing = set(self._runs)
        for row in self._read_some(schema.runs, missing):
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

    def _all_rules(self) -> Iterator[Finding]:
        missing = set(self._rules)
        for row in self._read_some(schema.rule_versions, missing):
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

    def _read_some(self, table: Table, ids: set[str]) -> Iterator[Row | Finding]:
        (key,) = table.primary_key
        for some in _some(sorted(ids), _PARAMETERS):
            yield from self._read(table, key.in_(some))

    def _read(
        self, table: Table, where: ColumnElement[bool] | None = None
    ) -> Iterator[Row | Finding]:
        (key,) = table.primary_key
        for found in raw_rows(self.connection, table, where):
            if isinstance(found, Damaged):
                yield Finding(table=table.name, id=found.row.get(key.name), reason=found.reason)
                return
            yield found


_Thing = TypeVar("_Thing")


def _some(things: Iterable[_Thing], count: int) -> Iterator[list[_Thing]]:
    """The things in their order, `count` at a time."""
    left = iter(things)
    while some := list(islice(left, count)):
        yield some


def _shown(alert: Row) -> Iterator[str]:
    """The ids of the messages that an alert's row shows, whatever stands in it."""
    evidence = alert["evidence"]
    messages = evidence.get("messages") if isinstance(evidence, dict) else None
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, dict) and isinstance(message.get("id"), str):
            yield message["id"]


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
