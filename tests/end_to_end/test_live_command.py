"""`foreshock live --local` as a person uses it: interrupted, given again, and compared."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from connectors.errors import StoreError
from connectors.kafka.settings import KafkaSettings
from connectors.kafka.topics import create_topic
from connectors.store import Store
from connectors.store.schema import messages
from infra.flink import cluster
from tests.end_to_end.stores import contents
from tests.end_to_end.test_replay_kafka import replayed
from tests.faults.stream import PARTITIONS, disturbed, of_the_sample, send

_DEADLINE_SECONDS = 300
_UNTIL_IDLE = 4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    if reason := cluster.missing():
        pytest.skip(reason)
    return tmp_path


def test_a_local_job_that_was_interrupted_ends_with_the_rows_of_a_replay(
    folder: Path, kafka_settings: KafkaSettings
) -> None:
    topic = "live-command"
    create_topic(kafka_settings, topic, PARTITIONS)
    sent = disturbed(of_the_sample(600), seed=11)
    assert list(send(kafka_settings, topic, sent))[-1] == len(sent)

    first = _started(folder, kafka_settings, topic)
    _wait_until_stored(folder / "live.db", first)
    first.send_signal(signal.SIGINT)
    _, said = first.communicate(timeout=_DEADLINE_SECONDS)
    assert first.returncode == 130, said
    assert "the savepoint is" in said
    assert _left(folder) == []

    second = _started(folder, kafka_settings, topic)
    answer, said = second.communicate(timeout=_DEADLINE_SECONDS)
    assert second.returncode == 0, said
    assert "The job goes on from" in said
    assert _left(folder) == []

    expected = replayed(kafka_settings, topic, folder / "replay.db")
    found = json.loads(answer)
    assert (found["read"], found["finished"]) == (len(sent), True)
    assert (found["stored"], found["duplicates"]) == (expected.stored, expected.duplicates)
    live, replay = contents(folder / "live.db"), contents(folder / "replay.db")
    for table in ("messages", "tags", "window_stats", "spikes", "dead_letters", "late_messages"):
        assert live[table] == replay[table], table


def _started(folder: Path, kafka: KafkaSettings, topic: str) -> "subprocess.Popen[str]":
    options = ["--brokers", kafka.brokers, "--topic", topic, "--until-idle", str(_UNTIL_IDLE)]
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "pipelines", "live", "--local", "--json"),
            *(*options, "--database", f"sqlite:///{folder}/live.db"),
        ],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that runs the tests in the background has its children ignore the signal.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def _wait_until_stored(store: Path, job: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while True:
        assert job.poll() is None, job.communicate()
        assert time.monotonic() < deadline
        with suppress(StoreError), Store.existing(f"sqlite:///{store}") as opened:
            if opened.rows(messages.select().limit(1)):
                return
        time.sleep(0.2)


def _left(folder: Path) -> list[int]:
    """The processes of the folder's cluster that still run."""
    mark = f"FORESHOCK_CLUSTER={folder}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdecimal() and mark in (entry / "environ").read_bytes():
                found.append(int(entry.name))
    return [process for process in found if process != os.getpid()]
