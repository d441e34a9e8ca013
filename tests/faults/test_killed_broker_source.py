"""A broker killed with -9 under a live source, and started again: nothing lost, nothing twice."""

import json
import threading
import time
from typing import Any

import pytest
from apache_beam.pvalue import TaggedOutput

from connectors.kafka.intake import IntakeSettings
from connectors.kafka.progress import Progress, Stand
from connectors.kafka.settings import KafkaSettings
from connectors.lateness import LatenessSettings
from infra.kafka.broker import Broker
from pipelines.live.source import Reading
from tests.connectors.test_kafka_intake import Clock, opened, read_to, taken
from tests.pipelines.live.test_source import called, started
from tests.servers.kafka import write

DEADLINE = 120.0


def values(first: int, last: int) -> list[bytes | None]:
    numbers = range(first, last)
    rows = ({"id": str(n), "created_at": 1_400_000_000 + n, "text": "x"} for n in numbers)
    return [json.dumps(row).encode() for row in rows]


@pytest.mark.parametrize("anew", [False, True], ids=["the consumer kept", "opened anew"])
def test_the_source_waits_for_its_broker_and_goes_on(
    kafka_broker: Broker, kafka_settings: KafkaSettings, topic: str, anew: bool
) -> None:
    settings = KafkaSettings(brokers=kafka_settings.brokers, connect_seconds=0.5)
    write(kafka_settings, topic, values(0, 1000), partition=0)
    step = started(Reading(settings, topic, LatenessSettings()))
    rest: Progress | None = Progress({0: Stand(0, 1500)})
    state, found = 0, []
    deadline = time.monotonic() + DEADLINE
    while not found:
        emitted, rest, state = called(step, rest, state)
        found += offsets(emitted)
    kafka_broker.kill()
    starting = threading.Thread(target=back, args=(kafka_broker, kafka_settings, topic))
    if anew:
        step.teardown()
        emitted, rest, state = called(step, rest, state)
        assert not emitted  # it cannot be opened, and that is no error
    starting.start()
    while rest:
        assert time.monotonic() < deadline
        emitted, rest, state = called(step, rest, state)
        found += offsets(emitted)
    starting.join()
    assert found == list(range(1500))


def back(broker: Broker, settings: KafkaSettings, topic: str) -> None:
    broker.start()
    write(settings, topic, values(1000, 1500), partition=0)


def offsets(emitted: list[Any]) -> list[int]:
    """Those of the messages; what is tagged tells of the progress."""
    return [one.value.message.offset for one in emitted if not isinstance(one, TaggedOutput)]


def test_the_silence_of_a_broker_is_not_that_of_its_topic(
    kafka_broker: Broker, kafka_settings: KafkaSettings, topic: str
) -> None:
    clock = Clock()
    write(kafka_settings, topic, values(0, 10), partition=0)
    pace = IntakeSettings(idle_seconds=10, until_idle=60)
    with opened(kafka_settings, topic, pace=pace, clock=clock) as intake:
        taken(intake, read_to({0: 10}))
        kafka_broker.kill()
        try:
            clock.now += 61
            progress = intake.take(0).progress
            assert not progress.finished
            assert {one.role for one in progress.partitions.values()} == {"active"}
        finally:
            kafka_broker.start()
        clock.now += 61
        assert not intake.take(0).progress.finished  # it may only just be back
        clock.now += 61
        assert intake.take(0).progress.finished
