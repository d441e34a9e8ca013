"""Kills the live job's parts with -9 while real tweets come in, and compares what is left.

    python -m tests.faults.live --kills 50 --seed 1        # `make faults`
    python -m tests.faults.live --kills 1 --only postgresql --away 600

Starts a broker, PostgreSQL and `foreshock live --local`, sends the sample as a bad day brings it,
and at seeded random moments of progress kills a TaskManager, the JobManager, the job server, a
Python worker, the broker, PostgreSQL, the alert process, or the whole lot. Then it replays the same
topic without a disturbance, and compares all final rows. Exits with 1 where any differs. The broker
and PostgreSQL stay away for `--away` seconds.
"""

import argparse
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg

from connectors.errors import BrokerError
from connectors.kafka.places import locate
from connectors.kafka.settings import KafkaSettings
from connectors.kafka.topics import create_topic
from connectors.store import Store
from infra.flink.cluster import Cluster
from infra.kafka.broker import Broker
from pipelines.configuration import Configuration
from pipelines.replay import replay
from pipelines.topic_range import TopicRange
from tests.end_to_end.stores import Difference, differences
from tests.faults.stream import PARTITIONS, Sent, disturbed, of_the_sample, send
from tests.servers.postgresql import Server, programs

TOPIC = "bad-day"
PARTS = ("taskmanager-1", "jobmanager", "jobserver", "worker", "alerts")
TARGETS = (*PARTS, "broker", "postgresql", "everything")

_UNTIL_IDLE = 25.0
_AHEAD = 2_000
"""Records that are sent before the job has read those before them."""

_STUCK_SECONDS = 600.0
_SHOWN = 3


