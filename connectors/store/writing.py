"""How rows are written: which row wins, and statements compiled once for each set of columns.

A row is taken only where it is not older than the stored one, so that whatever is delivered twice,
or by a worker that should be dead, turns nothing back.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from operator import itemgetter
from typing import Any, TypeVar

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Dialect,
    Table,
    and_,
    case,
    literal_column,
    not_,
    or_,
)
from sqlalchemy.dialects import postgresql, sqlite

from connectors.errors import StoreError
from connectors.store import schema
from connectors.store.loading import LOADS, Loading
from connectors.store.partitions import DIVIDED
from connectors.store.schema import PEOPLE_COLUMNS, metadata

Row = Mapping[str, Any]
Insert = TypeVar("Insert", sqlite.Insert, postgresql.Insert)
Guard = Callable[[Any, Any], ColumnElement[bool]]

_PLAIN = frozenset({"alert_events", "corrections"})
_FIRST_WINS = frozenset(
    {"messages", "dead_letters", "late_messages", "rule_versions", "incident_members"}
)
_NOT_STORED = "schema"
"""The version of a record: said by the table's own schema."""

_BATCH = 5_000


def _final_and_further(new: Any, stored: Any) -> ColumnElement[bool]:
    further = and_(new.final == stored.final, new.frontier >= stored.frontier)
    return or_(new.final > stored.final, further)


def _as_final(new: Any, stored: Any) -> ColumnElement[bool]:
    result: ColumnElement[bool] = new.final >= stored.final
    return result


def _as_recent(new: Any, stored: Any) -> ColumnElement[bool]:
    """What was provisional may be taken back."""
    return or_(new.updated_at >= stored.updated_at, not_(stored.final))


_GUARDS: dict[str, Guard] = {
    "window_stats": _final_and_further,
    "spikes": _as_final,
    "alerts": _as_recent,
}
"""Table -> when a row replaces the stored one; elsewhere the last one does."""


