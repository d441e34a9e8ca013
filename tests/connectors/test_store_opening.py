import os
import sqlite3
import subprocess
import sys
import textwrap
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from connectors.store import Store, StoreError, schema

SCRIPTS = Path(sys.modules[Store.__module__].__file__ or "").parent / "migrations"


def test_the_migrations_give_the_schema_and_can_be_run_again(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    for _ in range(3):
        Store.upgrade(url)
        with Store.open(url) as store, store.engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(context, schema.metadata) == []


def test_the_known_revisions_are_those_of_the_scripts() -> None:
    scripts = ScriptDirectory(str(SCRIPTS))
    found = [script.revision for script in scripts.walk_revisions()]
    assert tuple(reversed(found)) == schema.REVISIONS
    assert scripts.get_heads() == [schema.REVISIONS[-1]]


def test_a_plain_path_is_a_sqlite_file(tmp_path: Path) -> None:
    for path in (tmp_path / "100% good.db", str(tmp_path / "b.db")):
        with Store.open(path) as store:
            assert store.alerts() == []
        assert Path(path).exists()


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with Store.open(path) as store, store.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match=r"newer version .schema 9999"):
        Store.open(path)


def test_the_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE messages (words TEXT)")
    with pytest.raises(StoreError, match="another program"):
        Store.open(path)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("messages",)]


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    path.write_text("These are notes, and not a database at all. " * 50)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="is not a SQLite database"):
        Store.open(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("/nowhere/store.db", "folder /nowhere does not exist"),
        ("/proc/store.db", "cannot be opened"),
        ("sqlite://", "must be a file"),
        ("sqlite:///:memory:", "must be a file"),
        ("mysql://host/db", "SQLite or PostgreSQL, not mysql"),
        ("nonsense://host/db", "SQLite or PostgreSQL, not nonsense"),
        ("://", "not the address of a store"),
        ("postgresql://127.0.0.1:1/db?connect_timeout=2", "127.0.0.1:1/db"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_in_one_sentence(url: str, said: str) -> None:
    with pytest.raises(StoreError, match=said) as caught:
        Store.open(url)
    assert "\n" not in str(caught.value)


def test_a_password_is_not_shown() -> None:
    with pytest.raises(StoreError) as caught:
        Store.open("postgresql://jane:secret@127.0.0.1:1/db?connect_timeout=2")
    assert "secret" not in str(caught.value)


def test_a_folder_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    Store.open(path).close()
    path.chmod(0o444)
    tmp_path.chmod(0o555)
    if os.access(path, os.W_OK):
        pytest.skip("this user may write everything")
    with pytest.raises(StoreError, match="check the permissions"):
        Store.open(path)


def test_a_locked_database_is_said_after_waiting(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with (
        Store.open(path) as first,
        Store.open(path, busy_seconds=0.05) as second,
        first.transaction(),
    ):
        assert second.alerts() == []  # readers do not wait
        with pytest.raises(StoreError, match="locked by another process"), second.transaction():
            pass


def test_a_full_disk_is_said_and_the_store_stays_whole(tmp_path: Path) -> None:
    row = {"id": "r", "kind": "replay", "manifest": {"a": "x" * 10**6}, "state": "running"}
    with Store.open(tmp_path / "store.db") as store:
        with store.engine.connect() as connection:
            pages = connection.execute(text("PRAGMA page_count")).scalar_one()
            connection.execute(text(f"PRAGMA max_page_count = {pages + 10}"))
        with pytest.raises(StoreError, match="disk is full"), store.transaction() as tx:
            tx.save_run(row | {"started_at": datetime(2020, 1, 1, tzinfo=UTC)})
        assert store.rows(schema.runs.select()) == []


def test_opening_at_the_same_time_from_many_processes_works(tmp_path: Path) -> None:
    script = "import sys; from connectors.store import Store; Store.open(sys.argv[1]).close()"
    command = [sys.executable, "-c", script, str(tmp_path / "store.db")]
    processes = [subprocess.Popen(command) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4


WRITER = textwrap.dedent(
    """
    import os, signal, sys
    from datetime import UTC, datetime
    import msgspec
    from connectors.message import Message
    from connectors.store import Store

    def rows(start, count):
        at = datetime(2020, 1, 1, tzinfo=UTC)
        return [
            msgspec.structs.asdict(Message(id=f"{n}", source="f", published_at=at, text="a" * 500))
            for n in range(start, start + count)
        ]
    """
)


def run(script: str, *arguments: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", WRITER + textwrap.dedent(script), *arguments])


def test_a_kill_within_a_transaction_leaves_only_whole_transactions(tmp_path: Path) -> None:
    path = str(tmp_path / "store.db")
    script = """
        store = Store.open(sys.argv[1])
        with store.transaction() as tx:
            tx.upsert("messages", rows(0, 100))
            tx.save_state("r", 1, {"watch": (1, b"one")})
        with store.transaction() as tx:
            tx.upsert("messages", rows(100, 20_000))  # more than SQLite keeps in memory
            tx.save_state("r", 2, {"watch": (1, b"two")})
            os.kill(os.getpid(), signal.SIGKILL)
    """
    assert run(script, path).wait() == -9
    with Store.open(path) as store:
        assert len(store.rows(schema.messages.select())) == 100
        with store.transaction() as tx:
            assert tx.state("r") == {"watch": (1, b"one")}
            assert tx.rows(schema.run_state.select())[0]["slice"] == 1


def test_two_processes_writing_at_once_lose_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "store.db")
    Store.open(path).close()
    script = """
        start = int(sys.argv[2])
        with Store.open(sys.argv[1]) as store:
            for number in range(50):
                with store.transaction() as tx:
                    count = len(tx.state("shared"))
                    tx.save_state("shared", 0, {f"c{count}": (1, b"")})
                    tx.upsert("messages", rows(start + 10 * number, 10))
    """
    processes = [run(script, path, start) for start in ("0", "100000")]
    assert [process.wait() for process in processes] == [0, 0]
    with Store.open(path) as store, store.transaction() as tx:
        assert len(tx.rows(schema.messages.select())) == 1_000
        assert len(tx.state("shared")) == 100  # none read what the other was about to change


def test_postgresql_compiles_no_queries(postgresql_url: str) -> None:
    Store.upgrade(postgresql_url)
    with Store.existing(postgresql_url) as store, store.snapshot() as connection:
        assert connection.exec_driver_sql("SHOW jit").scalar() == "off"
