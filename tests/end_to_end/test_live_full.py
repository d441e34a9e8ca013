"""`foreshock live --local --full`: watched by a real Prometheus, killed, taken over, taken down."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from connectors.kafka.settings import KafkaSettings
from connectors.kafka.topics import create_topic
from connectors.store import Store
from connectors.store.schema import messages
from infra.flink import cluster
from infra.postgresql.server import Server, programs
from tests.end_to_end.test_live_command import _left
from tests.faults.stream import PARTITIONS, disturbed, of_the_sample, send
from tests.infra.test_postgresql import reachable
from tests.servers import alertmanager, prometheus

_DEADLINE_SECONDS = 180
_NAMES = ("Store", "Metrics", "Prometheus", "Alertmanager")


@pytest.fixture
def folder() -> Iterator[Path]:
    missing = [
        cluster.missing(),
        alertmanager.missing(),
        None if prometheus.programs() else "Prometheus is not installed",
        None if programs() else "PostgreSQL is not installed",
    ]
    if any(missing):
        pytest.skip("; ".join(filter(None, missing)))
    with reachable() as folder:
        yield folder
        cluster.Cluster(folder / ".foreshock" / "flink").kill()
        Server(folder / ".foreshock" / "postgresql").stop()


def test_the_whole_set_is_watched_survives_its_command_and_leaves_nothing_behind(
    folder: Path, kafka_settings: KafkaSettings
) -> None:
    topic = "live-full"
    create_topic(kafka_settings, topic, PARTITIONS)
    sent = disturbed(of_the_sample(300), seed=5)
    assert list(send(kafka_settings, topic, sent))[-1] == len(sent)
    server = Server(folder / ".foreshock" / "postgresql")

    with _started(folder, kafka_settings, topic) as first:
        addresses = _addresses(folder, first)
        prometheus.wait_for(addresses["Prometheus"], "foreshock_source_records_total > 0")
        assert addresses["Store"] == server.url
        assert alertmanager.alerts(addresses["Alertmanager"]) == []
    assert server.answers()
    assert _left(folder)

    with _started(folder, kafka_settings, topic) as second:
        again = _addresses(folder, second)
        assert again["Store"] == server.url
        prometheus.wait_for(again["Prometheus"], 'up{job="foreshock"} == 1')
        second.send_signal(signal.SIGTERM)
        assert second.wait(_DEADLINE_SECONDS) == 130, (folder / "said").read_text()
    assert _left(folder) == []
    assert not server.answers()

    server.start()
    with Store.existing(server.url) as store:
        assert store.rows(messages.select().limit(1))


@contextmanager
def _started(folder: Path, kafka: KafkaSettings, topic: str) -> Iterator["subprocess.Popen[bytes]"]:
    """The command; it is killed at the end of the block."""
    told = ["--brokers", kafka.brokers, "--topic", topic]
    with (folder / "said").open("w") as said:
        job = subprocess.Popen(
            [sys.executable, "-m", "pipelines", "live", "--local", "--full", *told],
            cwd=folder,
            stdout=said,
            stderr=said,
        )
    try:
        yield job
    finally:
        job.kill()
        job.wait(_DEADLINE_SECONDS)


def _addresses(folder: Path, job: "subprocess.Popen[bytes]") -> dict[str, str]:
    """What the command says of each, as soon as it has said all of it."""
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while True:
        said = (folder / "said").read_text()
        found = dict(re.findall(rf"({'|'.join(_NAMES)}): (\S+)", said))
        if set(found) == set(_NAMES):
            return found
        assert job.poll() is None, said
        assert time.monotonic() < deadline, said
        time.sleep(0.1)
