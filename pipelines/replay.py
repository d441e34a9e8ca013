"""A replay: a bounded history through the graph, slice by slice, into a store.

The manifest names everything that the rows depend on, and the run's id is its digest. So a run that
was killed is found again and goes on behind its last committed slice, and one that is complete is
not run twice.
"""

import gc
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from queue import Full, Queue
from typing import Any, Protocol

import msgspec
from sqlalchemy import select

from connectors.dead_letter import DeadLetter
from connectors.lateness import LateMessage
from connectors.message import Message
from connectors.sorting import Aside, sorted_messages
from connectors.store import Store
from connectors.store.schema import runs
from models.entities import Recogniser
from pipelines.commit import Committer, count
from pipelines.configuration import Configuration
from pipelines.evidence import AddEvidence
from pipelines.graph import (
    RunContext,
    SliceResult,
    Stored,
    TaggedSlice,
    tag_slices,
    watch_slices,
)
from pipelines.late import store_late
from pipelines.manifest import digest, manifest
from pipelines.records import Tagged
from pipelines.rows import bury
from pipelines.runs import new_run
from pipelines.slices import Slice, cut
from pipelines.sources import Parsing, Reading, Source, Stream, WatchingReading
from pipelines.tagging import tag_messages

_GARBAGE_THRESHOLD = 50_000
_LOOK_SECONDS = 1.0  # between two looks at whether the thread that watches has failed
_TOGETHER = 1000  # dead letters in one transaction
_LATE_TOGETHER = 200  # late messages in one transaction


class Watching(WatchingReading, Protocol):
    """Who wants to know how far a replay is."""

    def replaying(self, done: int, total: int) -> None: ...


class Silent:
    """Nobody does."""

    def reading(self, name: str, done: int, size: int) -> None: ...

    def replaying(self, done: int, total: int) -> None: ...

    def remark(self, text: str) -> None: ...


class ReplayResult(msgspec.Struct, frozen=True):
    """The reconciliation of a run: read = stored + duplicates + dead_letters. `late`: those of the
    stored that came too late for their windows."""

    run: str
    configuration: str
    read: int
    stored: int
    duplicates: int
    dead_letters: int
    late: int
    spikes: int
    alerts: int
    seconds: float
    resumed: bool
    already_complete: bool
    truncated: str | None = None


def replay(
    sources: Sequence[Source],
    *,
    database: str,
    configuration: Configuration,
    parsing: Parsing | None = None,
    author_key: bytes | None = None,
    watching: Watching | None = None,
) -> ReplayResult:
    """Replays the sources into `database` and returns the reconciliation.

    A source that is cut short is used as far as it goes, and named in the result. Raises
    `SourceError` for one that cannot be used at all, `BrokerError`, `StoreError`, `ArtifactError`.
    """
    started = time.monotonic()
    parsing = parsing or Parsing()
    streams = [source.stream(parsing, author_key, configuration.lateness) for source in sources]
    model = configuration.tag.tagger().identity
    described = manifest(
        sources=[source.describe() for source in sources],
        parsing=msgspec.to_builtins(parsing),
        configuration=configuration.meaning(),
        model=model,
    )
    with Store.open(database) as store:
        run = _Run(
            store=store,
            run_id=digest(described),
            context=RunContext(configuration, configuration.digest(model), model.checksum),
            watching=watching or Silent(),
        )
        counters = run.begin(described)
        complete = run.row()["state"] == "finished"
        if not complete:
            run.go_on(streams, counters)
        row = run.row()
    names = ("read", "stored", "duplicates", "dead_letters", "late", "spikes", "alerts")
    return ReplayResult(
        run=run.run_id,
        configuration=run.context.configuration_hash,
        seconds=round(time.monotonic() - started, 3),
        resumed=not complete and counters.get("position", 0) > 0,
        already_complete=complete,
        truncated=row["error"],
        **{name: row["counters"].get(name, 0) for name in names},
    )


