"""What many tests share: small histories, a real PostgreSQL, a real Kafka."""

import gzip
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from connectors.kafka.settings import KafkaSettings
from connectors.kafka.topics import create_topic
from connectors.store import Store
from infra.flink import cluster as flink_processes
from infra.kafka.broker import Broker, missing
from pipelines.sample import SAMPLE
from tests.servers import flink, kafka, postgresql

MESSAGES = 1200
TWICE = 40


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """JSON Lines, not in order of time: `MESSAGES` different tweets, `TWICE` of them repeated."""
    with gzip.open(SAMPLE, "rt", encoding="utf-8") as lines:
        first = [next(lines) for _ in range(MESSAGES)]
    path = tmp_path_factory.mktemp("history") / "history.jsonl"
    path.write_text("".join(reversed(first)) + "".join(first[:TWICE]), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def surge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five quiet weeks of one company, then forty different negative messages within the hour."""
    path = tmp_path_factory.mktemp("surge") / "surge.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in _surge()), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The address of a PostgreSQL server's maintenance database."""
    programs = postgresql.programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed")
    with postgresql.running(programs) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty store, ready to be opened: once of SQLite, once of PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/either.db"
    url: str = request.getfixturevalue("postgresql_url")
    Store.upgrade(url)
    return url


_database_numbers = itertools.count(1)


@pytest.fixture
def postgresql_url(postgresql_server: str) -> str:
    """The address of an empty database."""
    name = f"foreshock_{next(_database_numbers)}"
    with psycopg.connect(postgresql_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{postgresql_server.rpartition('/')[0]}/{name}"


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A Kafka broker; a test that kills it starts it again."""
    if reason := missing():
        pytest.skip(reason)
    with kafka.running(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker


@pytest.fixture
def kafka_settings(kafka_broker: Broker) -> KafkaSettings:
    """Settings under which everything is allowed."""
    return KafkaSettings(brokers=kafka_broker.address, stall_seconds=60)


_topic_numbers = itertools.count(1)


@pytest.fixture
def topic(kafka_settings: KafkaSettings) -> str:
    """An empty topic of three partitions."""
    name = f"topic-{next(_topic_numbers)}"
    create_topic(kafka_settings, name, 3)
    return name


@pytest.fixture(scope="session")
def flink_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[flink_processes.Cluster]:
    """A Flink cluster; a test that kills parts of it starts them again."""
    if reason := flink_processes.missing():
        pytest.skip(reason)
    with flink.running(tmp_path_factory.mktemp("flink")) as cluster:
        yield cluster


_FIRMS = ("Boeing", "Pfizer", "Walmart", "Intel")
_PLAIN = (
    "{firm} to present at an investor conference in {city}",
    "{firm} names the venue of its annual meeting: {city}",
    "{firm} opens an office in {city}",
)
_CITIES = ("Boston", "Denver", "Chicago", "Austin", "Dallas", "Seattle", "Miami", "Phoenix")
_BAD = (
    "$BA Boeing shares plunge {n}% as regulators ground the fleet over safety fears in {city}",
    "$BA Boeing cuts its outlook after a {n} million loss, analysts in {city} slash targets",
    "$BA lawsuit: {city} pension fund sues Boeing over fraud, {n} million in damages",
    "$BA Boeing misses estimates badly, stock falls {n}% says {city} desk",
)


def _surge() -> list[dict[str, str]]:
    rows = []
    for hour in range(5 * 7 * 24):
        firm, city = _FIRMS[hour % 4], _CITIES[hour % 8]
        text = _PLAIN[hour % 3].format(firm=firm, city=city) + f", notice {hour}"
        rows.append(_row(f"plain{hour}", 1 + hour // 24, hour % 24, hour % 60, text))
    for n in range(40):
        text = _BAD[n % 4].format(n=n + 3, city=_CITIES[n % 8]) + f" #{n * 7919}"
        rows.append(_row(f"bad{n}", 36, 15, n, text))
    rows.append(_row("after", 37, 9, 0, "Intel opens an office in Lisbon"))
    return rows


def _row(name: str, day: int, hour: int, minute: int, text: str) -> dict[str, str]:
    month, day = (3, day) if day <= 31 else (4, day - 31)
    when = f"2014-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:00Z"
    return {"id": name, "created_at": when, "text": text}
