"""The source of a live job against a real broker: every message once, from wherever it goes on."""

import json
import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.coders.typecoders import registry
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import TaggedOutput
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.runners.sdf_utils import (
    RestrictionTrackerView,
    ThreadsafeRestrictionTracker,
    ThreadsafeWatermarkEstimator,
)
from apache_beam.utils.timestamp import MIN_TIMESTAMP

from connectors.dead_letter import DeadLetter
from connectors.errors import BrokerError
from connectors.kafka import reader
from connectors.kafka.client import open_consumer
from connectors.kafka.intake import IntakeSettings
from connectors.kafka.places import Offsets
from connectors.kafka.progress import Progress, Stand
from connectors.kafka.settings import KafkaSettings
from connectors.lateness import LatenessSettings
from pipelines.coders import StructCoder
from pipelines.live import source
from pipelines.live.source import (
    ARRIVALS,
    DEAD_LETTERS,
    ProgressTracker,
    Reading,
    ReadRange,
    ReadTopic,
    RisingWatermark,
)
from pipelines.records import Arrival
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
    pace = IntakeSettings(until_idle=0.5)
    gathered = gather(ReadTopic(Reading(kafka_settings, topic, LATENESS, pace=pace)))
    assert len({one.message.id for one, _ in gathered[ARRIVALS]}) == len(gathered[ARRIVALS]) == 3002
    assert all(at == one.message.published_at.timestamp() for one, at in gathered[ARRIVALS])
    (late,) = [one for one, _ in gathered[ARRIVALS] if one.frontier]
    assert (late.message.id, late.reason) == (f"{topic}:b1", "late")
    assert late.frontier == START + timedelta(seconds=500 - 70)
    ((letter, _),) = gathered[DEAD_LETTERS]
    assert (letter.payload, letter.partition, letter.offset) == (b"{broken", 2, 1)


def test_killed_after_any_call_it_goes_on_exactly(
    kafka_settings: KafkaSettings, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "_RECORDS_AT_ONCE", 40)
    monkeypatch.setattr(source, "_AT_A_TIME", 0.0)
    write(kafka_settings, topic, [value(f"a{n}", n) for n in range(200)], partition=0)
    write(kafka_settings, topic, [value(f"b{n}", n) for n in range(9)], partition=2)
    reading = Reading(kafka_settings, topic, LATENESS)
    rest: Progress | None = Progress({0: Stand(0, 200), 2: Stand(0, 9)})
    state = MIN_TIMESTAMP.micros
    found: list[str] = []
    kills = 0
    step = started(reading)
    while rest:
        before = state
        given, rest, state = called(step, rest, state)
        emitted = [one for one in given if not isinstance(one, TaggedOutput)]
        assert state >= before
        found += [one.value.message.id for one in emitted]
        if emitted:  # another worker has it now
            kills += 1
            step.teardown()
            step = started(reading)
    assert kills > 5
    assert sorted(found) == sorted(
        [f"{topic}:a{n}" for n in range(200)] + [f"{topic}:b{n}" for n in range(9)]
    )


def test_a_split_by_the_runner_gives_the_rest_away_behind_what_was_claimed(
    kafka_settings: KafkaSettings, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "_RECORDS_AT_ONCE", 5)
    monkeypatch.setattr(source, "_AT_A_TIME", 30.0)
    write(kafka_settings, topic, [value(f"a{n}", n) for n in range(12)], partition=0)
    step = started(Reading(kafka_settings, topic, LATENESS))
    tracker = ThreadsafeRestrictionTracker(ProgressTracker(Progress({0: Stand(0, 12)})))
    watermark = ThreadsafeWatermarkEstimator(RisingWatermark(MIN_TIMESTAMP.micros))
    emitting = step.process(b"", RestrictionTrackerView(tracker), watermark)
    first = next(emitting)
    assert tracker.try_split(0.5) is None
    done, rest = tracker.try_split(0)
    assert done.finished
    emitted = [first, *(one for one in emitting if not isinstance(one, TaggedOutput))]
    assert [one.value.message.offset for one in emitted] == list(range(rest.partitions[0].offset))
    assert tracker.check_done()
    assert tracker.try_split(0) is None
    begun = source.ReadRange(Reading(kafka_settings, topic, LATENESS), rest)
    assert begun.restriction_size(b"", rest) == 12 - len(emitted)


