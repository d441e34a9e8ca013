"""PostgreSQL: whatever breaks in the middle of a transaction, nothing of it is there."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import repeat
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, func, select, text

from connectors.errors import StoreUnavailable
from connectors.store import Store, StoreError, Transaction, schema
from connectors.store.partitions import message_ids
from tests.connectors.test_store import message, window, write
from tests.connectors.test_store_partitions import tag

AT = datetime(2020, 1, 15, tzinfo=UTC)
TABLES = (schema.messages, schema.tags, schema.window_stats, schema.run_state, message_ids)
_DEADLINE = 30.0


@pytest.fixture
def store(postgresql_url: str) -> Iterator[Store]:
    Store.upgrade(postgresql_url)
    with Store.open(postgresql_url) as store:
        write(store, "messages", message("before", published_at=AT))
        yield store


def counts(store: Store) -> list[int]:
    """Rows of `TABLES`."""
    with store.snapshot() as connection:
        return [connection.scalar(select(func.count()).select_from(t)) or 0 for t in TABLES]


NOTHING_NEW = [1, 0, 0, 0, 1]


def a_slice(tx: Transaction, names: list[str], text_: str = "a", at: datetime = AT) -> int:
    """Writes what a slice of a replay writes."""
    taken = tx.upsert("messages", [message(n, published_at=at, text=text_) for n in names])
    tx.upsert("tags", [tag(name, at) for name in names])
    tx.upsert("window_stats", [window(key=f"topic:{name}", start=at) for name in names])
    tx.save_state("run", 1, {"watch": (1, b"one")})
    return taken


def backend(tx: Transaction) -> int:
    (row,) = tx.rows(select(func.pg_backend_pid().label("pid")))
    return int(row["pid"])


def kill(store: Store, pid: int) -> None:
    with store.engine.begin() as connection:
        assert connection.scalar(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})


@pytest.mark.parametrize("when", ["before", "between", "after"])
def test_a_connection_lost_in_the_middle_leaves_nothing_and_may_be_tried_again(
    store: Store, when: str
) -> None:
    def work(lose: Callable[[int], object]) -> None:
        with store.transaction() as tx:
            pid = backend(tx)
            if when == "before":
                lose(pid)
            tx.upsert("messages", [message("m", published_at=AT)])
            if when == "between":
                lose(pid)
            a_slice(tx, ["n"])
            if when == "after":
                lose(pid)

    with pytest.raises(StoreUnavailable):
        work(lambda pid: kill(store, pid))
    assert counts(store) == NOTHING_NEW
    work(lambda pid: None)
    assert counts(store) == [3, 1, 1, 1, 3]


def test_a_connection_lost_while_rows_are_copied_leaves_nothing(store: Store) -> None:
    def rows() -> Iterator[dict[str, Any]]:
        yield from (message(f"m{n}", published_at=AT, text="x" * 500) for n in range(20_000))

    def work() -> None:
        with store.transaction() as tx:
            pid = backend(tx)
            with ThreadPoolExecutor(1) as other:
                done = other.submit(_kill_while_copying, store, pid)
                tx.upsert("messages", rows())
                done.result()
                a_slice(tx, ["n"])

    with pytest.raises(StoreUnavailable):
        work()
    assert counts(store) == NOTHING_NEW


def _kill_while_copying(store: Store, pid: int) -> None:
    """Or as soon as it is done, should that be sooner."""
    deadline = time.monotonic() + _DEADLINE
    with store.engine.connect() as connection:
        while time.monotonic() < deadline:
            if _copying(connection, pid):
                break
    kill(store, pid)


def _copying(connection: Connection, pid: int) -> bool:
    connection.rollback()  # else the server shows the same moment for ever
    query = "SELECT count(*) FROM pg_stat_activity WHERE pid = :pid AND query ~ '^(COPY|INSERT)'"
    return bool(connection.scalar(text(query), {"pid": pid}))


@pytest.fixture
def small_disk(postgresql_server: str) -> Iterator[tuple[str, Path]]:
    """The address of a database of its own on a disk of 64 MB, and where that is mounted."""
    # The server's user must get there, and may not enter the folders of another's tests.
    folder = Path(tempfile.mkdtemp(prefix="foreshock-disk-"))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m,mode=777", "none", folder], capture_output=True
    )
    if mounted.returncode:
        folder.rmdir()
        pytest.skip("this user may mount no disk")
    folder.chmod(0o777)
    try:
        with psycopg.connect(postgresql_server, autocommit=True) as connection:
            data = folder / "data"
            data.mkdir()
            shutil.chown(data, _owner(connection))
            connection.execute(f"CREATE TABLESPACE small LOCATION '{data}'")
            connection.execute("CREATE DATABASE small TABLESPACE small")
            yield f"{postgresql_server.rpartition('/')[0]}/small", folder
            connection.execute("DROP DATABASE small WITH (FORCE)")
            connection.execute("DROP TABLESPACE small")
    finally:
        subprocess.run(["umount", folder], check=True)
        folder.rmdir()


def _owner(connection: "psycopg.Connection[Any]") -> int:
    """Whose the server is."""
    return os.stat(f"/proc/{connection.info.backend_pid}").st_uid


def test_a_full_disk_is_said_leaves_nothing_and_may_be_tried_again(
    small_disk: tuple[str, Path],
) -> None:
    url, folder = small_disk
    long = "x" * 1_500  # too short to be compressed or put aside
    Store.upgrade(url)
    other_file = folder / "other"
    other_file.write_bytes(bytes(4 * 2**20))
    with Store.open(url) as store:
        write(store, "messages", message("before", published_at=AT))
        with pytest.raises(StoreUnavailable, match="disk is full"), store.transaction() as tx:
            a_slice(tx, [f"m{n}" for n in range(30_000)], long)
        assert counts(store) == NOTHING_NEW
        other_file.unlink()
        with store.transaction() as tx:
            assert a_slice(tx, ["m1", "m2"], long) == 2


def test_two_writers_of_the_same_messages_store_each_once(store: Store) -> None:
    """The second waits for the first, and then finds its messages there, whatever their times."""
    names, other_time = [f"m{n}" for n in range(50)], AT + timedelta(days=1)
    with ThreadPoolExecutor(1) as other:
        with store.transaction() as tx:
            assert a_slice(tx, names) == 50
            second = other.submit(_in_transaction, store, names[::-1], other_time)
            _until(store, "SELECT count(*) FROM pg_locks WHERE NOT granted")
        assert second.result(_DEADLINE) == 0
    assert counts(store) == [51, 50, 100, 1, 51]
    times = store.rows(select(schema.tags.c.published_at).distinct())
    assert times == [{"published_at": AT}]


def _in_transaction(store: Store, names: list[str], at: datetime) -> int:
    with store.transaction() as tx:
        return a_slice(tx, names, at=at)


def _until(store: Store, query: str) -> None:
    """Waits until it counts something."""
    deadline = time.monotonic() + _DEADLINE
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while not connection.scalar(text(query)):
            assert time.monotonic() < deadline, query


def test_many_writers_at_once_in_new_months_lose_nothing(store: Store) -> None:
    """Each makes months, all of them the same ones; some ids are everybody's."""

    def write_all(number: int) -> int:
        taken = 0
        for month in range(1, 7):
            own = [f"{number}-{month}-{n}" for n in range(20)]
            shared = [f"shared-{month}-{n}" for n in range(20)]
            taken += _patiently(store, own + shared, datetime(2021, month, 3, tzinfo=UTC))
        return taken

    with ThreadPoolExecutor(4) as writers:
        taken = list(writers.map(write_all, range(4)))
    assert sum(taken) == 4 * 6 * 20 + 6 * 20
    found = counts(store)
    assert found[:2] == [1 + sum(taken), sum(taken)]
    assert found[4] == found[0]


def _patiently(store: Store, names: list[str], at: datetime) -> int:
    """As the live job does: what the server undoes is tried again."""
    for _ in repeat(None, 20):
        try:
            return _in_transaction(store, names, at)
        except StoreUnavailable:
            continue
    raise AssertionError("given up")


@pytest.mark.parametrize("bad", ["nul \0", "half \ud83d", 5])
def test_a_slice_with_one_bad_row_leaves_nothing(store: Store, bad: Any) -> None:
    def work() -> None:
        with store.transaction() as tx:
            a_slice(tx, ["a", "b"])
            tx.upsert("messages", [message("c", published_at=AT, text=bad)])

    with pytest.raises(StoreError, match="a row for 'messages' cannot be stored"):
        work()
    assert counts(store) == NOTHING_NEW
