"""A live job of its own for benchmarks: broker, PostgreSQL and `foreshock live --local`."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from msgspec.structs import replace

from connectors.kafka.settings import KafkaSettings
from connectors.kafka.sink import KafkaSink, Outgoing
from connectors.kafka.topics import create_topic
from connectors.message import Message
from connectors.store import Store
from connectors.wire import encode_message
from infra.flink.cluster import Cluster
from infra.kafka.broker import Broker
from tests.faults.live import servers

NOW = "now"
"""The source of messages that were published when they were sent."""

_TOPIC = "benchmark"
_PARTITIONS = 3
_TICK_SECONDS = 0.05
_QUIET_SECONDS = 5.0


class Job:
    """A live job over a topic of its own, in the background."""

    def __init__(self, folder: Path, broker: Broker, database: str) -> None:
        self.settings = KafkaSettings(brokers=broker.address)
        self._folder, self._broker, self._database = folder, broker, database
        create_topic(self.settings, _TOPIC, _PARTITIONS)
        where = ("--brokers", broker.address, "--topic", _TOPIC, "--database", database)
        with (folder / "live.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pipelines", "live", "--local", *where],
                stdout=log,
                stderr=log,
                cwd=folder,
                env=dict(os.environ),
                start_new_session=True,
            )

    def send(self, messages: Sequence[Message]) -> None:
        with KafkaSink(self.settings) as sink:
            for one in messages:
                sink.send(_TOPIC, Outgoing(one.id.encode(), encode_message(one)))

    def send_now(
        self, texts: Sequence[Message], per_second: float, seconds: float, *, first: int = 0
    ) -> Iterator[int]:
        """Sends messages of now, none with the words of another, and tells again and again how many
        were sent. `first`: the number of the first."""
        started, sent = time.monotonic(), 0
        with KafkaSink(self.settings) as sink:
            while (gone := time.monotonic() - started) < seconds:
                for number in range(first + sent, first + int(gone * per_second)):
                    one = _now(texts[number % len(texts)], number)
                    sink.send(_TOPIC, Outgoing(one.id.encode(), encode_message(one)))
                    sent += 1
                sink.flush()
                yield sent
                time.sleep(_TICK_SECONDS)

    def ask(self, query: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self._database) as connection:
            return connection.execute(query).fetchall()  # type: ignore[call-overload,no-any-return]

    def stored(self) -> int:
        """Messages with their tags."""
        return int(self.ask("SELECT count(*) FROM tags")[0][0])  # type: ignore[call-overload]

    def wait_for(self, messages: int) -> float:
        """Waits until so many are stored; seconds that it took."""
        started = time.monotonic()
        while self.stored() < messages:
            if self._process.poll() is not None:
                raise SystemExit(f"the job has ended; see {self._folder}/live.log")
            time.sleep(0.5)
        return time.monotonic() - started

    def wait_until_quiet(self) -> None:
        """Waits until minutes are no longer written, which come behind their messages."""
        counted = -1
        while (now := int(self.ask("SELECT count(*) FROM window_stats")[0][0])) != counted:  # type: ignore[call-overload]
            counted = now
            time.sleep(_QUIET_SECONDS)

    def rate(self) -> float:
        """Messages a second, from the first row to the last."""
        ((count, first, last),) = self.ask(
            "SELECT count(*), min(processed_at), max(processed_at) FROM tags"
        )
        return count / (last - first).total_seconds()  # type: ignore[operator,no-any-return]

    def processes(self) -> dict[str, list[int]]:
        """Part -> the numbers of its processes."""
        ours = {"supervisor": self._process.pid, "broker": self._broker.process}
        return {part: [pid] for part, pid in ours.items() if pid} | self._cluster.processes()

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(180)
        self._cluster.kill()

    @property
    def _cluster(self) -> Cluster:
        return Cluster(self._folder / ".foreshock" / "flink")


def _now(text: Message, number: int) -> Message:
    return replace(
        text,
        id=f"{NOW}:{number}",
        source=NOW,
        published_at=datetime.now(UTC),
        text=f"{text.text} {number:x}",
    )


@contextmanager
def live_job() -> Iterator[Job]:
    """A job over an empty topic into an empty store; all of it is gone after the block."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with servers(folder) as (broker, server):
            url = f"{server.url.rpartition('/')[0]}/live"
            with psycopg.connect(server.url, autocommit=True) as connection:
                connection.execute("CREATE DATABASE live")
            Store.upgrade(url)
            job = Job(folder, broker, url)
            try:
                yield job
            finally:
                job.close()
