"""`Transaction`: what one slice of work reads and writes, all of it or nothing."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, Select, delete, select, update

from connectors.errors import StoreError
from connectors.store.schema import (
    PEOPLE_COLUMNS,
    alert_events,
    alerts,
    dead_letters,
    run_state,
    runs,
)
from connectors.store.writing import Row, Writer


class Transaction:
    """One open transaction for writing; `Store.transaction` opens it and ends it.

    Rows are dicts column -> value, or records with the columns for fields. Times are aware
    datetimes, JSON columns take plain Python values, and a record's `schema` is ignored. All rows
    of one call have the same columns; those left out are NULL in a new row and kept in a stored
    one.
    """

    def __init__(self, connection: Connection, writer: Writer) -> None:
        self._connection = connection
        self._writer = writer

    def upsert(self, table_name: str, rows: Iterable[Row]) -> int:
        """Writes rows by primary key; returns how many were taken.

        `window_stats` are taken where (`final`, `frontier`) is not less than stored, `spikes` where
        `final` is not, `alerts` where `updated_at` is not, and then the pipeline's columns alone.
        In `messages`, `dead_letters` and `late_messages` the first row wins; `alert_events` can
        only be added; elsewhere the last row wins. Raises StoreError for an unknown table or
        column.
        """
        return self._writer.write(self._connection, table_name, rows)

    def upsert_records(
        self, table_name: str, records: Sequence[msgspec.Struct], **columns: Iterable[Any]
    ) -> int:
        """`upsert` of records of one kind, which is faster.

        `columns`: values in the records' order that they lack, or that stand for their own.
        """
        return self._writer.write_records(self._connection, table_name, records, columns)

    def rows(self, query: Select[Any]) -> list[dict[str, Any]]:
        """What `query` selects, as dicts."""
        return rows(self._connection, query)

    def state(self, run_id: str) -> dict[str, tuple[int, bytes]]:
        """Component -> version and bytes, as saved by `save_state`."""
        query = select(run_state).where(run_state.c.run_id == run_id)
        return {row["component"]: (row["version"], row["payload"]) for row in self.rows(query)}

    def save_state(
        self, run_id: str, slice_number: int, states: Mapping[str, tuple[int, bytes | None]]
    ) -> None:
        """Saves the state of components (version and bytes), replacing the earlier one.

        A component whose bytes are None is removed.
        """
        gone = [component for component, (_, payload) in states.items() if payload is None]
        self._connection.execute(
            delete(run_state).where(run_state.c.run_id == run_id, run_state.c.component.in_(gone))
        )
        self.upsert(
            "run_state",
            [
                {
                    "run_id": run_id,
                    "component": component,
                    "version": version,
                    "payload": payload,
                    "slice": slice_number,
                }
                for component, (version, payload) in states.items()
                if payload is not None
            ],
        )

    def run(self, run_id: str) -> dict[str, Any] | None:
        """The row of `runs`, None where there is none."""
        return first(self.rows(select(runs).where(runs.c.id == run_id)))

    def save_run(self, row: Row) -> None:
        """Writes a row of `runs`, replacing the stored one."""
        self.upsert("runs", [row])

    def known_events(self, ids: Iterable[str]) -> set[str]:
        """Those of the event ids that stand in the ledger."""
        found = self.rows(select(alert_events.c.id).where(alert_events.c.id.in_(list(ids))))
        return {row["id"] for row in found}

    def last_event(self) -> dict[str, Any] | None:
        """The newest row of the ledger, None where it is empty."""
        query = select(alert_events).order_by(alert_events.c.sequence.desc()).limit(1)
        return first(self.rows(query))

    def open_alerts(self) -> list[dict[str, Any]]:
        """The alerts in the state `open`, oldest first."""
        query = select(alerts).where(alerts.c.state == "open")
        return self.rows(query.order_by(alerts.c.opened_at, alerts.c.id))

    def decide(self, alert_id: str, values: Row) -> None:
        """Writes people's columns of one alert; raises StoreError where there is no such alert."""
        if unknown := sorted(values.keys() - set(PEOPLE_COLUMNS)):
            raise StoreError(f"{unknown[0]!r} is not a column of an alert that people decide on")
        statement = update(alerts).where(alerts.c.id == alert_id).values(**values)
        if self._connection.execute(statement).rowcount == 0:
            raise StoreError(f"there is no alert {alert_id!r}: list them to see their ids")

    def mark_retried(self, ids: Iterable[str], at: datetime) -> None:
        """Notes that dead letters were driven again at `at`."""
        statement = update(dead_letters).values(retried_at=at)
        for dead_letter_id in ids:
            self._connection.execute(statement.where(dead_letters.c.id == dead_letter_id))


def rows(connection: Connection, query: Select[Any]) -> list[dict[str, Any]]:
    """What `query` selects, as dicts."""
    return [dict(row) for row in connection.execute(query).mappings()]


def first(found: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The first row, None where there is none."""
    return found[0] if found else None
