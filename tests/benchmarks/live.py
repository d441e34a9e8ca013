"""How fast the live job is, against the bare tagger on the same texts, and how late its rows are.

    python -m tests.benchmarks.live --messages 8000 --seconds 150

Starts a broker, PostgreSQL and `foreshock live --local`. First the sample lies in the topic and is
read as fast as it goes; then messages of now come at half of that rate, and each row tells how long
after its record it was written. Of minutes, the time is taken from the record that moves the
watermark past their end until their provisional row is in the store.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import psycopg

from connectors.kafka.settings import KafkaSettings
from connectors.kafka.sink import KafkaSink, Outgoing
from connectors.kafka.topics import create_topic
from connectors.message import Message
from connectors.store import Store
from connectors.wire import encode_message
from infra.flink.cluster import Cluster
from models.tagger import Tagger
from pipelines.configuration import Configuration, TagSettings
from pipelines.records import content
from tests.faults.live import servers
from tests.faults.stream import first_of_the_sample

_MINUTE = timedelta(minutes=1)


class Job:
    """A live job over a topic of its own, in the background."""

    def __init__(self, folder: Path, topic: str, database: str, settings: KafkaSettings) -> None:
        create_topic(settings, topic, 3)
        self.folder, self.topic, self.database, self.settings = folder, topic, database, settings
        where = ("--brokers", settings.brokers, "--topic", topic, "--database", database)
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
                sink.send(self.topic, Outgoing(one.id.encode(), encode_message(one)))

    def ask(self, query: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.database) as connection:
            return connection.execute(query).fetchall()  # type: ignore[call-overload,no-any-return]

    def wait_for(self, messages: int) -> None:
        while self.ask("SELECT count(*) FROM tags")[0][0] < messages:  # type: ignore[operator]
            if self._process.poll() is not None:
                raise SystemExit(f"the job has ended; see {self.folder}/live.log")
            time.sleep(0.5)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(180)
        Cluster(self.folder / ".foreshock" / "flink").kill()


def bare(messages: Sequence[Message]) -> float:
    """Texts a second of the tagger alone, in the job's batches."""
    tagger = Tagger(cache_size=TagSettings().cache)
    tagger.warm_up()
    texts = [content(one) for one in messages]
    started = time.monotonic()
    for first in range(0, len(texts), 500):
        tagger.tag(texts[first : first + 500])
    return len(texts) / (time.monotonic() - started)


def rate(job: Job, messages: int) -> float:
    """Messages a second, from the first row to the last."""
    ((first, last),) = job.ask("SELECT min(processed_at), max(processed_at) FROM tags")
    return messages / (last - first).total_seconds()  # type: ignore[operator]


def steady(job: Job, texts: Sequence[Message], per_second: float, seconds: float) -> list[float]:
    """Sends messages of now, and gives how long minutes took to be told."""
    disorder = Configuration().lateness.disorder
    started, number, told = time.monotonic(), 0, []
    closing = datetime.now(UTC).replace(second=0, microsecond=0) + _MINUTE
    passed: dict[datetime, float] = {}
    with KafkaSink(job.settings) as sink:
        while time.monotonic() - started < seconds:
            now = datetime.now(UTC)
            while number < (time.monotonic() - started) * per_second:
                one = texts[number % len(texts)]
                fresh = msgspec.structs.replace(
                    one, id=f"now:{number}", source="now", published_at=now
                )
                sink.send(job.topic, Outgoing(fresh.id.encode(), encode_message(fresh)))
                number += 1
            sink.flush()
            if now >= closing + disorder:
                passed[closing - _MINUTE] = time.monotonic()
                closing += _MINUTE
            for minute in list(passed):
                query = f"SELECT 1 FROM window_stats WHERE start = '{minute}' AND key = 'overall'"
                if job.ask(f"{query} AND seconds = 60"):
                    told.append(time.monotonic() - passed.pop(minute))
            time.sleep(0.05)
    return told


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.live")
    parser.add_argument("--messages", type=int, default=8_000)
    parser.add_argument("--seconds", type=float, default=150)
    given = parser.parse_args()
    messages = first_of_the_sample(given.messages)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        broker, server = stack.enter_context(servers(folder))
        url = f"{server.url.rpartition('/')[0]}/live"
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE live")
        Store.upgrade(url)
        before = bare(messages)
        job = Job(folder, "benchmark", url, KafkaSettings(brokers=broker.address))
        stack.callback(job.close)
        job.send(messages)
        job.wait_for(len(messages))
        reached = rate(job, len(messages))
        after = bare(messages)
        alone = statistics.mean((before, after))
        print(f"bare tagger {before:,.0f} and {after:,.0f} messages a second")
        print(f"live job    {reached:,.0f} messages a second: {reached / alone:.2f} of it")
        told = steady(job, messages, reached / 2, given.seconds)
        time.sleep(3)
        delays = [
            row[0]
            for row in job.ask(
                "SELECT extract(epoch FROM t.processed_at - m.received_at)::float FROM tags t "
                "JOIN messages m ON m.id = t.message_id WHERE m.source = 'now' "
                "AND m.published_at > (SELECT min(published_at) + interval '10 seconds' "
                "FROM messages WHERE source = 'now') ORDER BY 1"
            )
        ]
        p50, p99 = (delays[int(len(delays) * part)] for part in (0.5, 0.99))
        print(f"from record to row at {reached / 2:,.0f}/s: p50 {p50:.2f} s, p99 {p99:.2f} s")
        if told:
            print(f"from a minute's end to its row: {', '.join(f'{one:.2f} s' for one in told)}")


if __name__ == "__main__":
    main()
