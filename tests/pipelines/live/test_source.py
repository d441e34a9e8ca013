"""The source of a live job against a real broker: every message once, from wherever it goes on."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from connectors.kafka.intake import IntakeSettings
from connectors.kafka.settings import KafkaSettings
from connectors.lateness import LatenessSettings
from pipelines.live.source import DEAD_LETTERS, LATE, MESSAGES, Reading, ReadTopic
from tests.servers.kafka import write

START = datetime(2014, 1, 30, tzinfo=UTC)
LATENESS = LatenessSettings(disorder_seconds=10, allowed_seconds=60)


def value(name: str, second: float) -> bytes:
    at = START + timedelta(seconds=second)
    return json.dumps({"id": name, "created_at": at.isoformat(), "text": f"news {name}"}).encode()


def test_messages_late_ones_and_dead_letters_come_out_apart_with_their_event_times(
    kafka_settings: KafkaSettings, topic: str
) -> None:
    write(kafka_settings, topic, [value(f"a{n}", n) for n in range(3000)], partition=0)
    write(kafka_settings, topic, [value("b0", 500), b"{broken", value("b1", 100)], partition=2)
    gathered: dict[str, list[Any]] = {MESSAGES: [], LATE: [], DEAD_LETTERS: []}
    _collected.append(gathered)
    reading = Reading(kafka_settings, topic, LATENESS, pace=IntakeSettings(until_idle=0.5))
    with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([])) as pipeline:
        found = pipeline | "Source" >> ReadTopic(reading)
        for name in gathered:
            _ = found[name] | name >> beam.ParDo(Gather(name))
    assert len({message.id for message, _ in gathered[MESSAGES]}) == len(gathered[MESSAGES]) == 3001
    assert all(at == message.published_at.timestamp() for message, at in gathered[MESSAGES])
    ((late, _),) = gathered[LATE]
    assert (late.message.id, late.reason) == (f"{topic}:b1", "late")
    assert late.frontier == START + timedelta(seconds=500 - 70)
    ((letter, _),) = gathered[DEAD_LETTERS]
    assert (letter.payload, letter.partition, letter.offset) == (b"{broken", 2, 1)


_collected: list[dict[str, list[Any]]] = []


class Gather(beam.DoFn):
    def __init__(self, name: str) -> None:
        self._name = name

    def process(self, element: Any, at: Any = beam.DoFn.TimestampParam) -> None:
        _collected[-1][self._name].append((element, at))
