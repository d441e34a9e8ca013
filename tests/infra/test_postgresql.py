"""The PostgreSQL that `foreshock live --local --full` starts."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest

from infra.postgresql.server import Server, ServerFailed, programs
from pipelines.live.local import LocalStore


@pytest.fixture
def folder() -> Iterator[Path]:
    if programs() is None:
        pytest.skip("PostgreSQL is not installed")
    with reachable() as folder, ExitStack() as stack:
        stack.callback(Server(folder / "postgresql").stop)
        yield folder


@contextmanager
def reachable() -> Iterator[Path]:
    """A folder with a short path, which the server's user can enter."""
    with TemporaryDirectory(prefix="foreshock-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_it_keeps_its_data_and_whoever_comes_takes_it_over(folder: Path) -> None:
    store = LocalStore(folder / "postgresql")
    store.prepare()
    assert store.start() == []
    with psycopg.connect(store.url) as connection:
        connection.execute(
            "INSERT INTO runs (id, kind, state, manifest, counters, started_at) "
            "VALUES ('r', 'live', 'running', '{}', '{}', now())"
        )
    again = LocalStore(folder / "postgresql")
    assert again.start() == []
    again.stop()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(store.url)
    assert again.start() == ["postgresql"]
    with psycopg.connect(store.url) as connection:
        assert connection.execute("SELECT id FROM runs").fetchall() == [("r",)]


def test_it_listens_in_a_folder_that_only_its_owner_can_enter(folder: Path) -> None:
    server = Server(folder / "postgresql")
    assert server.start()
    assert server.folder.stat().st_mode & 0o077 == 0
    with psycopg.connect(server.url) as connection:
        (addresses,) = connection.execute("SHOW listen_addresses").fetchone() or ("?",)
    assert addresses == ""


def test_a_crashed_one_comes_back(folder: Path) -> None:
    server = Server(folder / "postgresql")
    server.start()
    postmaster = (server.folder / "data" / "postmaster.pid").read_text().split()[0]
    subprocess.run(["kill", "-KILL", postmaster], check=True)
    while Path("/proc", postmaster).exists() and server.answers():
        pass
    assert server.start()


def test_a_path_that_is_too_long_is_named(tmp_path: Path) -> None:
    with pytest.raises(ServerFailed, match="the path is too long"):
        Server(tmp_path / ("x" * 120)).start()
