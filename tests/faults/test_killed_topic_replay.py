"""A replay of a topic killed with -9 goes on where it was, although the topic has grown since."""

from pathlib import Path

from sqlalchemy import select

from connectors.kafka.settings import KafkaSettings
from connectors.store import Store
from connectors.store.schema import runs
from tests.conftest import MESSAGES, TWICE
from tests.end_to_end.stores import contents
from tests.faults.test_killed_replay import DEADLINE, kill_when, start
from tests.servers.kafka import write


def finish(source: str, store: Path, *end: str) -> None:
    process = start(source, store, *end)
    _, said = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, said.decode()


def test_with_the_same_end_it_is_the_same_run_and_ends_equal_to_an_unbroken_one(
    history: Path, kafka_settings: KafkaSettings, topic: str, tmp_path: Path
) -> None:
    lines: list[bytes | None] = [*history.read_bytes().splitlines()]
    in_time = lines[:MESSAGES][::-1]
    write(kafka_settings, topic, [*in_time[:700], *lines[MESSAGES:]], partition=0)
    write(kafka_settings, topic, [in_time[-1], *in_time[700:-1]], partition=2)  # nearly all late
    address = f"kafka://{kafka_settings.brokers}/{topic}"
    killed, unbroken = tmp_path / "killed.db", tmp_path / "unbroken.db"
    kill_when(start(address, killed), killed, 2)
    write(kafka_settings, topic, [b"{later"], partition=1)

    end = ("--end", f"0:{700 + TWICE},1:0,2:{MESSAGES - 700}")
    kill_when(start(address, killed, *end), killed, 1, "late_position")
    finish(address, killed, *end)
    finish(address, unbroken, *end)
    assert contents(killed) == contents(unbroken)
    with Store.open(killed) as store:
        (run,) = store.rows(select(runs))
    assert run["state"] == "finished"
    assert run["counters"]["read"] == MESSAGES + TWICE
    assert run["counters"]["duplicates"] == TWICE  # late copies of what was on time
    assert run["counters"]["late"] == len(contents(killed)["late_messages"]) > 400
