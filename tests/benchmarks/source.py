"""The source of a live job against bare kafka-python: `python -m tests.benchmarks.source [N]`.

Starts a broker of its own. Both read the same topic in this one process, by turns: bare is
`KafkaConsumer.poll` alone; the source is `ReadRange.process`, driven as a runner does, with its
parsing, its judging of lateness and its checkpoints.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from apache_beam.runners.sdf_utils import (
    RestrictionTrackerView,
    ThreadsafeRestrictionTracker,
    ThreadsafeWatermarkEstimator,
)
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from kafka import KafkaConsumer, TopicPartition

from connectors.kafka.places import locate
from connectors.kafka.progress import Progress, Stand
from connectors.kafka.settings import KafkaSettings
from connectors.kafka.topics import create_topic
from connectors.lateness import LatenessSettings
from infra.kafka.broker import Broker
from pipelines.live.source import Reading, ReadRange
from tests.benchmarks.kafka import TOPIC, produce

ROUNDS = 5


def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        broker = Broker(Path(folder))
        broker.start()
        try:
            settings = KafkaSettings(brokers=broker.address)
            create_topic(settings, TOPIC, 3)
            produce(settings, count)
            bare, source = [], []
            for _ in range(ROUNDS):
                bare.append(_timed(_bare, settings, count))
                source.append(_timed(_source, settings, count))
        finally:
            broker.stop()
    print(f"best of {ROUNDS} by turns")
    for name, found in (("bare kafka-python", bare), ("source", source)):
        rate, micros = count / min(found)[0], min(cpu for _, cpu in found) / count * 1e6
        print(f"{name:<20}{rate:10,.0f} messages/s{micros:8.1f} us of CPU each")
    print(f"{'ratio':<20}{min(bare)[0] / min(source)[0]:10.2f}   (goal 0.8)")


def _timed(
    read: Callable[[KafkaSettings, int], float], settings: KafkaSettings, count: int
) -> tuple[float, float]:
    """Seconds by the clock, without opening and closing, and of CPU."""
    cpu = time.process_time()
    return read(settings, count), time.process_time() - cpu


def _bare(settings: KafkaSettings, count: int) -> float:
    consumer = KafkaConsumer(bootstrap_servers=settings.addresses, enable_auto_commit=False)
    partitions = [TopicPartition(TOPIC, number) for number in range(3)]
    started = time.perf_counter()
    consumer.assign(partitions)
    consumer.seek_to_beginning()
    read = 0
    while read < count:
        read += sum(map(len, consumer.poll(timeout_ms=100).values()))
    seconds = time.perf_counter() - started
    consumer.close()
    return seconds


def _source(settings: KafkaSettings, count: int) -> float:
    spans = locate(settings, TOPIC, "earliest", "latest").spans
    rest: Progress | None = Progress({number: Stand(*span) for number, span in spans.items()})
    step = ReadRange(Reading(settings, TOPIC, LatenessSettings()), Progress({}))
    step.setup()
    state = MIN_TIMESTAMP.micros
    started = time.perf_counter()
    while rest:
        tracker = ThreadsafeRestrictionTracker(step.create_tracker(rest))
        watermark = ThreadsafeWatermarkEstimator(step.create_watermark_estimator(state))
        for _ in step.process(b"", RestrictionTrackerView(tracker), watermark):
            pass
        deferred = tracker.deferred_status()
        rest, state = deferred[0] if deferred else None, watermark.get_estimator_state()
    seconds = time.perf_counter() - started
    assert tracker.current_restriction().read == count
    step.teardown()
    return seconds


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
