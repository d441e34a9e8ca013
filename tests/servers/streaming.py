"""A small stateful streaming graph: numbers that come with time, counted by key, into files."""

import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.coders import VarIntCoder
from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.transforms.core import RestrictionProvider
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.transforms.window import GlobalWindow, TimestampedValue
from apache_beam.utils.timestamp import Duration, Timestamp

KEYS = 7
_STEP_SECONDS = 0.1


class _Numbers(RestrictionProvider):
    def initial_restriction(self, element: int) -> OffsetRange:
        return OffsetRange(0, element)

    def create_tracker(self, restriction: OffsetRange) -> OffsetRestrictionTracker:
        return OffsetRestrictionTracker(restriction)

    def restriction_size(self, element: int, restriction: OffsetRange) -> int:
        return restriction.size()

    def truncate(self, element: int, restriction: OffsetRange) -> None:
        return None


_NUMBERS = _Numbers()
_WATERMARK = ManualWatermarkEstimator.default_provider()


class Count(beam.DoFn):
    """0, 1, 2 … up to the element, `rate` of them a second; number n has the event time n."""

    def __init__(self, rate: int) -> None:
        self._at_once = max(1, round(rate * _STEP_SECONDS))

    @beam.DoFn.unbounded_per_element()
    def process(
        self,
        element: int,
        tracker: Any = beam.DoFn.RestrictionParam(_NUMBERS),
        watermark: Any = beam.DoFn.WatermarkEstimatorParam(_WATERMARK),
    ) -> Iterator[Any]:
        number = tracker.current_restriction().start
        for claimed in range(number, number + self._at_once):
            if not tracker.try_claim(claimed):
                return
            yield TimestampedValue((claimed % KEYS, claimed), claimed)
            watermark.set_watermark(Timestamp(claimed))
        tracker.defer_remainder(Duration(seconds=_STEP_SECONDS))


class CountByKey(beam.DoFn):
    """(key, number) -> (number, how many of its key so far); at the end (-1 - key, how many)."""

    SEEN = ReadModifyWriteStateSpec("seen", VarIntCoder())
    END = TimerSpec("end", TimeDomain.WATERMARK)

    def process(
        self,
        element: tuple[int, int],
        seen: Any = beam.DoFn.StateParam(SEEN),
        end: Any = beam.DoFn.TimerParam(END),
    ) -> Iterator[tuple[int, int]]:
        count = (seen.read() or 0) + 1
        seen.write(count)
        if count == 1:
            end.set(GlobalWindow().max_timestamp())
        yield element[1], count

    @on_timer(END)
    def end(
        self, key: Any = beam.DoFn.KeyParam, seen: Any = beam.DoFn.StateParam(SEEN)
    ) -> Iterator[tuple[int, int]]:
        yield -1 - key, seen.read() or 0


class Append(beam.DoFn):
    """Writes each result as a line, at least once, into a file of this process."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def process(self, element: tuple[int, int]) -> None:
        path = Path(self._folder, f"{os.getpid()}.jsonl")
        with path.open("a") as lines:
            lines.write(json.dumps(element) + "\n")


def build(
    pipeline: beam.Pipeline, folder: Path, numbers: int, rate: int, last_label: str = "Append"
) -> None:
    """`numbers` at `rate` a second, counted by key in Beam's state, written to `folder`."""
    _ = (
        pipeline
        | "Start" >> beam.Create([numbers])
        | "Count" >> beam.ParDo(Count(rate)).with_output_types(tuple[int, int])
        | "Count by key" >> beam.ParDo(CountByKey())
        | last_label >> beam.ParDo(Append(str(folder)))
    )


def results(folder: Path) -> Counter[tuple[int, int]]:
    """Each result that was written, and how often."""
    found: Counter[tuple[int, int]] = Counter()
    for path in folder.glob("*.jsonl"):
        whole = path.read_text().rpartition("\n")[0]
        found.update(tuple(json.loads(line)) for line in whole.splitlines())
    return found


def expected(numbers: int) -> set[tuple[int, int]]:
    """What is written where nothing was lost and nothing counted twice."""
    totals = {(-1 - key, len(range(key, numbers, KEYS))) for key in range(KEYS)}
    return {(number, number // KEYS + 1) for number in range(numbers)} | totals


def reaches(folder: Path, number: int, deadline_seconds: float = 60) -> None:
    """Waits until `number` or a later one is written."""
    deadline = time.monotonic() + deadline_seconds
    while not any(written >= number for written, _ in results(folder)):
        assert time.monotonic() < deadline, f"{number} was never written"
        time.sleep(0.05)
