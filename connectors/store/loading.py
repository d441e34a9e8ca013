"""How rows go into the divided tables of PostgreSQL: by one INSERT that knows which row wins, from
a staging table of the connection's own that COPY fills; a few rows from one parameter instead.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    Dialect,
    Float,
    Table,
    Text,
    column,
    func,
    select,
)
from sqlalchemy import table as plain_table
from sqlalchemy.dialects import postgresql

from connectors.errors import StoreError
from connectors.store import schema
from connectors.store.partitions import DIVIDED, make_partitions, message_ids, months_of
from connectors.store.raw import encode_json
from connectors.store.schema import UtcDateTime


class Loading:
    """Loads rows of one set of columns into `messages`, `tags` or `window_stats`."""

    def __init__(
        self, table: Table, names: Sequence[str], insert: postgresql.Insert, dialect: Dialect
    ) -> None:
        """`names`: the columns in the order in which their values will come. `insert`: of `LOADS`,
        with what happens to a row whose key is there."""
        self._table = table.name
        self._forms = [_form(table.columns[name], dialect) for name in names]
        self._key = [names.index(key.name) for key in table.primary_key]
        self._time = names.index(DIVIDED[table.name])
        stage = f"stage_{table.name}"
        columns = ", ".join(map(dialect.identifier_preparer.quote, names))
        # Made once in a connection's life; emptied by the server when a transaction ends.
        self._prepare = (
            f"CREATE TEMP TABLE IF NOT EXISTS {stage} (LIKE {table.name}) ON COMMIT DELETE ROWS; "
            f"DELETE FROM {stage}"
        )
        self._copy = f"COPY {stage} ({columns}) FROM STDIN"
        self._insert = str(insert.compile(dialect=dialect))
        few = f"{stage} AS (SELECT * FROM json_populate_recordset(NULL::{table.name}, %s))"
        with_others = self._insert.removeprefix("WITH ")
        comma = ", " if with_others != self._insert else " "
        self._insert_few = f"WITH {few}{comma}{with_others}"
        self._names = names

    def execute(self, connection: Connection, columns: Sequence[Sequence[Any]]) -> int:
        """Makes room for the rows and writes them; returns how many were taken.

        Raises StoreError, or an error of psycopg.
        """
        lines = self._lines(columns)
        times = columns[self._time]
        make_partitions(connection, months_of(time for time in times if time is not None))
        keys = list(zip(*(columns[place] for place in self._key), strict=True))
        parts = _parts(lines, keys)
        if len(lines) <= _FEW and len(parts) == 1:
            return self._load_few(connection, columns)
        return sum(self._load(connection, part) for part in parts)

    def _load_few(self, connection: Connection, columns: Sequence[Sequence[Any]]) -> int:
        rows = [dict(zip(self._names, row, strict=True)) for row in zip(*columns, strict=True)]
        written = encode_json(rows).decode()
        return connection.exec_driver_sql(self._insert_few, (written,)).rowcount

    def _load(self, connection: Connection, lines: Sequence[str]) -> int:
        driver: Any = connection.connection.driver_connection
        with driver.cursor() as cursor:
            cursor.execute(self._prepare)
            with cursor.copy(self._copy) as copy:
                for start in range(0, len(lines), _LINES):
                    copy.write("\n".join(lines[start : start + _LINES]) + "\n")
            cursor.execute(self._insert)
            return int(cursor.rowcount)

    def _lines(self, columns: Sequence[Sequence[Any]]) -> list[str]:
        """The rows in COPY's own text, made column by column: the driver's way takes longer."""
        try:
            fields = list(map(_written, self._forms, columns))
            return list(map("\t".join, zip(*fields, strict=True)))
        except (ValueError, TypeError, AttributeError) as error:
            raise StoreError(f"a row for {self._table!r} cannot be stored: {error}") from error


_FEW = 200
"""Rows for which a staging table costs more than it saves."""

_LINES = 1_000  # written at a time
_NULL = "\\N"


def _parts(lines: list[str], keys: Sequence[Any]) -> list[list[str]]:
    """The lines in their order, in as few parts as it takes that none holds a key twice."""
    if len(set(keys)) == len(keys):
        return [lines]
    parts: list[list[str]] = []
    before = Counter[Any]()
    for line, key in zip(lines, keys, strict=True):
        if before[key] == len(parts):
            parts.append([])
        parts[before[key]].append(line)
        before[key] += 1
    return parts


def _written(form: Callable[[Any], str], values: Iterable[Any]) -> Iterator[str]:
    """`form` of each value; once for neighbours that are the same object, such as a time."""
    before, result = None, _NULL
    for value in values:
        if value is not before:
            before, result = value, _NULL if value is None else form(value)
        yield result


def _form(column: Column[Any], dialect: Dialect) -> Callable[[Any], str]:
    kind = column.type
    if isinstance(kind, JSON):
        return _json
    if isinstance(kind, UtcDateTime):
        return lambda value: str(kind.process_bind_param(value, dialect))
    for known, form in ((Text, _text), (Boolean, _truth), (Float, _number)):
        if isinstance(kind, known):
            return form
    return str


def _text(value: str) -> str:
    if "\0" in value:
        raise ValueError("a text contains a NUL character")
    if not value.isascii():
        value.encode()  # half of a surrogate pair is no text either
    if "\\" in value:
        value = value.replace("\\", "\\\\")
    if "\n" in value or "\r" in value or "\t" in value:
        value = value.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    return value


def _json(value: Any) -> str:
    return encode_json(value).decode().replace("\\", "\\\\")


def _truth(value: bool) -> str:
    return "t" if value else "f"


def _number(value: float) -> str:
    return repr(float(value))


def _staging(table: Table, names: Sequence[str]) -> Any:
    """The staging table of `table`, as far as these columns go."""
    return plain_table(f"stage_{table.name}", *(column(name) for name in names))


def _insert_messages(names: Sequence[str]) -> postgresql.Insert:
    """Those whose id is new: two writers meet at `message_ids`, in the order of the ids."""
    stage = _staging(schema.messages, names)
    ids = select(stage.c.id, stage.c.published_at).order_by(stage.c.id)
    fresh = (
        postgresql.insert(message_ids)
        .from_select(["id", "published_at"], ids)
        .on_conflict_do_nothing()
        .returning(message_ids.c.id)
        .cte("fresh")
    )
    chosen = select(*(stage.c[name] for name in names)).where(stage.c.id.in_(select(fresh.c.id)))
    return postgresql.insert(schema.messages).from_select(list(names), chosen)


def _insert_tags(names: Sequence[str]) -> postgresql.Insert:
    """Each with the time under which its message is stored; one without a message is refused."""
    stage = _staging(schema.tags, names)
    at = func.coalesce(message_ids.c.published_at, stage.c.published_at)
    chosen = select(*(at if name == "published_at" else stage.c[name] for name in names))
    return postgresql.insert(schema.tags).from_select(
        list(names),
        chosen.outerjoin_from(stage, message_ids, message_ids.c.id == stage.c.message_id),
    )


def _insert_windows(names: Sequence[str]) -> postgresql.Insert:
    """All of them."""
    stage = _staging(schema.window_stats, names)
    return postgresql.insert(schema.window_stats).from_select(
        list(names), select(*(stage.c[name] for name in names))
    )


LOADS: dict[str, tuple[Callable[[Sequence[str]], postgresql.Insert], list[str]]] = {
    "messages": (_insert_messages, ["id", "published_at"]),
    "tags": (_insert_tags, ["message_id", "published_at"]),
    "window_stats": (_insert_windows, ["configuration", "key", "seconds", "start"]),
}
"""Table -> the INSERT from its staging table for some columns, and the key of its partitions."""
