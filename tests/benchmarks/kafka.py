"""How fast messages go into Kafka and come out again: `python -m tests.benchmarks.kafka [N]`.

Starts a broker of its own. Both sides run in this one process, one after the other.
"""

import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from connectors.kafka.places import locate
from connectors.kafka.reader import TopicReader
from connectors.kafka.records import RecordParser
from connectors.kafka.settings import KafkaSettings
from connectors.kafka.sink import KafkaSink, Outgoing
from connectors.kafka.topics import create_topic
from connectors.message import Message
from connectors.wire import encode_message
from infra.kafka.broker import Broker

TOPIC = "benchmark"


def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        broker = Broker(Path(folder))
        broker.start()
        try:
            settings = KafkaSettings(brokers=broker.address)
            create_topic(settings, TOPIC, 3)
            _print("produced, acks=all, idempotent", count, produce(settings, count))
            _print("read, record by record", count, _read(settings, None))
            _print("read and parsed", count, _read(settings, RecordParser(TOPIC)))
        finally:
            broker.stop()


def produce(settings: KafkaSettings, count: int) -> float:
    at = datetime(2024, 1, 2, tzinfo=UTC)
    started = time.perf_counter()
    with KafkaSink(settings) as sink:
        for number in range(count):
            message = Message(id=f"a:{number}", source="a", published_at=at, text="x" * 120)
            sink.send(TOPIC, Outgoing(message.id.encode(), encode_message(message)))
    return time.perf_counter() - started


def _read(settings: KafkaSettings, parser: RecordParser | None) -> float:
    spans = locate(settings, TOPIC, "earliest", "latest").spans
    started = time.perf_counter()
    with TopicReader(settings, TOPIC, spans) as reader:
        for record in reader:
            if parser:
                parser.parse(record)
    return time.perf_counter() - started


def _print(what: str, count: int, seconds: float) -> None:
    print(f"{what:<32}{count / seconds:10,.0f} messages/s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
