"""A Kafka broker for a run of the tests, and what tests write and read with it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from connectors.kafka.batches import KafkaRecord
from connectors.kafka.client import open_producer
from connectors.kafka.places import locate
from connectors.kafka.reader import Span, TopicReader
from connectors.kafka.settings import KafkaSettings
from infra.kafka.broker import Broker, Security

USER, PASSWORD = "alice", "correct-horse-battery"
STRANGER, STRANGERS_PASSWORD = "mallory", "not-for-mallory"


@contextmanager
def running(folder: Path) -> Iterator[Broker]:
    """A broker with a plain, a SASL and a TLS listener; only the plain one may do anything."""
    broker = Broker(folder, security=Security({USER: PASSWORD, STRANGER: STRANGERS_PASSWORD}))
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


def write(
    settings: KafkaSettings,
    topic: str,
    values: list[bytes | None],
    *,
    partition: int = 0,
    key: bytes | None = None,
    timestamp_ms: int | None = None,
) -> None:
    """Writes values as they are, each confirmed."""
    producer = open_producer(settings, max_request_size=1 << 26)
    sent = [
        producer.send(topic, value, key=key, partition=partition, timestamp_ms=timestamp_ms)
        for value in values
    ]
    for one in sent:
        one.get(timeout=30)
    producer.close()


def read(settings: KafkaSettings, topic: str) -> list[KafkaRecord]:
    """All that a topic holds now."""
    spans: dict[int, Span] = locate(settings, topic, "earliest", "latest").spans
    with TopicReader(settings, topic, spans) as reader:
        return list(reader)
