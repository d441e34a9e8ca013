"""Watching in Beam's keyed state: the rows of a replay, whether the process remembers or must read
its state back, early ones before, and each straggler where it belongs."""

import random
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import apache_beam as beam
import msgspec
import pytest
from apache_beam.coders import BytesCoder, TupleCoder
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.testing.test_stream import TestStream
from apache_beam.utils.timestamp import Timestamp
from sqlalchemy import select

from alerting.windows import WindowStats
from connectors.dead_letter import DeadLetter
from connectors.kafka.settings import TopicNames
from connectors.lateness import LatenessSettings
from connectors.store import Store
from connectors.store.schema import late_messages, spikes, window_stats
from pipelines.coders import StructCoder
from pipelines.configuration import Configuration
from pipelines.graph import RunContext
from pipelines.live.memory import Memory
from pipelines.live.watch import BEHIND, WatchLive
from pipelines.outgoing import Addressed, Publisher
from pipelines.records import Tagged, micros
from pipelines.rows import write_found
from pipelines.watch import END
from tests.pipelines.live.test_watching import ALLOWED, message
from tests.pipelines.test_slices import START

CONFIGURATION = Configuration(lateness=LatenessSettings(allowed_seconds=ALLOWED.total_seconds()))
CONTEXT = RunContext(CONFIGURATION, "c", "m")


class Forgets(dict[Any, Any]):
    """Holds nothing: every bundle begins in a process that has just started."""

    def __setitem__(self, key: Any, value: Any) -> None: ...


@pytest.fixture(params=["remembers", "forgets"])
def process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Memory, "_process", Forgets() if request.param == "forgets" else {})


def watch(database: str, stream: TestStream, publisher: Publisher | None = None) -> None:
    options = PipelineOptions([])
    options.view_as(StandardOptions).streaming = True
    with beam.Pipeline(runner=BundleBasedDirectRunner(), options=options) as pipeline:
        _ = (
            pipeline
            | stream
            | "Keys" >> beam.Map(lambda pair: pair).with_output_types(tuple[bytes, Tagged])
            | beam.ParDo(WatchLive(CONTEXT, database, "run", publisher or Publisher(None)))
        )


def stream_of(parts: list[tuple[list[Tagged], datetime]]) -> TestStream:
    """Messages, and the watermark after them."""
    stream = TestStream(coder=TupleCoder((BytesCoder(), StructCoder(Tagged))))
    reached = START
    for messages, watermark in parts:
        reached = max(watermark, reached + timedelta(milliseconds=1))
        stream = stream.add_elements(
            [
                beam.window.TimestampedValue(
                    (b"", one), Timestamp(micros=micros(one.message.published_at))
                )
                for one in messages
            ]
        ).advance_watermark_to(Timestamp(micros=micros(reached)))
    return stream.advance_watermark_to_infinity()


def rows(database: str, table: Any) -> list[dict[str, Any]]:
    with Store.open(database) as store:
        return sorted(store.rows(select(table)), key=repr)


def in_order(database: str, messages: list[Tagged]) -> None:
    """What a replay leaves."""
    whole = sorted(messages, key=lambda one: (one.message.published_at, one.message.id))
    with Store.open(database) as store, store.transaction() as tx:
        write_found(tx, CONTEXT.watcher().step(whole, END), "run")


def surge() -> Iterator[Tagged]:
    """Quiet days, then a burst."""
    number = 0
    for hour in range(0, 24 * 4, 3):
        yield message(number := number + 1, 3600 * hour, text=2, sentiment=1)
    for minute in range(30):
        for _ in range(3):
            seconds = 3600 * 24 * 4 + 60 * minute + number % 50
            yield message(number := number + 1, seconds, text=3)


@pytest.mark.usefixtures("process")
def test_rows_are_those_of_a_replay(tmp_path: Path) -> None:
    live, replay = f"sqlite:///{tmp_path}/live.db", f"sqlite:///{tmp_path}/replay.db"
    messages = list(surge())
    disordered = sorted(
        messages,
        key=lambda one: (
            one.message.published_at + random.Random(one.message.id).random() * timedelta(minutes=4)
        ),
    )
    parts, newest = [], START
    for first in range(0, len(disordered), 7):
        held = disordered[first : first + 7]
        newest = max(newest, *(one.message.published_at for one in held))
        parts.append((held, newest - timedelta(seconds=10)))
    watch(live, stream_of(parts))
    in_order(replay, messages)
    assert rows(replay, spikes)
    assert rows(live, spikes) == rows(replay, spikes)
    assert rows(live, window_stats) == rows(replay, window_stats)
    assert not rows(live, late_messages)


class Listens(Publisher):
    """Keeps what would go to Kafka, in the order in which it would."""

    heard: ClassVar[list[WindowStats]] = []

    def publish(self, records: Callable[[TopicNames], Iterable[Addressed]]) -> list[DeadLetter]:
        names = TopicNames()
        self.heard.extend(
            msgspec.json.decode(record.value, type=WindowStats)
            for topic, record in records(names)
            if topic == names.buckets
        )
        return []


@pytest.mark.usefixtures("process")
def test_rows_are_told_early_and_then_for_good(tmp_path: Path) -> None:
    Listens.heard.clear()
    stream = stream_of(
        [
            ([message(1, 10), message(2, 50)], START + timedelta(seconds=61)),
            ([message(3, 130)], START + timedelta(minutes=3)),
        ]
    )
    watch(f"sqlite:///{tmp_path}/live.db", stream, Listens(None))
    told = [(one.start, one.messages, one.final) for one in Listens.heard if one.key == "overall"]
    early = [(START, 2, False), (START + timedelta(minutes=2), 1, False)]
    final = [(START, 2, True), (START + timedelta(minutes=2), 1, True), (START, 3, True)]
    assert list(dict.fromkeys(told)) == early + final  # who forgets says the early ones again


@pytest.mark.usefixtures("process")
def test_a_message_of_a_final_minute_is_listed(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/live.db"
    watch(
        database,
        stream_of(
            [
                ([message(1, 10)], START + timedelta(minutes=20)),
                ([message(2, 30)], START + timedelta(minutes=21)),
            ]
        ),
    )
    (late,) = rows(database, late_messages)
    assert (late["message_id"], late["reason"]) == ("test:2", BEHIND)
    (overall,) = [
        row
        for row in rows(database, window_stats)
        if row["key"] == "overall" and row["seconds"] == 60
    ]
    assert overall["messages"] == 1
