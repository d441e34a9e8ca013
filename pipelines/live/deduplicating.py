"""The first copy of each message, from Beam's keyed state: a log of what has been seen."""

import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.coders import StrUtf8Coder, TupleCoder, VarIntCoder
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.userstate import BagStateSpec

from connectors.deduplication import HOUR, Deduplication
from connectors.lateness import LateMessage
from pipelines.live.memory import MARK, Memory
from pipelines.metrics.instruments import metrics
from pipelines.records import Arrival, micros

FRESH = "fresh"
LATE = "late"

_SHARDS = 16
"""Over how many keys the ids are spread: the most workers that can share the tagging. Each that a
bundle touches costs it some calls to the engine."""

_ALWAYS = 4_000
"""So many ids of a shard are remembered, however old they are."""

Entry = tuple[int, str]
"""Event time in microseconds, and id."""


def keyed(arrival: Arrival) -> tuple[int, Arrival]:
    """A message, late or not, under the shard of its id."""
    return zlib.crc32(arrival.message.id.encode()) % _SHARDS, arrival


class _Seen:
    """The ids of a shard. `logged`: how long the log is; `kept`: how long when last shortened."""

    def __init__(self, horizon_hours: int, log: Iterable[Entry]) -> None:
        self.horizon_hours = horizon_hours
        self.kept = 0
        self.restore(log)

    def restore(self, log: Iterable[Entry]) -> None:
        self.core = Deduplication(self.horizon_hours)
        self.logged = 0
        for at, name in log:
            self.logged += 1
            self.core.first(name, at)

    @property
    def long(self) -> bool:
        """Whether most of the log may be of the past."""
        return self.logged > 2 * (self.kept + _ALWAYS)


class DeduplicateArrivals(beam.DoFn):
    """(shard, `Arrival`) -> `Message`, or `LateMessage` under "late": each id once."""

    LOG = BagStateSpec("seen", TupleCoder((VarIntCoder(), StrUtf8Coder())))

    def __init__(self, job: str, horizon_hours: int) -> None:
        self._job = job
        self._horizon_hours = horizon_hours

    def start_bundle(self) -> None:
        self._memory = Memory[_Seen](f"{self._job}/deduplicate")

    def process(
        self,
        element: tuple[int, Arrival],
        log: Any = beam.DoFn.StateParam(LOG),
        mark: Any = beam.DoFn.StateParam(MARK),
    ) -> Iterator[Any]:
        shard, arrival = element
        seen = self._memory.take(shard, mark, lambda: _Seen(self._horizon_hours, log.read()))
        message = arrival.message
        at = micros(message.published_at)
        if not seen.core.first(message.id, at):
            metrics().duplicates(1)
            return
        log.add((at, message.id))
        seen.logged += 1
        if arrival.watermark and seen.long:
            self._shorten(log, seen, micros(arrival.watermark))
        if arrival.frontier is None:
            yield message
        else:
            metrics().late(arrival.reason)
            yield TaggedOutput(LATE, LateMessage(message, arrival.frontier, arrival.reason))

    def _shorten(self, log: Any, seen: _Seen, watermark: int) -> None:
        """Takes out of the log what is beyond the horizon of the watermark. Not of the message: one
        partition may be days ahead of another. And not what came last: when history is read at
        once, days may pass between a message and its copy behind it."""
        entries = list(log.read())
        oldest = (watermark // HOUR - self._horizon_hours) * HOUR
        past = [entry for entry in entries[:-_ALWAYS] if entry[0] >= oldest]
        kept = past + entries[-_ALWAYS:]
        log.clear()
        for entry in kept:
            log.add(entry)
        seen.restore(kept)
        seen.kept = len(kept)
