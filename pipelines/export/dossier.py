"""Gathers what is needed to derive alerts again and to check their place in the ledger.

The same store gives the same bytes: nothing tells when the export was made.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

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
_LEFT_OUT = ("author_hash",)  # no alert rests on it


@dataclass(frozen=True, kw_only=True)
class Dossier:
    """`ledger`: all of it, in order; of the events of other alerts only `link`s may be shown.
    `messages`: with their tags and, unless erased, the salt of their seals."""

    alerts: Sequence[Row]
    spikes: Sequence[Row]
    messages: Sequence[Row]
    runs: Sequence[Row]
    ledger: Sequence[LedgerRow]

    @property
    def end(self) -> Point:
        """Where the chain ends."""
        last = self.ledger[-1]
        return Point(last.sequence, last.hash)

    def events(self) -> dict[str, list[LedgerRow]]:
        """Alert -> its events in their order."""
        events: dict[str, list[LedgerRow]] = {row["id"]: [] for row in self.alerts}
        for event in self.ledger:
            if event.alert_id in events:
                events[event.alert_id].append(event)
        return events

    def records(self) -> Iterator[Row]:
        """One a line of JSON Lines; `record` says what each is."""
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
        shown = {row["id"] for row in self.alerts}
        for event in self.ledger:
            if event.alert_id in shown:
                yield {"record": "event", **msgspec.structs.asdict(event)}
            else:
                digest = ledger.content_digest(event)
                yield {"record": "link", "sequence": event.sequence, "digest": digest}


def one(alert_id: str) -> ColumnElement[bool]:
    """The alert with this id."""
    return alerts.c.id == alert_id


def opened(start: datetime | None, end: datetime | None) -> ColumnElement[bool]:
    """The alerts that opened from `start` to `end`, the end excluded; event time, UTC."""
    conditions: list[ColumnElement[bool]] = [true()]
    if start is not None:
        conditions.append(alerts.c.opened_at >= start)
    if end is not None:
        conditions.append(alerts.c.opened_at < end)
    return and_(*conditions)


def gather(store: Store, wanted: ColumnElement[bool]) -> Dossier:
    """The dossier of the wanted alerts, of one moment of the store. Raises StoreError."""
    with store.snapshot() as connection:
        chosen = _rows(
            connection, select(alerts).where(wanted).order_by(alerts.c.opened_at, alerts.c.id)
        )
        ids = {row["id"] for row in chosen}
        chain = [
            LedgerRow(**row)
            for row in _rows(connection, select(alert_events).order_by(alert_events.c.sequence))
        ]
        events = [event for event in chain if event.alert_id in ids]
        found = {e.details["spike_id"] for e in events if "spike_id" in e.details}
        spiked = _by_id(connection, spikes, found)
        # Beside a live job one run finds spikes, and another one makes alerts of them.
        found_by = {e.run_id for e in events} | {row["run_id"] for row in spiked}
        named = {name for row in chosen for name in row["evidence"]["message_ids"]}
        return Dossier(
            alerts=chosen,
            spikes=spiked,
            messages=_messages(connection, named),
            runs=_by_id(connection, runs, {name for name in found_by if name is not None}),
            ledger=chain,
        )


def jsonl(dossier: Dossier) -> str:
    """The dossier as JSON Lines, keys sorted, times in UTC."""
    encode = msgspec.json.Encoder(order="deterministic").encode
    return "".join(f"{encode(record).decode()}\n" for record in dossier.records())


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