class Writer:
    """Writes rows into the tables over one dialect; keeps the compiled statements."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._statements: dict[tuple[str, tuple[str, ...]], _Statement | Loading] = {}

    def write(self, connection: Connection, table_name: str, rows: Iterable[Row]) -> int:
        """Writes rows of the same columns; returns how many were taken.

        Raises StoreError where the table or a column does not exist, or a row lacks a column that
        the first one has.
        """
        rows = rows if isinstance(rows, Sequence) else list(rows)
        if not rows:
            return 0
        names = tuple(name for name in rows[0] if name != _NOT_STORED)
        # itemgetter of one name gives no tuple; every table has two columns that must be there.
        values = itemgetter(*names, names[0])
        try:
            columns = list(zip(*map(values, rows), strict=True))[:-1]
        except KeyError as error:
            raise StoreError(f"a row for {table_name!r} lacks the column {error}") from error
        return self._write(connection, table_name, names, columns)

    def write_records(
        self,
        connection: Connection,
        table_name: str,
        records: Sequence[msgspec.Struct],
        columns: Mapping[str, Iterable[Any]],
    ) -> int:
        """`write` for records of one kind, several times faster than their dicts.

        `columns`: values that a record lacks or that stand for its own, one a record or more.
        """
        if not records:
            return 0
        fields = zip(*map(msgspec.structs.astuple, records), strict=True)
        values = dict(zip(records[0].__struct_fields__, fields, strict=True))
        values |= {name: tuple(islice(given, len(records))) for name, given in columns.items()}
        return self._write(connection, table_name, tuple(values), list(values.values()))

    def _write(
        self,
        connection: Connection,
        table_name: str,
        names: tuple[str, ...],
        columns: list[tuple[Any, ...]],
    ) -> int:
        if _NOT_STORED in names:
            del columns[names.index(_NOT_STORED)]
            names = tuple(name for name in names if name != _NOT_STORED)
        return self._statement(table_name, names).execute(connection, columns)

    def _statement(self, table_name: str, names: tuple[str, ...]) -> "_Statement | Loading":
        key = (table_name, names)
        found = self._statements.get(key)
        if found is None:
            table = metadata.tables.get(table_name)
            if table is None:
                raise StoreError(f"there is no table {table_name!r}")
            known = _writable(table)
            if unknown := [name for name in names if name not in known]:
                raise StoreError(f"the table {table_name!r} has no column {unknown[0]!r} to write")
            loads = self._dialect.name == "postgresql" and table_name in LOADS
            found = (_loading if loads else _Statement)(table, names, self._dialect)
            self._statements[key] = found
        return found


def _writable(table: Table) -> set[str]:
    return set(table.columns.keys()) - (set(PEOPLE_COLUMNS) if table is schema.alerts else set())


class _Statement:
    """An INSERT for one table and set of columns, with its conversions, outside the ORM's path.

    SQLAlchemy compiles the statement and supplies the conversions; applying them here, column by
    column where one is needed at all, is several times faster than its way of one row at a time.
    """

    def __init__(self, table: Table, given: tuple[str, ...], dialect: Dialect) -> None:
        """`given`: the columns in the order in which their values will come."""
        compiled = _insert(table, given, dialect).compile(dialect=dialect, column_keys=given)
        self._sql = str(compiled)
        self._table = table.name
        self._names = list(compiled.positiontup or given)
        self._positional = bool(compiled.positiontup)
        self._places = [given.index(name) for name in self._names]
        processors = (
            (index, table.columns[name].type.dialect_impl(dialect).bind_processor(dialect))
            for index, name in enumerate(self._names)
        )
        self._processors = [(index, process) for index, process in processors if process]

    def execute(self, connection: Connection, columns: Sequence[Sequence[Any]]) -> int:
        return sum(
            self._execute(connection, [values[start : start + _BATCH] for values in columns])
            for start in range(0, len(columns[0]), _BATCH)
        )

    def _execute(self, connection: Connection, columns: Sequence[Sequence[Any]]) -> int:
        converted: list[Iterable[Any]] = [columns[place] for place in self._places]
        try:
            for index, process in self._processors:
                converted[index] = _each(process, converted[index])
            values = list(zip(*converted, strict=True))
        except (ValueError, TypeError, AttributeError) as error:
            raise StoreError(f"a row for {self._table!r} cannot be stored: {error}") from error
        parameters: Any = (
            values
            if self._positional
            else [dict(zip(self._names, row, strict=True)) for row in values]
        )
        return connection.exec_driver_sql(self._sql, parameters).rowcount


def _each(process: Callable[[Any], Any], values: Iterable[Any]) -> Iterator[Any]:
    """`process` of each value; once for neighbours that are the same object, such as a time."""
    before = result = None
    for value in values:
        if value is not before:
            before, result = value, process(value)
        yield result


def _insert(
    table: Table, names: Sequence[str], dialect: Dialect
) -> sqlite.Insert | postgresql.Insert:
    key = [column.name for column in table.primary_key]
    if dialect.name == "sqlite":
        return _guarded(sqlite.insert(table), table, names, key)
    return _guarded(postgresql.insert(table), table, names, key)


def _guarded(insert: Insert, table: Table, names: Sequence[str], key: list[str]) -> Insert:
    """`insert`, and which row wins where there is one of the same `key`."""
    if table.name in _PLAIN:
        return insert
    if table.name in _FIRST_WINS:
        return insert.on_conflict_do_nothing()
    kept = {*key, DIVIDED.get(table.name)}  # no row moves in time
    guard = _GUARDS.get(table.name)
    return insert.on_conflict_do_update(
        index_elements=key,
        set_={name: _value(insert, table, name) for name in names if name not in kept},
        where=guard(insert.excluded, table.c) if guard else None,
    )


def _loading(table: Table, names: Sequence[str], dialect: Dialect) -> Loading:
    insert, key = LOADS[table.name]
    return Loading(table, names, _guarded(insert(names), table, names, key), dialect)


def _value(insert: sqlite.Insert | postgresql.Insert, table: Table, name: str) -> Any:
    """The incoming value; but what a person closed, no pipeline opens again."""
    new = insert.excluded[name]
    if table is schema.alerts and name == "state":
        return case((table.c.closed_at.is_not(None), literal_column("'resolved'")), else_=new)
    return new
