"""Each message once, in whatever order and at whatever speed its copies come."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.coders import TupleCoder, VarIntCoder
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.testing.test_stream import TestStream
from sqlalchemy import select

from connectors.lateness import LATE, LateMessage
from connectors.message import Message
from connectors.store import Store
from connectors.store.schema import late_messages
from pipelines.coders import StructCoder
from pipelines.live import deduplicating
from pipelines.live.deduplicating import FRESH, DeduplicateArrivals
from pipelines.live.deduplicating import LATE as LATE_ONES
from pipelines.live.memory import Memory
from pipelines.live.storing import StoreLate, write_tagged
from pipelines.records import Arrival
from tests.pipelines.live.test_watch import Forgets
from tests.pipelines.live.test_watching import message
from tests.pipelines.test_slices import START

HORIZON_HOURS = 24
DAY = timedelta(days=1)


@pytest.fixture(params=["remembers", "forgets"])
def process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Memory, "_process", Forgets() if request.param == "forgets" else {})


def arrival(name: str, at: datetime, watermark: datetime) -> Arrival:
    return Arrival(Message(id=name, source="x", published_at=at, text=name), watermark=watermark)


class Keep(beam.DoFn):
    def __init__(self, path: Path) -> None:
        self._path = path

    def process(self, message: Message) -> None:
        with self._path.open("a") as lines:
            lines.write(f"{message.id}\n")


def first_ones(bundles: Iterable[list[Arrival]], path: Path) -> list[str]:
    """The ids that pass, in order."""
    stream = TestStream(coder=TupleCoder((VarIntCoder(), StructCoder(Arrival))))
    for bundle in bundles:
        stream = stream.add_elements([(7, one) for one in bundle])
    options = PipelineOptions([])
    options.view_as(StandardOptions).streaming = True
    with beam.Pipeline(runner=BundleBasedDirectRunner(), options=options) as pipeline:
        found: Any = (
            pipeline
            | stream.advance_watermark_to_infinity()
            | "Keys" >> beam.Map(lambda pair: pair).with_output_types(tuple[int, Arrival])
            | beam.ParDo(DeduplicateArrivals("job", HORIZON_HOURS))
            .with_output_types(Message, **{LATE_ONES: LateMessage})
            .with_outputs(LATE_ONES, main=FRESH)
        )
        _ = found[FRESH] | "Keep" >> beam.ParDo(Keep(path))
    return path.read_text().split()


@pytest.mark.usefixtures("process")
def test_a_copy_is_known_though_the_watermark_has_leapt_by_weeks(tmp_path: Path) -> None:
    """History is read as fast as it goes: one poll may bring all of it."""
    far = START + 30 * DAY
    bundle = [arrival("a", START, far), arrival("b", far, far), arrival("a", START, far)]
    assert first_ones([bundle, bundle], tmp_path / "ids") == ["a", "b"]


@pytest.mark.usefixtures("process")
def test_what_is_beyond_the_horizon_is_forgotten_but_not_what_came_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deduplicating, "_ALWAYS", 5)
    days = [arrival(str(day), START + day * DAY, START + day * DAY) for day in range(40)]
    copies = [arrival(str(day), START + day * DAY, START + 39 * DAY) for day in (0, 38, 36)]
    ids = first_ones([[one] for one in [*days, *copies]], tmp_path / "ids")
    assert ids == [*map(str, range(40)), "0"]


def test_a_late_copy_from_beyond_the_horizon_is_no_late_message(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/live.db"
    on_time, late = message(1, 0), message(2, 0)
    with Store.open(database) as store:
        with store.transaction() as tx:
            write_tagged(tx, [on_time], START)
        step = StoreLate(database, "run")
        frontier = START + DAY
        copy = LateMessage(on_time.message, frontier, LATE)
        assert list(step.process(copy)) == []
        new = LateMessage(late.message, frontier, LATE)
        assert list(step.process(new)) == [late.message]
        with store.transaction() as tx:
            write_tagged(tx, [late], START)
        assert list(step.process(new)) == [late.message], "after a kill it is stored once more"
        listed = [row["message_id"] for row in store.rows(select(late_messages))]
    assert listed == [late.message.id]
