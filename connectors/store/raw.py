"""Reads a table as its bytes stand, for those who must know whether anybody changed them.

A row counts as damaged where a value cannot be read, or is not written as this package writes it:
JSON with a blank more means the same, but we did not write it.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Float,
    Integer,
    LargeBinary,
    Table,
    Text,
    cast,
    select,
    true,
    type_coerce,
)

from connectors.store.schema import UtcDateTime

encode_json = msgspec.json.Encoder(order="deterministic").encode
"""How JSON columns are written."""

_AT_ONCE = 500
"""Rows that are held at a time."""


@dataclass(frozen=True)
class Damaged:
    """A row that is not as it was written: the values that could be read, and what is wrong."""

    row: dict[str, Any]
    reason: str


def raw_rows(
    connection: Connection, table: Table, where: ColumnElement[bool] | None = None
) -> Iterator[dict[str, Any] | Damaged]:
    """The rows of the table by primary key, as dicts of their values: all, or some. However many
    there are, few are held at a time."""
    sqlite = connection.dialect.name == "sqlite"
    columns = [_raw(column, sqlite) for column in table.columns]
    query = select(*columns).where(true() if where is None else where).order_by(*table.primary_key)
    for values in connection.execute(query, execution_options={"yield_per": _AT_ONCE}):
        row: dict[str, Any] = {}
        reason = None
        for column, value in zip(table.columns, values, strict=True):
            try:
                row[str(column.name)] = _read(column, value)
            except (ValueError, TypeError, OverflowError, RecursionError):
                reason = reason or f"the column {column.name} is not as it was written"
        yield row if reason is None else Damaged(row, reason)


def _raw(column: Column[Any], sqlite: bool) -> Any:
    """Bytes where SQLite could hold anything; text of the JSON elsewhere."""
    if isinstance(column.type, JSON) or (sqlite and isinstance(column.type, Text | UtcDateTime)):
        if sqlite:
            return type_coerce(cast(column, LargeBinary), LargeBinary).label(column.name)
        return cast(column, Text).label(column.name)
    if sqlite and isinstance(column.type, Boolean):  # any number would pass for true
        return type_coerce(column, Integer).label(column.name)
    return column


def _read(column: Column[Any], value: Any) -> Any:
    if value is None:
        if not column.nullable:
            raise ValueError
        return None
    if isinstance(column.type, JSON):
        return _json(value)
    if isinstance(value, bytes) and isinstance(column.type, Text | UtcDateTime):
        text = value.decode()
        return text if isinstance(column.type, Text) else _time(text)
    if isinstance(column.type, Float):
        return float(value)
    if isinstance(column.type, Boolean):
        return _truth(value)
    return value


def _truth(value: Any) -> bool:
    if not isinstance(value, int) or value not in (0, 1):
        raise ValueError
    return bool(value)


def _json(value: bytes | str) -> Any:
    written = value.encode() if isinstance(value, str) else value
    found = json.loads(written)
    if encode_json(found) != written:
        raise ValueError
    return found


def _time(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    if found.isoformat(" ", "microseconds") != text or found.tzinfo is not None:
        raise ValueError
    return found.replace(tzinfo=UTC)
