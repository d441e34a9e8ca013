"""What a store holds as data frames and Parquet: messages with their tags, windows, alerts.

    from pipelines import frames
    hours = frames.read("windows", "sqlite:///mood.db", key="overall")

Times are UTC, with a zone. Rows come in order of time. A file that `write` made is read again with
`pandas.read_parquet` into the same frame.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import ColumnElement, Connection, Select, and_, select

from connectors.errors import StoreError
from connectors.store import Store, schema

Kind = Literal["messages", "windows", "alerts"]

_TOGETHER = 20_000
"""Rows in memory at a time while a file is written."""

_TIME = pa.timestamp("us", tz="UTC")
_TEXTS = pa.list_(pa.string())

Row = dict[str, Any]


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows: of event time from `start` to `end`, excluded; None for no bound.

    `key`: windows and alerts of one key. `seconds`: the length of windows, 60 or 3600.
    `configuration`: whose windows and alerts; None for the newest.
    """

    start: datetime | None = None
    end: datetime | None = None
    key: str | None = None
    seconds: int = 3600
    configuration: str | None = None


@dataclass(frozen=True)
class _Frame:
    schema: pa.Schema
    query: Callable[[Wanted], Select[Any]]
    shown: Callable[[Row], Row]


def read(kind: Kind, database: str, **wanted: Any) -> pd.DataFrame:
    """The rows as a frame; `wanted` are the fields of `Wanted`. Raises StoreError."""
    with Store.existing(database) as store:
        tables = list(_tables(store, kind, Wanted(**wanted)))
    found: pd.DataFrame = pa.concat_tables(
        [_FRAMES[kind].schema.empty_table(), *tables]
    ).to_pandas()
    return found


def write(kind: Kind, store: Store, path: Path, wanted: Wanted) -> int:
    """Writes the rows as Parquet, a part at a time; returns how many. Raises StoreError, OSError.

    The file is there when it is whole.
    """
    rows = 0
    part = path.with_name(f".{path.name}.part")
    try:
        with pq.ParquetWriter(part, _FRAMES[kind].schema, compression="zstd") as writer:
            for table in _tables(store, kind, wanted):
                writer.write_table(table)
                rows += table.num_rows
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return rows


def _tables(store: Store, kind: Kind, wanted: Wanted) -> Iterator[pa.Table]:
    frame = _FRAMES[kind]
    with store.snapshot() as connection:
        if wanted.configuration is None:
            newest = _newest_configuration(connection)
            wanted = msgspec.structs.replace(wanted, configuration=newest)
        found = connection.execution_options(yield_per=_TOGETHER).execute(frame.query(wanted))
        for part in found.mappings().partitions(_TOGETHER):
            rows = [frame.shown(dict(row)) for row in part]
            yield pa.Table.from_pylist(rows, schema=frame.schema)


def _newest_configuration(connection: Connection) -> str:
    """That of the window that began last; "" where there is none."""
    stats = schema.window_stats.c
    query = select(stats.configuration).order_by(stats.start.desc(), stats.configuration).limit(1)
    return connection.execute(query).scalar() or ""


def _within(column: ColumnElement[datetime], wanted: Wanted) -> list[ColumnElement[bool]]:
    found = []
    if wanted.start is not None:
        found.append(column >= wanted.start)
    if wanted.end is not None:
        found.append(column < wanted.end)
    return found


def _messages(wanted: Wanted) -> Select[Any]:
    if wanted.key is not None:
        raise StoreError("messages have no key: select them by time, then by topic or entities")
    messages, tags = schema.messages.c, schema.tags.c
    own = [column for column in tags if column.name not in ("message_id", "published_at")]
    same = and_(tags.message_id == messages.id, tags.published_at == messages.published_at)
    return (
        select(
            messages.id,
            messages.source,
            tags.published_at,
            messages.title,
            messages.text,
            messages.url,
            messages.language,
            *own,
        )
        .join(schema.tags, same)
        .where(*_within(tags.published_at, wanted), *_within(messages.published_at, wanted))
        .order_by(tags.published_at, messages.id)
    )


def _message(row: Row) -> Row:
    model = row["model"]
    return {**row, "model": f"{model['name']} {model['version']}"}


def _windows(wanted: Wanted) -> Select[Any]:
    stats = schema.window_stats.c
    query = select(schema.window_stats).where(
        stats.configuration == wanted.configuration,
        stats.seconds == wanted.seconds,
        *_within(stats.start, wanted),
    )
    if wanted.key is not None:
        query = query.where(stats.key == wanted.key)
    return query.order_by(stats.start, stats.key)


def _alerts(wanted: Wanted) -> Select[Any]:
    alerts = schema.alerts.c
    query = select(schema.alerts).where(
        alerts.configuration == wanted.configuration, *_within(alerts.opened_at, wanted)
    )
    if wanted.key is not None:
        query = query.where(alerts.key == wanted.key)
    return query.order_by(alerts.opened_at, alerts.id)


def _alert(row: Row) -> Row:
    return {**row, "message_ids": [message["id"] for message in row["evidence"]["messages"]]}


def _typed(**columns: pa.DataType) -> pa.Schema:
    return pa.schema(list(columns.items()))


def _columns(names: str, kind: pa.DataType) -> dict[str, pa.DataType]:
    return dict.fromkeys(names.split(), kind)


_COUNTS = tuple(
    column.name
    for column in schema.window_stats.columns
    if column.name not in ("key", "start", "seconds", "configuration", "final", "frontier")
)

_FRAMES: dict[Kind, _Frame] = {
    "messages": _Frame(
        _typed(
            **_columns("id source", pa.string()),
            published_at=_TIME,
            **_columns("title text url language sentiment topic", pa.string()),
            **_columns("negative neutral positive", pa.float64()),
            **_columns("abstained listing repeat", pa.bool_()),
            entities=_TEXTS,
            **_columns("story model", pa.string()),
        ),
        _messages,
        _message,
    ),
    "windows": _Frame(
        _typed(
            key=pa.string(),
            start=_TIME,
            seconds=pa.int64(),
            **dict.fromkeys(_COUNTS, pa.int64()),
            final=pa.bool_(),
            configuration=pa.string(),
        ),
        _windows,
        dict,
    ),
    "alerts": _Frame(
        _typed(
            **_columns("id key kind state severity", pa.string()),
            **_columns("opened_at updated_at resolved_at", _TIME),
            **_columns("peak_surprise peak_observed expected_at_peak", pa.float64()),
            spikes=pa.int64(),
            message_ids=_TEXTS,
            acknowledged_at=_TIME,
            **_columns("acknowledged_by assigned_to disposition", pa.string()),
            closed_at=_TIME,
            **_columns("configuration model", pa.string()),
        ),
        _alerts,
        _alert,
    ),
}
