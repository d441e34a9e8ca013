"""How fast slices go into PostgreSQL: `python -m tests.benchmarks.ingest [MESSAGES]`.

Starts a server of its own, and loads the same rows twice: by the store's commits (staging table,
guarded insert, each id once over all partitions), and by a bare COPY, slice by slice too, of rows
that were made ready before into the same indexed tables; it could not take a row twice. Prints both
and their ratio, and then how fast the store finds that it has all of them already.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import select

from connectors.store import Store, schema
from connectors.store.raw import encode_json
from tests.connectors.test_store import message, window
from tests.pipelines.ledgers import tag_row
from tests.servers import postgresql

SLICE = 2_000
START = datetime(2024, 1, 1, tzinfo=UTC)
TEXT = "Shares of {} fall {} % after it cut its outlook for the year, citing weak demand in Europe"
Slice = dict[str, list[dict[str, Any]]]


def main(count: int) -> None:
    programs = postgresql.programs()
    if programs is None:
        sys.exit("PostgreSQL is not installed")
    with postgresql.running(programs) as server:
        own, bare = _database(server, "own"), _database(server, "bare")
        slices = list(_slices(count))
        rows = sum(len(part) for one in slices for part in one.values())
        print(f"{count:,} messages, {rows:,} rows, slices of {SLICE:,} messages")
        with Store.open(own) as store:
            stored = _timed("the store", rows, lambda: _load(store, slices))
        ready = list(_ready(slices))
        copied = _timed("bare COPY", rows, lambda: _copy(bare, ready))
        print(f"ratio to bare COPY: {copied / stored:.2f}")
        with Store.open(own) as store:
            _timed("the store, all there", rows, lambda: _load(store, slices))
            assert len(store.rows(select(schema.messages.c.id))) == count


def _database(server: str, name: str) -> str:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    url = f"{server.rpartition('/')[0]}/{name}"
    Store.upgrade(url)
    with psycopg.connect(url) as connection:
        months = [f"{START + timedelta(days=31 * n):%Y-%m}-01" for n in range(3)]
        connection.execute("SELECT foreshock_partition(%s::date[])", [months])
    return url


def _slices(count: int) -> Iterator[Slice]:
    """Messages every 20 seconds, with two windows for each."""
    for first in range(0, count, SLICE):
        numbers = range(first, min(first + SLICE, count))
        times = [START + timedelta(seconds=20 * number) for number in numbers]
        names = [f"feed:{number * 7919 % 10**9:09d}" for number in numbers]
        yield {
            "messages": [
                message(name, published_at=at, text=TEXT.format(name, at.minute), received_at=at)
                for name, at in zip(names, times, strict=True)
            ],
            "tags": [
                {**tag_row(name), "published_at": at} for name, at in zip(names, times, strict=True)
            ],
            "window_stats": [
                window(key=f"{kind}:{name}", start=at.replace(second=0), final=True)
                for name, at in zip(names, times, strict=True)
                for kind in ("topic", "entity")
            ],
        }


def _load(store: Store, slices: Sequence[Slice]) -> None:
    for one in slices:
        with store.transaction() as tx:
            for table, rows in one.items():
                tx.upsert(table, rows)


def _ready(slices: Sequence[Slice]) -> Iterator[list[tuple[sql.Composed, list[list[Any]]]]]:
    """A COPY statement and its rows for each table of each slice."""
    for one in slices:
        ids = [{name: row[name] for name in ("id", "published_at")} for row in one["messages"]]
        copies = []
        for table, rows in ({"message_ids": ids} | one).items():
            names = [name for name in rows[0] if name != "schema"]
            statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
                sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, names))
            )
            copies.append((statement, [[_plain(row[name]) for name in names] for row in rows]))
        yield copies


def _plain(value: Any) -> Any:
    return encode_json(value).decode() if isinstance(value, dict | list | tuple) else value


def _copy(url: str, slices: Sequence[list[tuple[sql.Composed, list[list[Any]]]]]) -> None:
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        for one in slices:
            for statement, rows in one:
                with cursor.copy(statement) as copy:
                    for row in rows:
                        copy.write_row(row)
            connection.commit()


def _timed(what: str, rows: int, work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    seconds = time.perf_counter() - started
    print(f"{what:<24}{rows / seconds:10,.0f} rows/s")
    return seconds


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