@contextmanager
def _less_collecting() -> Iterator[None]:
    """Looks for garbage less often while the block lasts, and not among what was imported.

    A replay makes many small records and hardly a cycle.
    """
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(_GARBAGE_THRESHOLD, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


@dataclass
class _Run:
    """One run in a store: what is done of it, and how it goes on."""

    store: Store
    run_id: str
    context: RunContext
    watching: Watching
    letters: int = 0
    messages: int = 0
    late: int = 0
    truncated: str | None = None

    def begin(self, described: dict[str, Any]) -> dict[str, Any]:
        """Makes the run's row where it is not there yet; returns its counters."""
        with self.store.transaction() as tx:
            run = tx.run(self.run_id)
            if run is None:
                run = new_run(self.run_id, "replay", described, datetime.now(UTC))
                tx.save_run(run)
            counters: dict[str, Any] = run["counters"]
            return counters

    def row(self) -> dict[str, Any]:
        """The run's row as it is stored now."""
        (run,) = self.store.rows(select(runs).where(runs.c.id == self.run_id))
        return run

    def go_on(self, streams: Sequence[Stream], counters: dict[str, Any]) -> None:
        """Runs every slice that is not committed yet, then closes the run."""
        settings = self.context.configuration.replay
        done = counters.get("position", 0)
        with (
            Aside(LateMessage) as late,
            sorted_messages(self._readable(streams, late)) as ordered,
        ):
            self.watching.replaying(done, self.messages)
            slices = cut(
                islice(ordered, done, None),
                most_messages=settings.slice_messages,
                most_characters=settings.slice_characters,
                number=counters.get("slices", 0),
                position=done,
            )
            with _less_collecting():
                self._run(slices)
            self._tag_late(islice(late, counters.get("late_position", 0), None))
        self._finish()

    def _run(self, slices: Iterable[Slice]) -> None:
        """Tags each slice while the one before it is watched and committed."""
        with self.store.transaction() as tx:
            stored = tx.state(self.run_id)
        tagged: Queue[TaggedSlice | None] = Queue(maxsize=1)
        with ThreadPoolExecutor(1) as behind:
            taken = iter(tagged.get, None)
            watching = behind.submit(
                watch_slices, taken, self.context, stored, self._commit(stored)
            )

            def deliver(part: TaggedSlice | None) -> None:
                while not watching.done():
                    with suppress(Full):
                        tagged.put(part, timeout=_LOOK_SECONDS)
                        return
                watching.result()  # raises what ended it

            try:
                tag_slices(slices, self.context, stored, deliver)
            finally:
                deliver(None)
            watching.result()

    def _tag_late(self, late: Iterator[LateMessage]) -> None:
        """Tags and stores late messages, when all that were on time are stored: a late copy of one
        of those is only a copy."""
        tagger = self.context.configuration.tag.tagger()
        while part := list(islice(late, _LATE_TOGETHER)):
            results = tag_messages([one.message for one in part], tagger, Recogniser.default())
            letters = [one for one in results if isinstance(one, DeadLetter)]
            pairs = zip(part, results, strict=True)
            tagged = [(one, found) for one, found in pairs if isinstance(found, Tagged)]
            now = datetime.now(UTC)
            with self.store.transaction() as tx:
                bury(tx, letters, self.run_id, now)
                stored = store_late(tx, tagged, self.run_id, now)
                counted = {
                    "stored": stored,
                    "late": stored,
                    "duplicates": len(tagged) - stored,
                    "dead_letters": len(letters),
                    "late_position": len(part),
                }
                count(tx, self.run_id, counted)

    def _readable(self, streams: Sequence[Stream], late: Aside[LateMessage]) -> Iterator[Message]:
        """The messages of all sources that are on time; on the way the late ones are put aside, and
        what is no message goes to the dead letters."""
        held: list[DeadLetter] = []
        reading = Reading(streams, self.watching)
        for record in reading:
            if isinstance(record, Message):
                self.messages += 1
                yield record
            elif isinstance(record, LateMessage):
                self.late += 1
                late.add(record)
            else:
                held.append(record)
                if len(held) >= _TOGETHER:
                    held = self._bury(held)
        self._bury(held)
        self.truncated = reading.truncated

    def _bury(self, letters: Sequence[DeadLetter]) -> list[DeadLetter]:
        """Stores dead letters; again on a resumed run, which their ids make harmless."""
        self.letters += len(letters)
        with self.store.transaction() as tx:
            bury(tx, letters, self.run_id, datetime.now(UTC))
        return []

    def _commit(self, stored: Stored) -> Callable[[SliceResult], None]:
        configuration = self.context.configuration
        committer = Committer(
            self.store,
            self.run_id,
            configuration.alerts,
            AddEvidence(configuration.tag),
            stored,
        )

        def commit(result: SliceResult) -> None:
            committer.commit(result)
            self.watching.replaying(result.end, self.messages)

        return commit

    def _finish(self) -> None:
        run = self.row()
        counters = {**run["counters"], "read": self.messages + self.late + self.letters}
        counters["dead_letters"] = counters.get("dead_letters", 0) + self.letters
        closed = {"state": "finished", "finished_at": datetime.now(UTC), "error": self.truncated}
        with self.store.transaction() as tx:
            tx.save_run({**run, **closed, "counters": counters})
