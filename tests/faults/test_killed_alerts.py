"""The alert process killed with -9 again and again ends with the record of a replay."""

import multiprocessing
import random
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path

from sqlalchemy import select

from connectors.store import Store, schema
from connectors.store.sole import Sole
from pipelines.alerting.process import LOCK, work
from pipelines.audit import prove
from tests.alerting.test_lifecycle import NOON, spike
from tests.end_to_end.stores import final_events
from tests.pipelines.commits import MESSAGES, Minute, committed, final_alerts, prepared, replayed
from tests.pipelines.test_following import Remarks, follower

KILLS = 25
DEADLINE = 300.0
SEED = 20260301


def history(chance: random.Random) -> tuple[list[Minute], list[Minute]]:
    """Minutes as they are, and as they were said provisionally."""
    final, said, at = [], [], NOON
    for _ in range(4 * KILLS):
        at += chance.choice([1, 5, 60, 300]) * timedelta(minutes=1)
        spikes = [
            spike(
                at + timedelta(minutes=1),
                key=key,
                surprise=chance.uniform(3, 9),
                message_ids=tuple(chance.sample(MESSAGES, 2)),
            )
            for key in ("entity:A", "entity:B", "topic:C")
            if chance.random() < 0.4
        ]
        final.append((at, spikes))
        said.append((at, [one for one in spikes if chance.random() < 0.7]))
    return final, said


def run(url: str) -> None:
    with Store.open(url) as store:
        wait = threading.Event().wait
        work(follower(store), Sole(store, LOCK), pause=wait, watching=Remarks())


def start(url: str) -> BaseProcess:
    process = multiprocessing.get_context("fork").Process(target=run, args=(url,), daemon=True)
    process.start()
    return process


def test_it_ends_with_the_record_of_a_replay(store_url: str, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    final, said = history(chance)
    with Store.open(store_url) as store:
        prepared(store)
    for kill in range(KILLS):
        process = start(store_url)
        with Store.open(store_url) as store:
            committed(store, said[4 * kill : 4 * kill + 8], final=False)
            time.sleep(chance.uniform(0, 0.3))
            committed(store, final[4 * kill : 4 * kill + 4], final=True)
        time.sleep(chance.uniform(0, 0.3))
        process.kill()
        process.join()
    with Store.open(store_url) as store, Store.open(tmp_path / "replay.db") as other:
        work(
            follower(store),
            Sole(store, LOCK),
            pause=lambda _: False,
            watching=Remarks(),
            once=True,
        )
        prepared(other)
        replayed(other, final)
        assert final_events(store) == final_events(other)
        assert final_alerts(store) == final_alerts(other)
        assert prove(store).holds


def test_it_ends_in_order_when_asked_and_no_second_one_works(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    Store.open(url).close()
    command = [sys.executable, "-m", "pipelines", "alerts", "run", "--database", url]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert "Following configuration" in process.stderr.readline()
    second = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert second.returncode == 1
    assert "another process holds the lock" in second.stderr
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE) == 0
    process.stderr.close()
    with Store.open(url) as store:
        (row,) = store.rows(select(schema.runs.c.kind, schema.runs.c.state))
    assert row == {"kind": "alerts", "state": "finished"}
