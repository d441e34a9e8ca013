"""*Watch* as messages come: provisional at the watermark, final when nothing more can come.

The final results are those of a replay: `Watcher` over the messages in order of (`published_at`,
`id`), whatever the order in which they came. What is still open, the tail, is watched ahead by a
copy of the final watcher; a straggler makes the copy stale, and then the tail is folded again.
"""

import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain

from alerting.spike import Spike
from alerting.windows import WindowStats
from pipelines.records import Tagged
from pipelines.watch import END, Outcome, Watcher, minute_of

BEGINNING = datetime.min.replace(tzinfo=UTC)
_MINUTE = timedelta(minutes=1)
_EARLIEST = BEGINNING + timedelta(days=366)

_BEHIND = 5
"""More untold minutes than this, and we are catching up: they are taken in one go."""

_SHARE = 0.2
"""The part of the time that may go into watching the tail from its beginning again."""


@dataclass(frozen=True)
class Advance:
    """What the passing of time gave: rows that stand for good, and rows that may change yet."""

    final: Outcome | None
    provisional: Outcome | None


class LiveWatcher:
    """Takes messages in any order; `advance` it to the watermark when it is `due`.

    Its state is that of `final`, `settled` and the `tail` in any order. `clock` gives seconds; it
    decides how often the tail is watched again, and no final row.
    """

    def __init__(
        self,
        final: Watcher,
        allowed: timedelta,
        *,
        settled: datetime = BEGINNING,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`allowed`: how long after the watermark a message may come. Minutes before `settled` are
        final."""
        self.final = final
        self.settled = settled
        self._allowed = allowed
        self._clock = clock
        self._tail: dict[datetime, list[Tagged]] = {}
        self.watermark = settled
        self._ahead: _Ahead | None = None
        self._stale = False
        self._behind = False
        self._said: dict[Hashable, WindowStats | Spike] = {}
        self._rested = -float("inf")

    def add(self, tagged: Tagged) -> bool:
        """Takes a message; False where its minute is final already."""
        minute = minute_of(tagged.message.published_at)
        if minute < self.settled:
            return False
        self._tail.setdefault(minute, []).append(tagged)
        self._stale = self._stale or (self._ahead is not None and minute < self._ahead.told)
        return True

    @property
    def tail(self) -> Iterator[Tagged]:
        """The messages that are not final."""
        return chain.from_iterable(self._tail.values())

    @property
    def waiting(self) -> int:
        """How many messages are not final."""
        return sum(map(len, self._tail.values()))

    def due(self) -> datetime | None:
        """The watermark at which to advance next; None where nothing is open."""
        if not self._tail:
            return None
        closing = sorted(minute for minute in self._tail if minute + _MINUTE > self.watermark)
        self._behind = len(closing) > _BEHIND
        if self._behind:  # the last but one: a single time far ahead holds up nothing
            return closing[-2] + _MINUTE
        settling = min(self._tail) + _MINUTE + self._allowed
        return min(settling, closing[0] + _MINUTE) if closing else settling

    def sooner(self, tagged: Tagged, due: datetime) -> bool:
        """Whether a message that was added since makes something close before `due`."""
        end = minute_of(tagged.message.published_at) + _MINUTE
        return not self._behind and self.watermark < end < due

    def waits(self) -> float | None:
        """Seconds after which to `advance` again to the same watermark; None: no need to."""
        if not self._passed() or (self._ahead is not None and not self._stale):
            return None
        return max(self._rested - self._clock(), 0.0)

    def advance(self, watermark: datetime) -> Advance:
        """Closes what ends by `watermark`, and for good what ends `allowed` before. END: all."""
        self.watermark = max(self.watermark, watermark)
        return Advance(self._settle(), self._tell())

    def _settle(self) -> Outcome | None:
        end = self.watermark == END
        until = END if end else minute_of(max(self.watermark, _EARLIEST) - self._allowed)
        closed = sorted(minute for minute in self._tail if minute < until)
        if not closed and not end:
            return None
        if closed and self._ahead and closed[-1] >= self._ahead.told:
            self._ahead = None  # it has not seen them
        messages = [one for minute in closed for one in self._tail.pop(minute)]
        self.settled = until
        self._said = {row: said for row, said in self._said.items() if _start(said) >= until}
        return self.final.step(sorted(messages, key=_place), until)

    def _tell(self) -> Outcome | None:
        if not self._passed():
            return None
        until = minute_of(self.watermark)
        begun = self._clock()
        if (self._ahead is None or self._stale) and begun >= self._rested:
            self._ahead, self._stale = _Ahead(self.final.ahead(), self.settled), False
            found = self._ahead.step(self._tail, until)
            self._rested = begun + (self._clock() - begun) / _SHARE
        elif self._ahead is not None:
            found = self._ahead.step(self._tail, until)
        else:
            return None
        return self._changed(found)

    def _passed(self) -> bool:
        """Whether a minute of the tail has ended."""
        return any(minute + _MINUTE <= self.watermark for minute in self._tail)

    def _changed(self, found: Outcome) -> Outcome | None:
        """What was not said before; an hour of final minutes is the final watcher's to say."""
        windows = [one for one in found.windows if not one.final and self._says(_window(one), one)]
        minutes = [
            (minute, [one for one in spikes if self._says(one.id, one)])
            for minute, spikes in found.minutes
        ]
        if not windows and not any(spikes for _, spikes in minutes):
            return None
        return Outcome(windows=windows, minutes=minutes)

    def _says(self, row: Hashable, said: WindowStats | Spike) -> bool:
        if self._said.get(row) == said:
            return False
        self._said[row] = said
        return True


@dataclass
class _Ahead:
    """A copy of the final watcher that has gone on over the tail, to the minute `told`."""

    watcher: Watcher
    told: datetime

    def step(self, tail: Mapping[datetime, list[Tagged]], until: datetime) -> Outcome:
        minutes = sorted(minute for minute in tail if self.told <= minute < until)
        self.told = max(self.told, until)
        messages = [one for minute in minutes for one in tail[minute]]
        return self.watcher.step(sorted(messages, key=_place), until)


def _place(tagged: Tagged) -> tuple[datetime, str]:
    return tagged.message.published_at, tagged.message.id


def _window(stats: WindowStats) -> Hashable:
    return stats.key, stats.start, stats.seconds


def _start(said: WindowStats | Spike) -> datetime:
    """Of the last minute that a row speaks of."""
    return said.start if isinstance(said, WindowStats) else said.window_end - _MINUTE
