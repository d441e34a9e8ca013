"""The graphs of one slice of a replay: deduplicate -> tag, then watch -> commit.

Two graphs, so that the next slice is tagged while the last one is watched and committed. Both run
on FnApiRunner, that is in this process, so a slice enters and leaves them by reference (`Desk`):
what travels inside is the messages, one element each.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping
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
from pipelines.state import Components, load_segments, save_segments
from pipelines.tag import DEAD_LETTERS, TAGGED, Tag
from pipelines.watch import Outcome, Watcher

DEDUPLICATION = "deduplication"

Stored = Mapping[str, tuple[int, bytes]]
"""The state that a slice starts from: component -> (version, bytes)."""


@dataclass(frozen=True)
class SliceContext:
    """What the steps of a slice know of their run. `model` is the checksum of the weights."""

    configuration: Configuration
    configuration_hash: str
    model: str


@dataclass
class TaggedSlice:
    """What the first graph gave. `state`: what changed of the state of deduplication."""

    tagged: list[Tagged] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    duplicates: int = 0
    state: Components = field(default_factory=dict)


@dataclass
class SliceResult:
    """All that a slice gave, to be committed as a whole."""

    outcome: Outcome
    dead_letters: list[DeadLetter]
    duplicates: int
    state: Components


class Desk:
    """Where the driver lays down what a graph of this process takes, and takes what it gave.

    Beam copies a step before it runs it, so a step cannot hold these objects, only their number.
    """

    _held: dict[int, Any] = {}  # noqa: RUF012
    _numbers = itertools.count()

    @classmethod
    def lay(cls, value: object) -> int:
        number = next(cls._numbers)
        cls._held[number] = value
        return number

    @classmethod
    def look(cls, number: int) -> Any:
        return cls._held[number]

    @classmethod
    def take(cls, number: int) -> Any:
        return cls._held.pop(number)


def tag_slice(messages: list[Message], context: SliceContext, stored: Stored) -> TaggedSlice:
    """Deduplicates and tags a slice whose messages come in order of (`published_at`, `id`)."""
    given, result = Desk.lay((messages, stored)), Desk.lay(TaggedSlice())
    try:
        with _pipeline() as pipeline:
            results = (
                pipeline
                | "Slice" >> beam.Create([given])
                | "Deduplicate" >> beam.ParDo(DeduplicateSlice(context.configuration, result))
                | "Tag" >> Tag(context.configuration.tag)
            )
            _ = results[TAGGED] | "Tagged" >> beam.ParDo(Collect(result, TAGGED))
            _ = results[DEAD_LETTERS] | "Failed" >> beam.ParDo(Collect(result, DEAD_LETTERS))
        done: TaggedSlice = Desk.look(result)
        done.tagged.sort(key=lambda one: (one.message.published_at, one.message.id))
        done.dead_letters.sort(key=lambda one: one.id)
        return done
    finally:
        Desk.take(given)
        Desk.take(result)


def watch_slice(
    part: TaggedSlice,
    context: SliceContext,
    stored: Stored,
    commit: Callable[[SliceResult], None],
    *,
    end: bool,
) -> None:
    """Watches a tagged slice and commits all that it gave; `end`: the input ends with it."""
    given = Desk.lay((part, stored))
    try:
        with _pipeline() as pipeline:
            _ = (
                pipeline
                | "Slice" >> beam.Create([given])
                | "Watch" >> beam.ParDo(WatchSlice(context, end=end))
                | "Commit" >> beam.Map(lambda result: commit(Desk.take(result)))
            )
    finally:
        Desk.take(given)


def _pipeline() -> beam.Pipeline:
    return beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([]))


class DeduplicateSlice(beam.DoFn):
    """The first copy of each message, in order; how many were not, and the state, go aside."""

    def __init__(self, configuration: Configuration, result: int) -> None:
        self._horizon_hours = configuration.deduplicate.horizon_hours
        self._result = result

    def process(self, given: int) -> Iterator[Message]:
        messages, stored = Desk.look(given)
        core = Deduplication(self._horizon_hours)
        load_segments(DEDUPLICATION, core, stored)
        result: TaggedSlice = Desk.look(self._result)
        for message in messages:
            if core.step(message.id, micros(message.published_at)):
                yield message
            else:
                result.duplicates += 1
        result.state = save_segments(DEDUPLICATION, core)


class Collect(beam.DoFn):
    """Lays records down in one of the lists of a `TaggedSlice`."""

    def __init__(self, result: int, name: str) -> None:
        self._result = result
        self._name = name

    def start_bundle(self) -> None:
        self._records: list[Any] = getattr(Desk.look(self._result), self._name)

    def process(self, record: Tagged | DeadLetter) -> None:
        self._records.append(record)


class WatchSlice(beam.DoFn):
    """The whole slice in order through the `Watcher`."""

    def __init__(self, context: SliceContext, *, end: bool) -> None:
        self._context = context
        self._end = end

    def process(self, given: int) -> Iterator[int]:
        part, stored = Desk.look(given)
        context = self._context
        watcher = Watcher(
            context.configuration.novelty,
            context.configuration.surge,
            configuration=context.configuration_hash,
            model=context.model,
        )
        watcher.load(stored)
        outcome = watcher.step(part.tagged, end=self._end)
        state = {**part.state, **watcher.save()}
        # By its number: Beam would pickle the whole result, only to see how large it is.
        yield Desk.lay(SliceResult(outcome, part.dead_letters, part.duplicates, state))
