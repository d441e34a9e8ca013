"""`Transaction`: what one slice of work reads and writes, all of it or nothing."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    delete,
    func,
    select,
    text,
    update,
)

from connectors.errors import StoreError
from connectors.store.partitions import (
    DIVIDED,
    drop_messages,
    drop_windows,
    following,
    forget_ids,
    months_with_partitions,
    note_pruned,
    set_stories,
)
from connectors.store.schema import (
    PEOPLE_COLUMNS,
    alert_events,
    alerts,
    dead_letters,
    deliveries,
    evidence_salts,
    late_messages,
    messages,
    run_state,
    runs,
    sessions,
    tags,
    users,
    window_days,
    window_stats,
)
from connectors.store.writing import Row, Writer

_LEDGER_LOCK = 0x666F7265  # "fore": the number of an advisory lock is free to choose


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
        `final` is not, `alerts` where `updated_at` is not or the stored one is not final, and then
        the pipeline's columns alone.
        In `messages`, `dead_letters`, `late_messages`, `rule_versions` and `incident_members` the
        first row wins; `alert_events` and `corrections` can only be added; elsewhere the last row
        wins. Raises StoreError for an unknown table or column.
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

    def ledger_end(self) -> dict[str, Any] | None:
        """The newest row of the ledger, None where it is empty.

        Nobody else writes the ledger until this transaction ends: ask before you touch an alert,
        so that no two writers wait for each other.
        """
        if self._connection.dialect.name == "postgresql":  # SQLite has one writer anyway
            self._connection.execute(select(func.pg_advisory_xact_lock(_LEDGER_LOCK)))
        query = select(alert_events).order_by(alert_events.c.sequence.desc()).limit(1)
        return first(self.rows(query))

    def events_of(self, alert_ids: Iterable[str]) -> list[dict[str, Any]]:
        """The events of these alerts in the ledger's order."""
        wanted = alert_events.c.alert_id.in_(sorted(set(alert_ids)))
        return self.rows(select(alert_events).where(wanted).order_by(alert_events.c.sequence))

    def salts(self, message_ids: Iterable[str]) -> dict[str, str]:
        """Message id -> the salt of its seals, for those that have one."""
        wanted = evidence_salts.c.message_id.in_(sorted(set(message_ids)))
        return {
            row["message_id"]: row["salt"]
            for row in self.rows(select(evidence_salts).where(wanted))
        }

    def open_alerts(self) -> list[dict[str, Any]]:
        """The alerts in the state `open`, oldest first."""
        query = select(alerts).where(alerts.c.state == "open")
        return self.rows(query.order_by(alerts.c.opened_at, alerts.c.id))

    def decide(self, alert_id: str, values: Row) -> None:
        """Writes people's columns of one alert; closing it makes its state `resolved` for good.

        Raises StoreError where there is no such alert.
        """
        if unknown := sorted(values.keys() - set(PEOPLE_COLUMNS)):
            raise StoreError(f"{unknown[0]!r} is not a column of an alert that people decide on")
        if values.get("closed_at") is not None:
            values = {**values, "state": "resolved"}
        statement = update(alerts).where(alerts.c.id == alert_id).values(**values)
        if self._connection.execute(statement).rowcount == 0:
            raise StoreError(f"there is no alert {alert_id!r}: list them to see their ids")

    def set_user(self, name: str, values: Row) -> None:
        """Writes some columns of one user, so that two who change him do not undo each other."""
        self._connection.execute(update(users).where(users.c.name == name).values(**values))

    def end_sessions(self, condition: ColumnElement[bool]) -> None:
        """Removes the sessions of which the condition holds: their cookies open nothing more."""
        self._connection.execute(delete(sessions).where(condition))

    def set_stories(self, stories: Sequence[tuple[str, str]]) -> None:
        """Writes into `tags` what watching found: (message id, id of its story's first message)."""
        if stories and self._connection.dialect.name == "postgresql":
            set_stories(self._connection, stories)
        elif stories:
            statement = update(tags).where(tags.c.message_id == bindparam("of"))
            self._connection.execute(
                statement.values(story=bindparam("first"), repeat=bindparam("again")),
                [{"of": of, "first": first, "again": of != first} for of, first in stories],
            )

    def erase_message(self, message_id: str, remainder: str) -> None:
        """Puts `remainder` where the text was; title, address, author and salt go."""
        if self._connection.dialect.name == "sqlite":  # overwrite what is deleted
            self._connection.exec_driver_sql("PRAGMA secure_delete=ON")
        gone = dict.fromkeys(("title", "url", "author_hash"))
        statement = update(messages).where(messages.c.id == message_id)
        self._connection.execute(statement.values(text=remainder, **gone))
        self._connection.execute(
            delete(evidence_salts).where(evidence_salts.c.message_id == message_id)
        )

    def erase_evidence(self, alert_id: str, evidence: Row) -> None:
        """Replaces the evidence of an alert, to take a text out of it, and forgets what servers
        answered to its deliveries: one may have repeated the text."""
        statement = update(alerts).where(alerts.c.id == alert_id)
        self._connection.execute(statement.values(evidence=evidence))
        answers = update(deliveries).where(deliveries.c.alert_id == alert_id)
        self._connection.execute(answers.values(last_error=None))

    def wait_at_most(self, seconds: float) -> None:
        """From here on, for a table that somebody uses: who waits for all of it holds up whoever
        comes after him. PostgreSQL; SQLite's writers wait at the start."""
        if self._connection.dialect.name == "postgresql":
            self._connection.exec_driver_sql(f"SET LOCAL lock_timeout = {round(seconds * 1000)}")

    def hold_messages(self) -> None:
        """Keeps everybody else from messages and tags until the end. PostgreSQL."""
        if self._connection.dialect.name == "postgresql":
            self._connection.exec_driver_sql("LOCK TABLE messages, tags IN ACCESS EXCLUSIVE MODE")

    def months_before(self, end: datetime) -> list[datetime]:
        """The ends of the months before `end` that can be pruned one by one, oldest first.

        PostgreSQL's partitions; SQLite prunes all at once.
        """
        if self._connection.dialect.name == "sqlite":
            return []
        months = {m for name in DIVIDED for m in months_with_partitions(self._connection, name)}
        ends = (datetime(m.year, m.month, 1, tzinfo=UTC) for m in map(following, sorted(months)))
        return [one for one in ends if one <= end]

    def prune_windows(self, before: datetime) -> int:
        """Removes the windows that started before `before`, the first moment of a month (UTC).

        Returns how many.
        """
        gone = 0
        if self._connection.dialect.name == "postgresql":
            for month in months_with_partitions(self._connection, "window_stats"):
                if month < before.date():
                    gone += drop_windows(self._connection, month)
        for table in (window_days, window_stats):
            removed = self._connection.execute(delete(table).where(table.c.start < before))
        return gone + removed.rowcount

    def prune_messages(self, before: datetime, keep: Iterable[str]) -> int:
        """Removes the messages published before `before`, the first moment of a month (UTC), with
        their tags, except those whose ids are to `keep`; returns how many."""
        gone = 0
        self._keep(keep)
        if self._connection.dialect.name == "postgresql":
            for month in months_with_partitions(self._connection, "messages"):
                if month < before.date():
                    gone += drop_messages(self._connection, month)
            note_pruned(self._connection, before)
        is_kept = select(text("id")).select_from(text("kept"))
        for table, key in ((tags, tags.c.message_id), (messages, messages.c.id)):
            old = and_(table.c.published_at < before, key.not_in(is_kept))
            removed = self._connection.execute(delete(table).where(old))
        late = delete(late_messages).where(late_messages.c.published_at < before)
        self._connection.execute(late)
        return gone + removed.rowcount

    def forget_pruned(self) -> None:
        """Ends what `prune_messages` began, in a later transaction: what went may come again."""
        if self._connection.dialect.name == "postgresql":
            forget_ids(self._connection)

    def _keep(self, ids: Iterable[str]) -> None:
        """Writes the ids into a temporary table `kept`."""
        self._connection.exec_driver_sql("CREATE TEMP TABLE IF NOT EXISTS kept (id text NOT NULL)")
        self._connection.exec_driver_sql("DELETE FROM kept")
        if rows := [{"id": one} for one in ids]:
            self._connection.execute(text("INSERT INTO kept VALUES (:id)"), rows)

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
