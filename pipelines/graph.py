"""The graph of one slice of a replay: deduplicate -> tag -> watch -> commit, on any Beam runner.

Two steps need the slice as a whole and in order (deduplication, watch): they stand behind a
GroupByKey with a single key. Messages cross it in packs of bytes, which is an order of magnitude
cheaper than one by one.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import msgspec
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from connectors.dead_letter import DeadLetter
from connectors.deduplication import Deduplication
from pipelines.configuration import Configuration
from pipelines.records import Tagged, micros
from pipelines.slices import Slice, decode_frames, encode_frames
from pipelines.state import Components, load_segments, save_segments
from pipelines.tag import DEAD_LETTERS, TAGGED, Tag
from pipelines.watch import Outcome, Watcher

_DEDUPLICATION = "deduplication"
_BOOKKEEPING = "bookkeeping"
_PACK = 1000  # tagged messages in one element behind the model

Stored = Mapping[str, tuple[int, bytes]]
"""The state that a slice starts from: component -> (version, bytes)."""


@dataclass
class SliceResult:
    """All that a slice gave, to be committed as a whole."""

    outcome: Outcome
    dead_letters: list[DeadLetter]
    duplicates: int
    state: Components


@dataclass(frozen=True)
class SliceContext:
    """What the steps of a slice know of their run. `model` is the checksum of the weights."""

    configuration: Configuration
    configuration_hash: str
    model: str


def run_slice(
    part: Slice, context: SliceContext, state: Stored, commit: Callable[[SliceResult], None]
) -> None:
    """Runs the graph over one slice in this process; returns when `commit` has been called."""
    with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([])) as pipeline:
        build(pipeline, part, context, state, commit)


def build(
    pipeline: beam.Pipeline,
    part: Slice,
    context: SliceContext,
    state: Stored,
    commit: Callable[[SliceResult], None],
) -> None:
    """The graph of a slice. `commit` is called once, with everything that the slice gave."""
    stored = pipeline | "State" >> beam.Create([dict(state)])
    messages, bookkeeping = (
        pipeline
        | "Frames" >> beam.Create(encode_frames(part.messages))
        | "One slice" >> beam.GroupBy(lambda _: 0)
        | "Deduplicate"
        >> beam.ParDo(
            DeduplicateSlice(context.configuration.deduplicate.horizon_hours),
            beam.pvalue.AsSingleton(stored),
        ).with_outputs(_BOOKKEEPING, main="messages")
    )
    results = messages | "Tag" >> Tag(context.configuration.tag)
    packs = (
        results[TAGGED] | "Pack tagged" >> beam.ParDo(Pack(TAGGED)),
        results[DEAD_LETTERS] | "Pack dead letters" >> beam.ParDo(Pack(DEAD_LETTERS)),
        bookkeeping,
    )
    _ = (
        packs
        | "Together" >> beam.Flatten()
        | "Slice tagged" >> beam.GroupByKey()
        | "Watch" >> beam.ParDo(WatchSlice(context, end=part.last), beam.pvalue.AsSingleton(stored))
        | "Commit" >> beam.Map(commit)
    )


class DeduplicateSlice(beam.DoFn):
    """The first copy of each message, in order; aside: how many were not, and the new state."""

    def __init__(self, horizon_hours: int) -> None:
        self._horizon_hours = horizon_hours

    def process(self, keyed: tuple[int, Iterable[tuple[int, bytes]]], stored: Stored) -> Any:
        core = Deduplication(self._horizon_hours)
        load_segments(_DEDUPLICATION, core, stored)
        duplicates = 0
        for message in decode_frames(keyed[1]):
            if core.step(message.id, micros(message.published_at)):
                yield message
            else:
                duplicates += 1
        changed = save_segments(_DEDUPLICATION, core)
        yield beam.pvalue.TaggedOutput(_BOOKKEEPING, (0, (_BOOKKEEPING, (duplicates, changed))))


class Pack(beam.DoFn):
    """Records to packs `(0, (kind, bytes))`."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def start_bundle(self) -> None:
        self._held: list[Tagged | DeadLetter] = []

    def process(self, record: Tagged | DeadLetter) -> Iterator[tuple[int, tuple[str, bytes]]]:
        self._held.append(record)
        if len(self._held) >= _PACK:
            yield self._pack()

    def finish_bundle(self) -> Iterator[Any]:
        if self._held:
            yield beam.transforms.window.GlobalWindows.windowed_value(self._pack())

    def _pack(self) -> tuple[int, tuple[str, bytes]]:
        held, self._held = self._held, []
        return 0, (self._kind, msgspec.msgpack.encode(held))


class WatchSlice(beam.DoFn):
    """The whole slice in order through the `Watcher`; `end`: the input ends with it."""

    def __init__(self, context: SliceContext, *, end: bool) -> None:
        self._context = context
        self._end = end

    def process(
        self, keyed: tuple[int, Iterable[tuple[str, Any]]], stored: Stored
    ) -> Iterator[SliceResult]:
        tagged: list[Tagged] = []
        dead_letters: list[DeadLetter] = []
        duplicates, state = 0, Components()
        for kind, payload in keyed[1]:
            if kind == TAGGED:
                tagged += msgspec.msgpack.decode(payload, type=list[Tagged])
            elif kind == DEAD_LETTERS:
                dead_letters += msgspec.msgpack.decode(payload, type=list[DeadLetter])
            else:
                duplicates, state = payload
        tagged.sort(key=lambda one: (one.message.published_at, one.message.id))
        dead_letters.sort(key=lambda one: one.id)
        context = self._context
        watcher = Watcher(
            context.configuration.novelty,
            context.configuration.surge,
            configuration=context.configuration_hash,
            model=context.model,
        )
        watcher.load(stored)
        outcome = watcher.step(tagged, end=self._end)
        yield SliceResult(outcome, dead_letters, duplicates, {**state, **watcher.save()})
