"""Kafka as the source of a live job: a splittable DoFn over all partitions of a topic.

What is read, and how far, is decided by `connectors.kafka.intake`; here it meets Beam. The
restriction is a `Progress`, so a checkpoint holds offsets and event times together, and what was
emitted before one is never read again after it.
"""

import logging
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import apache_beam as beam
import msgspec
from apache_beam.coders import Coder, VarIntCoder
from apache_beam.coders.typecoders import registry
from apache_beam.io.iobase import RestrictionProgress, RestrictionTracker, WatermarkEstimator
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.core import RestrictionProvider, WatermarkEstimatorProvider
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import MIN_TIMESTAMP, Duration, Timestamp
from apache_beam.utils.windowed_value import create

import pipelines.coders  # noqa: F401 (registers the coders of what comes out)
from connectors.dead_letter import DeadLetter
from connectors.errors import BrokerAway
from connectors.kafka.intake import Intake, IntakeSettings
from connectors.kafka.places import Place, locate
from connectors.kafka.progress import Progress, Stand, decode_progress, encode_progress
from connectors.kafka.settings import KafkaSettings
from connectors.lateness import Item, LatenessSettings
from connectors.message import Message
from pipelines.metrics.instruments import metrics
from pipelines.records import Arrival, micros
from pipelines.sources import Parsing
from pipelines.telemetry import journey
from pipelines.topic_range import record_parser

ARRIVALS = "arrivals"
DEAD_LETTERS = "dead_letters"
PROGRESS = "progress"

_TOLD_SECONDS = 1.0
"""Between two tellings of the progress."""

_AT_A_TIME = 0.1
"""Seconds in one call: what came travels on when it ends."""

_LONGEST_WAIT = 30.0
_WINDOWS = (GlobalWindow(),)

_log = logging.getLogger(__name__)


class Reading(msgspec.Struct, frozen=True):
    """What is read, and how. `author_key` is called in the workers, so that no key travels in the
    graph: a function of a module."""

    settings: KafkaSettings
    topic: str
    lateness: LatenessSettings
    parsing: Parsing = Parsing()
    author_key: Callable[[], bytes | None] | None = None
    pace: IntakeSettings = IntakeSettings()


class ReadTopic(beam.PTransform[Any, Any]):
    """A topic -> `Arrival` under "arrivals", `DeadLetter` under "dead_letters", and now and then
    `Progress` under "progress", behind what came before it; the timestamp of a message is its event
    time. Late or not, messages travel together: between two collections there is no order, and of
    two copies the first must win.

    The places are found when the graph is built, where a missing topic raises BrokerError. Without
    an `end` it goes on for ever, or until `pace.until_idle`, and finds new partitions; those that a
    start by Offsets does not name are such. Each worker reads passwords and keys for itself.
    """

    def __init__(self, reading: Reading, start: Place = "earliest", end: Place | None = None):
        super().__init__()
        self._reading, self._start, self._end = reading, start, end

    def expand(self, begin: Any) -> Any:
        reading = self._reading
        parser = record_parser(reading.topic, reading.parsing, None)
        spans = locate(
            reading.settings, reading.topic, self._start, self._end or "latest", parser
        ).spans
        stands = {
            number: Stand(span.start, span.end if self._end else None)
            for number, span in spans.items()
        }
        read = (ReadRange if self._end else ReadOn)(self._reading, Progress(stands))
        return (
            begin
            | "Once" >> beam.Impulse()
            | "Read"
            >> beam.ParDo(read)
            .with_output_types(Arrival, **{DEAD_LETTERS: DeadLetter, PROGRESS: Progress})
            .with_outputs(DEAD_LETTERS, PROGRESS, main=ARRIVALS)
        )


