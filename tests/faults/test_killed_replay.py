"""A replay killed with -9 at any point goes on where it was, and ends equal to an unbroken run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from connectors.errors import StoreError
from connectors.store import Store
from connectors.store.schema import runs
from tests.end_to_end.stores import contents

SLICE = 100
DEADLINE = 300.0


def start(source: Path | str, store: Path, *more: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "pipelines", "replay", str(source), *more]
    return subprocess.Popen(
        [*command, "--database", f"sqlite:///{store}"],
        env={**os.environ, "FORESHOCK_REPLAY__SLICE_MESSAGES": str(SLICE)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def counted(store: Path, counter: str) -> int:
    if not store.exists():
        return 0
    try:
        with Store.open(store) as opened:
            rows = opened.rows(select(runs.c.counters))
    except (StoreError, SQLAlchemyError):
        return 0  # the tables are being made
    return int(rows[0]["counters"].get(counter, 0)) if rows else 0


def kill_when(
    process: "subprocess.Popen[bytes]", store: Path, reached: int, counter: str = "slices"
) -> None:
    """Kills as soon as so many are committed, which is somewhere inside the next one."""
    deadline = time.monotonic() + DEADLINE
    while counted(store, counter) < reached:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("points", [(0,), (1, 4), (2, 5, 8)], ids=str)
def test_it_ends_equal_to_an_unbroken_run(
    points: tuple[int, ...],
    history: Path,
    tmp_path: Path,
    unbroken: Path,
) -> None:
    store = tmp_path / "killed.db"
    for point in points:
        kill_when(start(history, store), store, point)
    last = start(history, store)
    _, said = last.communicate(timeout=DEADLINE)
    assert last.returncode == 0, said.decode()
    assert contents(store) == contents(unbroken)


@pytest.fixture(scope="module")
def unbroken(
    history: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    store = tmp_path_factory.mktemp("unbroken") / "whole.db"
    process = start(history, store)
    _, said = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, said.decode()
    return store