def test_unfinished_work_that_nobody_took_over_is_an_error() -> None:
    with pytest.raises(ValueError, match="not read to its end"):
        ProgressTracker(Progress({0: Stand(3, 5)})).check_done()


def test_between_two_places_it_is_a_bounded_source_and_opens_one_consumer(
    kafka_settings: KafkaSettings, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "_AT_A_TIME", 0.0)
    opened: list[Any] = []
    monkeypatch.setattr(
        reader,
        "open_consumer",
        lambda *given, **more: opened.append(given) or open_consumer(*given, **more),
    )
    write(kafka_settings, topic, [value(f"a{n}", n) for n in range(1500)], partition=0)
    read = ReadTopic(
        Reading(kafka_settings, topic, LATENESS), Offsets({0: 10, 1: 0}), Offsets({0: 1210, 1: 0})
    )
    gathered = gather(read)
    assert [one.message.offset for one, _ in gathered[ARRIVALS]] == list(range(10, 1210))
    assert len(opened) == 1


def test_a_missing_topic_is_said_where_the_graph_is_built(kafka_settings: KafkaSettings) -> None:
    with pytest.raises(BrokerError, match="has no topic 'nowhere'"):
        gather(ReadTopic(Reading(kafka_settings, "nowhere", LATENESS)))


def test_types_of_all_outputs_are_known_so_that_none_is_pickled(
    kafka_settings: KafkaSettings, topic: str
) -> None:
    reading = Reading(kafka_settings, topic, LATENESS)
    found = beam.Pipeline(options=PipelineOptions([])) | ReadTopic(reading)
    kinds = {ARRIVALS: Arrival, DEAD_LETTERS: DeadLetter}
    for name, kind in kinds.items():
        assert found[name].element_type is kind
        assert isinstance(registry.get_coder(kind), StructCoder)
    assert not found[ARRIVALS].is_bounded


def authors() -> bytes:
    return b"known to the workers"


def test_the_key_of_the_authors_does_not_travel_in_the_graph(
    kafka_settings: KafkaSettings, topic: str
) -> None:
    reading = Reading(kafka_settings, topic, LATENESS, author_key=authors)
    assert authors() not in pickle.dumps(ReadRange(reading, Progress({0: Stand(0)})))
    row = {"id": "1", "created_at": 1_400_000_000, "text": "news", "author": "ann"}
    write(kafka_settings, topic, [json.dumps(row).encode()], partition=0)
    gathered = gather(ReadTopic(reading, end="latest"))
    assert gathered[ARRIVALS][0][0].message.author_hash


def started(reading: Reading) -> ReadRange:
    step = ReadRange(reading, Progress({}))
    step.setup()
    return step


def called(
    step: ReadRange, progress: Progress, state: int
) -> tuple[list[Any], Progress | None, int]:
    """One call as a runner makes it: what it emitted, and what is left, through their coders."""
    coder = step.restriction_coder()
    progress = coder.decode(coder.encode(progress))
    tracker = ThreadsafeRestrictionTracker(step.create_tracker(progress))
    watermark = ThreadsafeWatermarkEstimator(step.create_watermark_estimator(state))
    emitted = list(step.process(b"", RestrictionTrackerView(tracker), watermark))
    assert tracker.check_done()
    deferred = tracker.deferred_status()
    return emitted, deferred[0] if deferred else None, watermark.get_estimator_state()


def gather(read: ReadTopic) -> dict[str, list[Any]]:
    """Output -> its elements with their timestamps."""
    _collected.append({ARRIVALS: [], DEAD_LETTERS: []})
    with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([])) as pipeline:
        found = pipeline | "Source" >> read
        for name in _collected[-1]:
            _ = found[name] | name >> beam.ParDo(Gather(name))
    return _collected.pop()


_collected: list[dict[str, list[Any]]] = []


class Gather(beam.DoFn):
    def __init__(self, name: str) -> None:
        self._name = name

    def process(self, element: Any, at: Any = beam.DoFn.TimestampParam) -> None:
        _collected[-1][self._name].append((element, at))