class Trial:
    """One disturbed run in `folder`."""

    def __init__(
        self,
        folder: Path,
        records: Sequence[Sent],
        broker: Broker,
        server: Server,
        *,
        away_seconds: float = 2.0,
    ) -> None:
        self._away_seconds = away_seconds
        self._folder = folder
        self._records = records
        self._broker = broker
        self._server = server
        self._settings = KafkaSettings(brokers=broker.address, stall_seconds=600)
        self.live, self.replayed = self._database("live"), self._database("replayed")
        create_topic(self._settings, TOPIC, PARTITIONS)

    def run(self, targets: Sequence[str], chance: random.Random) -> dict[str, Difference]:
        """Kills `targets` in this order, and gives the differences of the tables."""
        moments = sorted(chance.uniform(0.02, 0.95) * len(self._records) for _ in targets)
        sending = threading.Thread(target=self._send, daemon=True)
        sending.start()
        self._start()
        for target, moment in zip(targets, moments, strict=True):
            self._reach(moment)
            print(f"{self.read() or 0:>7,} records read: killing {target}", flush=True)
            self._kill(target)
        self._finish()
        sending.join()
        replay(
            [TopicRange(self._settings, locate(self._settings, TOPIC, "earliest", "latest"))],
            database=self.replayed,
            configuration=Configuration(kafka=self._settings),
        )
        return differences(self.live, self.replayed)

    def read(self) -> int | None:
        """Records of which something is in the store; duplicates are known by those behind them.
        None where the store is away."""
        query = (
            'SELECT coalesce(sum(most), 0) FROM (SELECT max("offset") + 1 AS most FROM messages '
            "GROUP BY partition) AS parts"
        )
        try:
            with psycopg.connect(self.live, connect_timeout=5) as connection:
                ((count,),) = connection.execute(query).fetchall()
                return int(count)
        except psycopg.OperationalError:
            return None

    def close(self) -> None:
        """Ends what is left of it."""
        self._live.kill()
        self._cluster.kill()

    @property
    def _cluster(self) -> Cluster:
        return Cluster(self._folder / ".foreshock" / "flink")

    def _database(self, name: str) -> str:
        with psycopg.connect(self._server.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        url = f"{self._server.url.rpartition('/')[0]}/{name}"
        Store.upgrade(url)
        return url

    def _start(self) -> None:
        where = ("--brokers", self._settings.brokers, "--topic", TOPIC, "--database", self.live)
        where += ("--until-idle", str(_UNTIL_IDLE), "--json")
        with (self._folder / "live.log").open("ab") as log:
            self._live = subprocess.Popen(
                [sys.executable, "-m", "pipelines", "live", "--local", *where],
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env={**os.environ, "FORESHOCK_KAFKA__STALL_SECONDS": "600"},
                start_new_session=True,
            )

    def _send(self) -> None:
        """Never far ahead of the job, so that it is going on while parts are killed; but news does
        not wait for a store that is away."""
        for done in send(self._settings, TOPIC, self._records):
            while self._is_far(done) and self._live.poll() is None:
                time.sleep(0.2)

    def _is_far(self, sent: int) -> bool:
        read = self.read()
        return read is not None and sent - read > _AHEAD

    def _reach(self, moment: float) -> None:
        deadline = time.monotonic() + _STUCK_SECONDS
        while (self.read() or 0) < moment:
            self._check(deadline)
            time.sleep(0.2)

    def _wait_for_worker(self) -> None:
        """A job that does not find its broker when it is begun says so and ends."""
        deadline = time.monotonic() + _STUCK_SECONDS
        while not self._cluster.workers():
            self._check(deadline)
            time.sleep(0.2)

    def _finish(self) -> None:
        deadline = time.monotonic() + _STUCK_SECONDS
        while self._live.poll() is None:
            self._check(deadline)
            time.sleep(0.5)
        if self._live.returncode:
            raise SystemExit(f"`foreshock live` failed; see {self._folder}/live.log")

    def _check(self, deadline: float) -> None:
        if time.monotonic() > deadline or self._live.poll():
            raise SystemExit(f"The job is stuck, or has failed; see {self._folder}/live.log")

    def _kill(self, target: str) -> None:
        if target == "broker":
            self._broker.kill()
            time.sleep(self._away_seconds)
            self._broker.start()
        elif target == "postgresql":
            self._server.kill()
            time.sleep(self._away_seconds)
            self._server.start()
        elif target == "everything":
            self._live.kill()
            self._cluster.kill()
            self._broker.kill()
            self._server.kill()
            self._live.wait()
            self._server.start()
            self._broker.start()
            self._start()
            self._wait_for_worker()
        else:
            for pid in self._cluster.processes().get(target, []):
                os.kill(pid, signal.SIGKILL)


@contextmanager
def servers(folder: Path) -> Iterator[tuple[Broker, Server]]:
    """A broker and a PostgreSQL server that may be killed."""
    found = programs()
    if found is None:
        raise SystemExit("PostgreSQL is not installed: apt-get install postgresql")
    broker, server = Broker(folder / "kafka"), Server(found)
    with ExitStack() as stack:
        server.start()
        stack.callback(server.remove)
        broker.start()
        stack.callback(broker.stop)
        yield broker, server


def report(found: dict[str, Difference]) -> bool:
    """Prints the reconciliation; True where nothing differs."""
    print(f"{'table':<16} {'replay':>9} {'only live':>10} {'only replay':>12}")
    for table, difference in found.items():
        alone = f"{len(difference.live):>10,} {len(difference.replay):>12,}"
        print(f"{table:<16} {difference.rows:>9,} {alone}")
    for table, difference in found.items():
        for which in ("live", "replay"):
            for row in getattr(difference, which)[:_SHOWN]:
                print(f"{table}, only {which}: {row}")
    return not any(found.values())


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.live")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--only", choices=TARGETS, help="what is killed; default: any of them")
    parser.add_argument("--away", type=float, default=2.0, help="seconds")
    parser.add_argument("--keep", type=Path, help="folder for logs; default: one that is removed")
    given = parser.parse_args()
    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # it tells of each lost connection
    chance = random.Random(given.seed)
    targets = [given.only or chance.choice(TARGETS) for _ in range(given.kills)]
    with ExitStack() as stack:
        folder = given.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        broker, server = stack.enter_context(servers(folder))
        records = disturbed(of_the_sample(given.messages), given.seed)
        trial = Trial(folder, records, broker, server, away_seconds=given.away)
        stack.callback(trial.close)
        equal = report(trial.run(targets, chance))
    print(f"{given.kills} kills, {len(records):,} records: {'equal' if equal else 'DIFFERENT'}")
    return 0 if equal else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokerError as error:
        sys.exit(str(error))