class ReadRange(beam.DoFn, RestrictionProvider, WatermarkEstimatorProvider):
    """Reads from `start` to its ends, a little in each call; killed, nothing is lost."""

    def __init__(self, reading: Reading, start: Progress) -> None:
        self._reading = reading
        self._start = start

    def setup(self) -> None:
        self._open: Intake | None = None
        self._failures = 0
        self._told = 0.0

    def teardown(self) -> None:
        self._close()

    def process(
        self,
        _element: bytes,
        tracker: Any = beam.DoFn.RestrictionParam(),
        watermark: Any = beam.DoFn.WatermarkEstimatorParam(),
    ) -> Iterator[Any]:
        begun = tracker.current_restriction()
        try:
            intake = self._intake(begun)
            deadline = time.monotonic() + _AT_A_TIME
            while True:
                taken = intake.take(max(0.0, deadline - time.monotonic()))
                if not tracker.try_claim(taken.progress):
                    self._close()  # the rest was handed to another, who reads it again
                    return
                journey.read(taken.items)
                for item in taken.items:
                    yield _emitted(item, taken.progress.watermark)
                watermark.advance(taken.progress.watermark)
                if taken.progress.finished or time.monotonic() >= deadline:
                    break
        except BrokerAway as error:
            self._close()
            tracker.defer_remainder(self._wait(error))
            return
        except BaseException:
            self._close()
            raise
        self._failures = 0
        self._measure(intake, begun, taken.progress)
        if taken.progress.finished or deadline - self._told > _TOLD_SECONDS:
            self._told = deadline
            yield TaggedOutput(PROGRESS, create(taken.progress, MIN_TIMESTAMP.micros, _WINDOWS))
        if taken.progress.finished:
            self._close()
        else:
            tracker.defer_remainder()

    def _intake(self, progress: Progress) -> Intake:
        """The open one, where it stands at `progress`; opening one takes a while."""
        if self._open and self._open.progress == progress:
            return self._open
        self._close()
        reading = self._reading
        self._open = Intake(
            reading.settings,
            reading.topic,
            progress,
            parser=record_parser(
                reading.topic,
                reading.parsing,
                reading.author_key() if reading.author_key else None,
            ),
            lateness=reading.lateness,
            pace=reading.pace,
        )
        return self._open

    def _measure(self, intake: Intake, begun: Progress, now: Progress) -> None:
        for number, stand in now.partitions.items():
            before = begun.partitions.get(number)
            read = stand.offset - before.offset if before else 0
            metrics().read(self._reading.topic, number, read, intake.lag(number))
        if now.watermark:
            metrics().watermark(now.watermark)

    def _close(self) -> None:
        if self._open:
            self._open.close()
            self._open = None

    def _wait(self, error: BrokerAway) -> Duration:
        self._failures += 1
        seconds = min(_LONGEST_WAIT, 2.0**self._failures / 4)
        _log.warning("%s; trying again in %g s", error, seconds)
        return Duration(seconds=seconds)

    def initial_restriction(self, _element: bytes) -> Progress:
        return self._start

    def create_tracker(self, restriction: Progress) -> "ProgressTracker":
        return ProgressTracker(restriction)

    def restriction_size(self, _element: bytes, restriction: Progress) -> int:
        return restriction.left

    def restriction_coder(self) -> Coder:
        return ProgressCoder()

    def initial_estimator_state(self, _element: bytes, restriction: Progress) -> int:
        return _micros_of(restriction.watermark)

    def create_watermark_estimator(self, state: int) -> "RisingWatermark":
        return RisingWatermark(state)

    def estimator_state_coder(self) -> Coder:
        return VarIntCoder()


class ReadOn(ReadRange):
    """Reads on without an end."""

    @beam.DoFn.unbounded_per_element()  # type: ignore[untyped-decorator]
    def process(
        self,
        _element: bytes,
        tracker: Any = beam.DoFn.RestrictionParam(),
        watermark: Any = beam.DoFn.WatermarkEstimatorParam(),
    ) -> Iterator[Any]:
        return super().process(_element, tracker, watermark)


class ProgressTracker(RestrictionTracker):
    """Claims are whole polls: the progress behind one. It splits nowhere but here and now, since
    the partitions belong together."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._handed_over = False

    def current_restriction(self) -> Progress:
        return self._progress

    def try_claim(self, position: Progress) -> bool:
        if self._handed_over:
            return False
        self._progress = position
        return True

    def try_split(self, fraction_of_remainder: float) -> tuple[Progress, Progress] | None:
        if fraction_of_remainder or self._progress.finished:
            return None
        rest = self._progress
        self._progress = msgspec.structs.replace(rest, finished=True)
        self._handed_over = True
        return self._progress, rest

    def check_done(self) -> bool:
        if not self._progress.finished:
            raise ValueError("the topic is not read to its end, and the rest was not deferred")
        return True

    def current_progress(self) -> RestrictionProgress:
        done = sum(stand.offset for stand in self._progress.partitions.values())
        return RestrictionProgress(completed=done, remaining=self._progress.left)

    def is_bounded(self) -> bool:
        return self._progress.bounded


class ProgressCoder(Coder):
    """The restriction in its own versioned bytes."""

    def encode(self, value: Progress) -> bytes:
        return encode_progress(value)

    def decode(self, encoded: bytes) -> Progress:
        return decode_progress(encoded)

    def is_deterministic(self) -> bool:
        return True


class RisingWatermark(WatermarkEstimator):
    """A watermark that only rises; its state is microseconds since 1970."""

    def __init__(self, state: int) -> None:
        self._state = state

    def advance(self, event_time: datetime | None) -> None:
        self._state = max(self._state, _micros_of(event_time))

    def observe_timestamp(self, timestamp: Timestamp) -> None:
        """Stragglers do not count: the intake decides."""

    def current_watermark(self) -> Timestamp:
        return Timestamp(micros=self._state)

    def get_estimator_state(self) -> int:
        return self._state


def _micros_of(event_time: datetime | None) -> int:
    return MIN_TIMESTAMP.micros if event_time is None else micros(event_time)


def _emitted(item: Item, watermark: datetime | None) -> Any:
    if isinstance(item, DeadLetter):
        return TaggedOutput(DEAD_LETTERS, create(item, MIN_TIMESTAMP.micros, _WINDOWS))
    arrival = (
        Arrival(item, watermark=watermark)
        if isinstance(item, Message)
        else Arrival(item.message, item.frontier, item.reason, watermark)
    )
    return create(arrival, micros(arrival.message.published_at), _WINDOWS)


registry.register_coder(Progress, ProgressCoder)
