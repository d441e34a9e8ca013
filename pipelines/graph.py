"""The two graphs of a replay: deduplicate -> tag, and watch -> commit.

Two, so that the next slice is tagged while the last one is watched and committed; each runs once,
over all slices, so that the model is never left waiting between two. Both run on FnApiRunner, that
is in this process, so slices enter and leave them by reference (`Desk`): what travels inside is the
messages, one element each.
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from connectors.dead_letter import DeadLetter
from connectors.deduplication import Deduplication
from connectors.message import Message
from pipelines.configuration import Configuration
from pipelines.records import Tagged, micros
from pipelines.slices import Slice
from pipelines.state import Components, load_segments, save_segments
from pipelines.tag import DEAD_LETTERS, TAGGED, Tag
from pipelines.watch import END, Outcome, Watcher

DEDUPLICATION = "deduplication"

Stored = Mapping[str, tuple[int, bytes]]
"""The state that a run goes on from: component -> (version, bytes)."""


@dataclass(frozen=True)
class RunContext:
    """What the steps know of their run. `model` is the checksum of the weights."""

    configuration: Configuration
    configuration_hash: str
    model: str

    def watcher(self) -> Watcher:
        """One that has seen nothing yet."""
        return Watcher(
            self.configuration.novelty,
            self.configuration.surge,
            configuration=self.configuration_hash,
            model=self.model,
        )


@dataclass
class TaggedSlice:
    """What the first graph gives of a slice. `awaited`: the results that are still to come;
    `state`: what changed of the state of deduplication."""

    number: int
    end: int
    last: bool
    awaited: int
    duplicates: int
    state: Components
    tagged: list[Tagged] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)


@dataclass
class SliceResult:
    """All that a slice gave, committed as a whole. `end`: messages of the run done with it."""

    number: int
    end: int
    outcome: Outcome
    dead_letters: list[DeadLetter]
    duplicates: int
    state: Components


class Desk:
    """Where the driver lays down what a graph of this process takes.

    Beam copies a step before it runs it, so a step cannot hold these objects, only their number.
    """

    _held: dict[int, Any] = {}  # noqa: RUF012
    _numbers = itertools.count()

    @classmethod
    @contextmanager
    def laid(cls, value: object) -> Iterator[int]:
        """The number of `value` while the block lasts."""
        number = next(cls._numbers)
        cls._held[number] = value
        try:
            yield number
        finally:
            del cls._held[number]

    @classmethod
    def look(cls, number: int) -> Any:
        return cls._held[number]


def tag_slices(
    slices: Iterable[Slice],
    context: RunContext,
    stored: Stored,
    deliver: Callable[[TaggedSlice], None],
) -> None:
    """Deduplicates and tags slices whose messages come in order of (`published_at`, `id`).

    Each is handed to `deliver` when it is whole, in order; slices are drawn as the model asks.
    """
    with Desk.laid((slices, stored, _Assembly(deliver))) as given, _pipeline() as pipeline:
        results = (
            pipeline
            | "Slices" >> beam.Create([given])
            | "Deduplicate" >> beam.ParDo(DeduplicateSlices(context.configuration))
            | "Tag" >> Tag(context.configuration.tag)
        )
        _ = results[TAGGED] | "Tagged" >> beam.ParDo(Collect(given))
        _ = results[DEAD_LETTERS] | "Failed" >> beam.ParDo(Collect(given))


def watch_slices(
    slices: Iterable[TaggedSlice],
    context: RunContext,
    stored: Stored,
    commit: Callable[[SliceResult], None],
) -> None:
    """Watches tagged slices in order, and hands all that each one gave to `commit`."""
    with Desk.laid((slices, stored, commit)) as given, _pipeline() as pipeline:
        _ = (
            pipeline
            | "Slices" >> beam.Create([given])
            | "Watch" >> beam.ParDo(WatchSlices(context))
        )


def _pipeline() -> beam.Pipeline:
    return beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([]))


class _Assembly:
    """Puts results back into their slices: they come in the order in which the messages went."""

    def __init__(self, deliver: Callable[[TaggedSlice], None]) -> None:
        self._deliver = deliver
        self._open: deque[TaggedSlice] = deque()

    def expect(self, part: TaggedSlice) -> None:
        self._open.append(part)
        self._hand_over()

    def add(self, record: Tagged | DeadLetter) -> None:
        part = self._open[0]
        if isinstance(record, Tagged):
            part.tagged.append(record)
        else:
            part.dead_letters.append(record)
        part.awaited -= 1
        if not part.awaited:
            self._hand_over()

    def _hand_over(self) -> None:
        while self._open and not self._open[0].awaited:
            self._deliver(self._open.popleft())


class DeduplicateSlices(beam.DoFn):
    """The first copy of each message, in order."""

    def __init__(self, configuration: Configuration) -> None:
        self._horizon_hours = configuration.deduplicate.horizon_hours

    def process(self, given: int) -> Iterator[Message]:
        slices, stored, assembly = Desk.look(given)
        core = Deduplication(self._horizon_hours)
        load_segments(DEDUPLICATION, core, stored)
        for part in slices:
            fresh = [one for one in part.messages if core.step(one.id, micros(one.published_at))]
            assembly.expect(
                TaggedSlice(
                    number=part.number,
                    end=part.position + len(part.messages),
                    last=part.last,
                    awaited=len(fresh),
                    duplicates=len(part.messages) - len(fresh),
                    state=save_segments(DEDUPLICATION, core),
                )
            )
            yield from fresh


class Collect(beam.DoFn):
    """Hands results to the `_Assembly` on the desk."""

    def __init__(self, given: int) -> None:
        self._given = given

    def start_bundle(self) -> None:
        _, _, self._assembly = Desk.look(self._given)

    def process(self, record: Tagged | DeadLetter) -> None:
        self._assembly.add(record)


class WatchSlices(beam.DoFn):
    """Slice by slice through the `Watcher` and into the commit: order is all, so it is one step."""

    def __init__(self, context: RunContext) -> None:
        self._context = context

    def process(self, given: int) -> None:
        slices, stored, commit = Desk.look(given)
        watcher = self._context.watcher()
        watcher.load(stored)
        for part in slices:
            outcome = watcher.step(part.tagged, END if part.last else None)
            commit(
                SliceResult(
                    number=part.number,
                    end=part.end,
                    outcome=outcome,
                    dead_letters=part.dead_letters,
                    duplicates=part.duplicates,
                    state={**part.state, **watcher.save()},
                )
            )
