"""A topic as a stream without an end: messages, late messages, dead letters, and the watermark.

One intake reads all partitions, so that the idle can follow the active. All that it must remember
is its `Progress`: another intake that begins there goes on exactly.
"""

import time
from collections.abc import Callable, Collection
from datetime import datetime
from typing import NamedTuple

import msgspec

from connectors.errors import BrokerAway
from connectors.kafka.progress import Progress, Stand
from connectors.kafka.reader import Span, TopicReader
from connectors.kafka.records import RecordParser
from connectors.kafka.settings import KafkaSettings
from connectors.lateness import (
    BEGINNING,
    LATE,
    PARTITION_IDLE,
    Item,
    LateMessage,
    Lateness,
    LatenessSettings,
)
from connectors.message import Message


class IntakeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`idle_seconds`: a partition that is read to its end and silent for so long follows the
    others. `look_seconds`: how often new partitions are looked for. `until_idle`: the stream ends
    when all partitions were silent for so many seconds; None: never. All by the clock."""

    idle_seconds: float = 10.0
    look_seconds: float = 30.0
    until_idle: float | None = None


class Taken(NamedTuple):
    """The next `items`, and the progress behind them."""

    items: list[Item]
    progress: Progress


class Intake:
    """Reads on from `progress`; `take` what is there, and `close` it.

    Raises what TopicReader raises. After an error it is of no more use: open another one at the
    progress behind what was taken last. `clock` gives seconds.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topic: str,
        progress: Progress,
        *,
        parser: RecordParser,
        lateness: LatenessSettings,
        pace: IntakeSettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._parser = parser
        self._bounds = lateness
        self._pace = pace
        self._clock = clock
        now = clock()
        self._partitions = {
            number: _Partition(stand, lateness, now)
            for number, stand in progress.partitions.items()
        }
        self._watermark = progress.watermark
        self._finished = progress.finished
        self._read = progress.read
        self._bounded = progress.bounded
        self._moved = self._looked = now
        self._certain = True
        self._reader = TopicReader(
            settings,
            topic,
            {number: Span(at.offset, at.end) for number, at in progress.partitions.items()},
            look_seconds=pace.look_seconds,
        )

    def close(self) -> None:
        """Closes the connection."""
        self._reader.close()

    @property
    def progress(self) -> Progress:
        """Where it is: behind all that was taken."""
        stands = {
            number: Stand(self._reader.position(number), one.end, one.lateness.maximum, one.role)
            for number, one in self._partitions.items()
        }
        return Progress(stands, self._watermark, self._finished, self._read)

    def lag(self, partition: int) -> int:
        """Offsets known to be there and not yet read."""
        return self._reader.lag(partition)

    def take(self, seconds: float) -> Taken:
        """What is there, after at most about `seconds`; it may be nothing."""
        records = self._reader.poll(seconds)
        now = self._clock()
        passed = BEGINNING if self._watermark is None else self._watermark - self._bounds.allowed
        items: list[Item] = []
        for record in records:
            item = self._parser.parse(record)
            if isinstance(item, Message):
                items.append(self._partitions[record.partition].judge(item, passed, now))
            else:
                items.append(item)
        self._read += len(records)
        if records:
            self._moved, self._certain = now, True
        self._rest(now)
        self._rise()
        self._look(now)
        self._finished = self._reader.done or self._over(now)
        return Taken(items, self.progress)

    def _rest(self, now: float) -> None:
        """Partitions that are read to their end and were silent for long are idle."""
        quiet = [
            number
            for number in self._open()
            if self._partitions[number].role != "idle"
            and now - self._partitions[number].brought >= self._pace.idle_seconds
        ]
        whole = self._read_whole(quiet)
        for number in quiet:
            if number in whole:
                self._partitions[number].role = "idle"
            else:
                self._partitions[number].brought = self._clock()  # asked again after as long

    def _rise(self) -> None:
        """The watermark is where the slowest active partition is, and never falls."""
        slowest = self._slowest()
        # When a backlog is read, one partition may be far ahead before an idle one that has woken
        # brings its first message. At the pace of the news it is not worth a question.
        if slowest and slowest - self._reached > self._bounds.disorder:
            self._wake()
            slowest = self._slowest()
        if slowest and slowest > self._reached:
            self._watermark = slowest

    def _slowest(self) -> datetime | None:
        """What all active partitions have reached; None where one has brought nothing yet."""
        active = []
        for number in self._open():
            one = self._partitions[number]
            if one.role == "joining" and one.reached and one.reached >= self._reached:
                one.role = "active"
            if one.role == "active":
                active.append(one.reached)
        known = [at for at in active if at]
        return min(known) if active and len(known) == len(active) else None

    def _wake(self) -> None:
        """Idle partitions that hold something to read are idle no more."""
        idle = {number for number in self._open() if self._partitions[number].role == "idle"}
        for number in idle - self._read_whole(idle):
            self._partitions[number].role = "active"
            self._partitions[number].brought = self._clock()

    @property
    def _reached(self) -> datetime:
        return self._watermark or BEGINNING

    def _look(self, now: float) -> None:
        """Finds new partitions: read from their beginning, they do not hold the watermark."""
        if self._bounded or now - self._looked < self._pace.look_seconds:
            return
        self._looked = now
        try:
            new = self._reader.partitions() - self._partitions.keys()
            found = self._reader.beginnings(new) if new else {}
        except BrokerAway:
            return  # the next look finds them
        for number, offset in found.items():
            stand = Stand(offset, role="joining")
            self._partitions[number] = _Partition(stand, self._bounds, now)
        if found:
            self._reader.add({number: Span(offset, None) for number, offset in found.items()})

    def _over(self, now: float) -> bool:
        """Whether all were silent for as long as to end it."""
        if self._pace.until_idle is None or now - self._moved < self._pace.until_idle:
            return False
        whole = set(self._open()) == self._read_whole(self._open())
        over = whole and self._certain
        self._certain = whole  # after a doubt, the silence must last once more
        self._moved = self._clock()
        return over

    def _read_whole(self, numbers: Collection[int]) -> set[int]:
        """Those that the broker has nothing more of. While it is away there are none: a silence
        of the broker is not one of the partition."""
        if not numbers:
            return set()
        try:
            ends = self._reader.ends(numbers)
        except BrokerAway:
            return set()
        return {number for number in numbers if self._reader.position(number) >= ends[number]}

    def _open(self) -> list[int]:
        return [
            number
            for number, one in self._partitions.items()
            if one.end is None or self._reader.position(number) < one.end
        ]


class _Partition:
    """What is known of one partition. `brought`: when it last brought a message, by the clock."""

    def __init__(self, stand: Stand, bounds: LatenessSettings, now: float) -> None:
        self.end = stand.end
        self.role = stand.role
        self.lateness = Lateness(bounds, stand.maximum)
        self.brought = now
        self._disorder = bounds.disorder

    @property
    def reached(self) -> datetime | None:
        """The event time up to which it is complete, but for stragglers."""
        maximum = self.lateness.maximum
        return None if maximum is None else maximum - self._disorder

    def judge(self, message: Message, passed: datetime, now: float) -> Message | LateMessage:
        """The message, marked where it is late. `passed`: the windows below it are final."""
        self.brought = now
        if self.role == "idle":
            self.role = "active"
        if self.lateness.late(message.published_at):
            return LateMessage(message, self.lateness.frontier, LATE)
        if message.published_at < passed:
            return LateMessage(message, passed, PARTITION_IDLE)
        return message
