"""Gathers what is needed to derive alerts again and to check their place in the ledger.

The same store gives the same bytes: nothing tells when the export was made.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TextIO

import msgspec
from sqlalchemy import ColumnElement, Connection, Select, Table, and_, select, true

from alerting import ledger
from alerting.ledger import LedgerRow, Point
from connectors.store import Store
from connectors.store.schema import (
    alert_events,
    alerts,
    evidence_salts,
    messages,
    runs,
    spikes,
    tags,
)

SCHEMA = 1

Row = dict[str, Any]

_AT_ONCE = 400  # parameters of a statement, of which SQLite takes a limited number
_HELD = 500  # rows of the chain that are held at a time
_LEFT_OUT = ("author_hash",)  # no alert rests on it


@dataclass(frozen=True, kw_only=True)
class Dossier:
    """`events`: those of each alert, in their order. `messages`: with their tags and, unless
    erased, the salt of their seals. `end`: where the chain ends. `connection` sees the moment of
    all of it."""

    connection: Connection
    alerts: Sequence[Row]
    spikes: Sequence[Row]
    messages: Sequence[Row]
    runs: Sequence[Row]
    events: Mapping[str, Sequence[LedgerRow]]
    end: Point

    def records(self) -> Iterator[Row]:
        """One a line of JSON Lines; `record` says what each is. Last comes the whole chain, of
        whose other events only a `link` may be shown; it is read as it is asked for."""
        yield {
            "record": "export",
            "schema": SCHEMA,
            "alerts": [row["id"] for row in self.alerts],
            "head": msgspec.to_builtins(self.end),
        }
        for name, rows in (
            ("alert", self.alerts),
            ("spike", self.spikes),
            ("message", self.messages),
            ("run", self.runs),
        ):
            yield from ({"record": name, **row} for row in rows)
        for event in _chain(self.connection):
            if event.alert_id in self.events:
                yield {"record": "event", **msgspec.structs.asdict(event)}
            else:
                digest = ledger.content_digest(event)
                yield {"record": "link", "sequence": event.sequence, "digest": digest}


def one(alert_id: str) -> ColumnElement[bool]:
    """The alert with this id."""
    return alerts.c.id == alert_id


def these(alert_ids: Sequence[str]) -> ColumnElement[bool]:
    """The alerts with these ids."""
    return alerts.c.id.in_(alert_ids)


def opened(start: datetime | None, end: datetime | None) -> ColumnElement[bool]:
    """The alerts that opened from `start` to `end`, the end excluded; event time, UTC."""
    conditions: list[ColumnElement[bool]] = [true()]
    if start is not None:
        conditions.append(alerts.c.opened_at >= start)
    if end is not None:
        conditions.append(alerts.c.opened_at < end)
    return and_(*conditions)


@contextmanager
def gathered(store: Store, wanted: ColumnElement[bool]) -> Iterator[Dossier]:
    """The dossier of the wanted alerts, of one moment of the store, to be used within the block.
    Raises StoreError."""
    with store.snapshot() as connection:
        chosen = _rows(
            connection, select(alerts).where(wanted).order_by(alerts.c.opened_at, alerts.c.id)
        )
        events = _events(connection, [row["id"] for row in chosen])
        filed = [event for rows in events.values() for event in rows]
        spiked = _by_id(
            connection,
            spikes,
            {e.details["spike_id"] for e in filed if "spike_id" in e.details},
        )
        # Beside a live job one run finds spikes, and another one makes alerts of them.
        found_by = {e.run_id for e in filed} | {row["run_id"] for row in spiked}
        named = {name for row in chosen for name in row["evidence"]["message_ids"]}
        yield Dossier(
            connection=connection,
            alerts=chosen,
            spikes=spiked,
            messages=_messages(connection, named),
            runs=_by_id(connection, runs, {name for name in found_by if name is not None}),
            events=events,
            end=_end(connection),
        )


def write_jsonl(dossier: Dossier, file: TextIO) -> None:
    """The dossier as JSON Lines, keys sorted, times in UTC."""
    encode = msgspec.json.Encoder(order="deterministic").encode
    for record in dossier.records():
        file.write(f"{encode(record).decode()}\n")


def _chain(connection: Connection) -> Iterator[LedgerRow]:
    query = select(alert_events).order_by(alert_events.c.sequence)
    found = connection.execute(query, execution_options={"yield_per": _HELD})
    return (LedgerRow(**row) for row in found.mappings())


def _end(connection: Connection) -> Point:
    last = select(alert_events.c.sequence, alert_events.c.hash)
    found = connection.execute(last.order_by(alert_events.c.sequence.desc()).limit(1)).first()
    return Point(*found) if found else Point()


def _events(connection: Connection, ids: Sequence[str]) -> dict[str, list[LedgerRow]]:
    """Alert -> its events in their order."""
    events: dict[str, list[LedgerRow]] = {name: [] for name in ids}
    for start in range(0, len(ids), _AT_ONCE):
        wanted = alert_events.c.alert_id.in_(ids[start : start + _AT_ONCE])
        query = select(alert_events).where(wanted).order_by(alert_events.c.sequence)
        for row in _rows(connection, query):
            events[row["alert_id"]].append(LedgerRow(**row))
    return events


def _messages(connection: Connection, ids: set[str]) -> list[Row]:
    tagged = {row["message_id"]: row for row in _by_id(connection, tags, ids)}
    salts = {row["message_id"]: row["salt"] for row in _by_id(connection, evidence_salts, ids)}
    return [
        {
            **{name: value for name, value in row.items() if name not in _LEFT_OUT},
            "tags": tagged.get(row["id"]),
            "salt": salts.get(row["id"]),
        }
        for row in _by_id(connection, messages, ids)
    ]


def _by_id(connection: Connection, table: Table, ids: set[str]) -> list[Row]:
    (key,) = table.primary_key
    wanted = sorted(ids)
    return [
        row
        for start in range(0, len(wanted), _AT_ONCE)
        for row in _rows(
            connection,
            select(table).where(key.in_(wanted[start : start + _AT_ONCE])).order_by(key),
        )
    ]


def _rows(connection: Connection, query: Select[Any]) -> list[Row]:
    return [
        {str(name): value for name, value in row.items()}
        for row in connection.execute(query).mappings()
    ]
