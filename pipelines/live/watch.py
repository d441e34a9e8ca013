"""*Watch* as a step of the live job: `LiveWatcher` in Beam's keyed state, under one key.

The state is two logs: the tail, and what the final watcher changed each time that it went on. Both
are written anew when most of them is of the past.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import apache_beam as beam
import msgspec
from apache_beam.coders import BytesCoder
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, TimerSpec, on_timer
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import Timestamp

from connectors.kafka.settings import TopicNames
from connectors.lateness import LateMessage
from connectors.store import Transaction
from pipelines.coders import StructCoder
from pipelines.graph import RunContext
from pipelines.late import list_late
from pipelines.live.memory import MARK, Memory
from pipelines.live.storing import LiveStore, put_aside
from pipelines.live.watching import BEGINNING, Advance, LiveWatcher
from pipelines.metrics.instruments import metrics
from pipelines.outgoing import Addressed, Publisher, bucket_records, spike_records
from pipelines.records import Tagged, micros, moment
from pipelines.rows import write_found
from pipelines.runs import finish_run
from pipelines.state import Components
from pipelines.telemetry import journey
from pipelines.watch import END, Outcome

BEHIND = "behind_frontier"
"""Why a message is listed as late whose minute was final when it came to be watched."""

_LEAST_LOG = 1 << 20
_END_OF_TIME = GlobalWindow().max_timestamp()


class _Change(msgspec.Struct, array_like=True):
    """One entry of the log: the `number`th step of the final watcher, and what it changed."""

    number: int
    settled: datetime
    components: Components


class _Watching:
    """The watcher, and how long its logs are."""

    def __init__(self, context: RunContext, tail: Iterable[Tagged], log: Iterable[bytes]) -> None:
        changes = sorted(
            (msgspec.msgpack.decode(entry, type=_Change) for entry in log),
            key=lambda change: change.number,
        )
        self.number = changes[-1].number if changes else 0
        self.logged_bytes = 0
        self.components: Components = {}
        for change in changes:
            self._merge(change.components)
        final = context.watcher()
        final.load({name: (v, held) for name, (v, held) in self.components.items() if held})
        settled = changes[-1].settled if changes else BEGINNING
        allowed = context.configuration.lateness.allowed
        self.live = LiveWatcher(final, allowed, settled=settled)
        self.logged_messages = 0
        for tagged in tail:
            self.logged_messages += 1
            self.live.add(tagged)
        self.timer: datetime | None = None

    def change(self) -> bytes:
        """What the final watcher has changed, for the log."""
        changed = self.live.final.save()
        self._merge(changed)
        self.number += 1
        entry = msgspec.msgpack.encode(_Change(self.number, self.live.settled, changed))
        self.logged_bytes += len(entry)
        return entry

    def whole(self) -> bytes | None:
        """All that the log says in one entry, where that is much less; None where it is not."""
        held = sum(len(payload) for _, payload in self.components.values() if payload)
        if self.logged_bytes < max(4 * held, _LEAST_LOG):
            return None
        entry = msgspec.msgpack.encode(_Change(self.number, self.live.settled, self.components))
        self.logged_bytes = len(entry)
        return entry

    def _merge(self, changed: Components) -> None:
        self.components |= changed
        self.components = {name: held for name, held in self.components.items() if held[1]}


class WatchLive(beam.DoFn):
    """(anything, `Tagged`) -> rows in the store, and records on their topics."""

    TAIL = BagStateSpec("tail", StructCoder(Tagged))
    LOG = BagStateSpec("watcher", BytesCoder())
    CLOSE = TimerSpec("close", TimeDomain.WATERMARK)
    FINISH = TimerSpec("finish", TimeDomain.WATERMARK)
    AGAIN = TimerSpec("again", TimeDomain.REAL_TIME)

    def __init__(self, context: RunContext, database: str, run_id: str, publisher: Publisher):
        self._context = context
        self._store = LiveStore(database)
        self._run_id = run_id
        self._publisher = publisher

    def start_bundle(self) -> None:
        self._memory = Memory[_Watching](f"{self._run_id}/watch")

    def process(
        self,
        element: tuple[Any, Tagged],
        tail: Any = beam.DoFn.StateParam(TAIL),
        log: Any = beam.DoFn.StateParam(LOG),
        mark: Any = beam.DoFn.StateParam(MARK),
        close: Any = beam.DoFn.TimerParam(CLOSE),
        finish: Any = beam.DoFn.TimerParam(FINISH),
    ) -> None:
        watching = self._watching(tail, log, mark)
        _, tagged = element
        if not watching.live.add(tagged):
            self._list_late(tagged, watching.live.settled)
            return
        tail.add(tagged)
        watching.logged_messages += 1
        if watching.timer is None:
            finish.set(_END_OF_TIME)
        if watching.timer is None or watching.live.sooner(tagged, watching.timer):
            self._set(close, watching)

    @on_timer(CLOSE)
    def close(
        self,
        watermark: Any = beam.DoFn.TimestampParam,
        tail: Any = beam.DoFn.StateParam(TAIL),
        log: Any = beam.DoFn.StateParam(LOG),
        mark: Any = beam.DoFn.StateParam(MARK),
        close: Any = beam.DoFn.TimerParam(CLOSE),
        again: Any = beam.DoFn.TimerParam(AGAIN),
    ) -> None:
        """The watermark has reached what was due."""
        watching = self._watching(tail, log, mark)
        self._advance(watching, _event_time(watermark), tail, log)
        self._set(close, watching)
        wait = watching.live.waits()
        if wait is not None:
            again.set(Timestamp.now() + wait)

    @on_timer(AGAIN)
    def again(
        self,
        tail: Any = beam.DoFn.StateParam(TAIL),
        log: Any = beam.DoFn.StateParam(LOG),
        mark: Any = beam.DoFn.StateParam(MARK),
    ) -> None:
        """There is time now for what had to wait."""
        watching = self._watching(tail, log, mark)
        self._advance(watching, BEGINNING, tail, log)

    @on_timer(FINISH)
    def finish(
        self,
        tail: Any = beam.DoFn.StateParam(TAIL),
        log: Any = beam.DoFn.StateParam(LOG),
        mark: Any = beam.DoFn.StateParam(MARK),
    ) -> None:
        """The input has ended."""
        self._advance(self._watching(tail, log, mark), END, tail, log)
        self._store.write(lambda tx: finish_run(tx, self._run_id, datetime.now(UTC)))

    def _watching(self, tail: Any, log: Any, mark: Any) -> _Watching:
        return self._memory.take(
            "", mark, lambda: _Watching(self._context, tail.read(), log.read())
        )

    def _set(self, close: Any, watching: _Watching) -> None:
        due = watching.live.due()
        if due is not None:
            close.set(Timestamp(micros=micros(due)))
        watching.timer = due

    def _advance(self, watching: _Watching, watermark: datetime, tail: Any, log: Any) -> None:
        began = journey.now()
        advance = watching.live.advance(watermark)
        if advance.final or advance.provisional:
            self._store.write(lambda tx: self._write(tx, advance, watching.live.watermark))
            self._publish(advance)
            _tell(advance, began)
        if advance.final is None:
            return
        log.add(watching.change())
        if whole := watching.whole():
            log.clear()
            log.add(whole)
        waiting = watching.live.waiting
        if watching.logged_messages > 2 * waiting:
            tail.clear()
            for tagged in watching.live.tail:
                tail.add(tagged)
            watching.logged_messages = waiting

    def _write(self, tx: Transaction, advance: Advance, watermark: datetime) -> None:
        if advance.final:
            tx.set_stories([(one.tagged.message.id, one.story) for one in advance.final.watched])
            write_found(tx, advance.final, self._run_id)
        if advance.provisional:
            write_found(tx, advance.provisional, self._run_id, watermark)

    def _publish(self, advance: Advance) -> None:
        for outcome in filter(None, (advance.final, advance.provisional)):
            refused = self._publisher.publish(partial(_records, outcome))
            put_aside(self._store, refused, self._run_id)
            _count(outcome, final=outcome is advance.final)

    def _list_late(self, tagged: Tagged, frontier: datetime) -> None:
        late = LateMessage(tagged.message, frontier, BEHIND)
        began = journey.now()
        self._store.write(lambda tx: list_late(tx, [late], self._run_id))
        journey.stored([late.message], began, late=BEHIND)
        metrics().late(BEHIND)


def _records(outcome: Outcome, topics: TopicNames) -> Iterator[Addressed]:
    yield from bucket_records(topics, outcome.windows)
    for _, spikes in outcome.minutes:
        yield from spike_records(topics, spikes)


def _tell(advance: Advance, began: int) -> None:
    for outcome in filter(None, (advance.final, advance.provisional)):
        spikes = (spike for _, found in outcome.minutes for spike in found)
        journey.spiked(spikes, began, final=outcome is advance.final)


def _count(outcome: Outcome, *, final: bool) -> None:
    metrics().minutes(len(outcome.minutes), final=final)
    metrics().stored("window_stats", len(outcome.windows))
    if final:
        metrics().spikes(spike for _, spikes in outcome.minutes for spike in spikes)


def _event_time(timestamp: Timestamp) -> datetime:
    """The end of time is END."""
    if timestamp >= _END_OF_TIME:
        return END
    return moment(timestamp.micros)
