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
from connectors.store.schema import deliveries
from connectors.store.sole import Sole
from pipelines.alerting.process import LOCK, work
from pipelines.alerting.routing import NEWS, Routing
from pipelines.alerting.ruling import RulesFile
from pipelines.audit import prove
from tests.alerting.test_lifecycle import NOON, spike
from tests.end_to_end.stores import final_events
from tests.pipelines.commits import MESSAGES, Minute, committed, final_alerts, prepared, replayed
from tests.pipelines.test_alert_routing import EMAIL, RULES
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


def run(url: str, rules: Path, once: bool = False) -> None:
    routing = Routing(RulesFile(rules, ["email"]))
    with Store.open(url) as store:
        one, sole = follower(store), Sole(store, LOCK)
        one.tell = routing.tell
        work(
            one,
            sole,
            pause=threading.Event().wait,
            watching=Remarks(),
            routing=routing,
            once=once,
        )
        sole.release()


def start(url: str, rules: Path) -> BaseProcess:
    fork = multiprocessing.get_context("fork")
    process = fork.Process(target=run, args=(url, rules), daemon=True)
    process.start()
    return process


def test_it_ends_with_the_record_of_a_replay(store_url: str, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    final, said = history(chance)
    rules = tmp_path / "rules.toml"
    rules.write_text(RULES, encoding="utf-8")
    with Store.open(store_url) as store:
        prepared(store)
    for kill in range(KILLS):
        process = start(store_url, rules)
        with Store.open(store_url) as store:
            committed(store, said[4 * kill : 4 * kill + 8], final=False)
            time.sleep(chance.uniform(0, 0.3))
            committed(store, final[4 * kill : 4 * kill + 4], final=True)
        time.sleep(chance.uniform(0, 0.3))
        process.kill()
        process.join()
    run(store_url, rules, once=True)
    with Store.open(store_url) as store, Store.open(tmp_path / "replay.db") as other:
        prepared(other)
        replayed(other, final)
        assert final_events(store) == final_events(other)
        assert final_alerts(store) == final_alerts(other)
        assert prove(store).holds
        assert told(store) == sorted(row["event_id"] for row in store.rows(select(deliveries)))


def told(store: Store) -> list[str]:
    """The event of every notice that the ledger says was made."""
    events = [row for row in store.events() if row["event"] == "routed"]
    assert len(events) == sum(row["event"] in NEWS for row in store.events())
    found = [row["details"]["of"] for row in events for _ in row["details"]["told"]]
    assert len(found) > 10
    return sorted(found)


def test_it_ends_in_order_when_asked_and_no_second_one_works(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    Store.open(url).close()
    rules, config = tmp_path / "rules.toml", tmp_path / "foreshock.toml"
    rules.write_text(RULES, encoding="utf-8")
    config.write_text(EMAIL, encoding="utf-8")
    command = [sys.executable, "-m", "pipelines", "alerts", "run", "--database", url]
    command += ["--rules", str(rules), "--config", str(config)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert "Following configuration" in process.stderr.readline()
    second = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert second.returncode == 1
    assert "another process holds the lock" in second.stderr
    rules.write_text("[", encoding="utf-8")
    assert "cannot be used" in process.stderr.readline()
    rules.write_text(f"{RULES}# as before\n", encoding="utf-8")
    assert "has changed: version" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE) == 0
    process.stderr.close()
    with Store.open(url) as store:
        (row,) = store.rows(select(schema.runs.c.kind, schema.runs.c.state))
    assert row == {"kind": "alerts", "state": "finished"}
