"""What the surge detector keeps for a key, for a group of keys, and for the stream."""

import math
import zlib
from collections.abc import Iterable

import msgspec

from alerting.detectors.baseline import (
    SERIES,
    Baseline,
    Clock,
    Prior,
    Profile,
    Scatter,
)
from alerting.detectors.tally import MASK, WIDTH, Sliding, scan_windows, unpack
from alerting.windows import MILLION, EvidenceRef

HISTORY_HOURS = 672
"""Four weeks."""

_EVIDENCE = 8
_SOURCES = 16
_NEW_NEGATIVE = 9
_STEP = math.log(1.05)


def _code(count: int) -> int:
    """A count in one byte: exact to 127, then in steps of 5 %."""
    return count if count < 128 else min(128 + round(math.log(count / 128) / _STEP), 255)


def _count(code: int) -> int:
    return code if code < 128 else round(128 * 1.05 ** (code - 128))


class Flow(msgspec.Struct, array_like=True):
    """Sliding sums and the baseline they are held against."""

    baseline: Baseline
    windows: list[Sliding] = msgspec.field(default_factory=scan_windows)

    def observed(self, scale: int, series: int) -> float:
        """Weighted count in the window of that scale."""
        return (self.windows[scale].total >> WIDTH * series & MASK) / MILLION

    def add(self, minute: int, packed: int) -> None:
        """Count in every window."""
        for window in self.windows:
            window.add(minute, packed)

    def untaught(self, hour: int) -> bool:
        """An hour before this one counted and has not been taught yet."""
        slots = self.windows[-1].slots
        return bool(slots) and slots[-1][0] < hour

    def catch_up(
        self, clock: Clock, pooled: Scatter, prior: Prior, weights: list[float], memory: float
    ) -> tuple[float, float]:
        """Teach the baseline the last hour that counted and the empty time since.

        Returns the exposures of both.
        """
        hour, packed = self.windows[-1].slots[-1]
        now = clock.at(clock.hour * 60)
        elapsed = max(now - self.baseline.read, 0.0)
        busy = min(clock.at(hour * 60 + 60) - clock.at(hour * 60) or elapsed, elapsed)
        counts = tuple((packed >> WIDTH * s & MASK) / MILLION for s in range(SERIES))
        spans = (busy, elapsed - busy)
        self.baseline.read = now
        self.baseline.teach(hour, counts, spans, prior, weights, pooled, memory)
        return spans


class Group(msgspec.Struct, array_like=True):
    """Keys that lend each other their prior. `market` sums them, each cut to what is usual for it,
    so that it follows what moves many keys and not what moves one."""

    prior: Prior
    market_prior: Prior
    market: Flow
    scatter: Scatter = msgspec.field(default_factory=Scatter)
    market_scatter: Scatter = msgspec.field(default_factory=Scatter)


class Episode(msgspec.Struct, array_like=True):
    """A key in alarm: minutes are from the epoch; `told` is the most surprise reported, `scale` the
    window that it opened at: longer ones would remember the burst when it is over."""

    opened: int
    above: int
    told_at: int
    told: float
    rank: int
    scale: int


class Drift(msgspec.Struct, array_like=True):
    """A cumulative sum of log-likelihood ratios since it last stood at zero."""

    score: float = 0.0
    since: int = 0
    observed: float = 0.0
    expected: float = 0.0


class KeyState(msgspec.Struct, array_like=True):
    """One key. `usual` is the most that it may add to its market within an hour, `rested`, for each
    kind, the first minute after the last episode."""

    flow: Flow
    seen: int
    usual: list[float]
    episodes: dict[str, Episode] = msgspec.field(default_factory=dict)
    rested: dict[str, int] = msgspec.field(default_factory=dict)
    drift: Drift = msgspec.field(default_factory=Drift)
    evidence: list[EvidenceRef] = msgspec.field(default_factory=list)
    sources: dict[str, int] = msgspec.field(default_factory=dict)
    history: bytearray = msgspec.field(default_factory=lambda: bytearray(HISTORY_HOURS))

    def remember(
        self, minute: int, sources: Iterable[str], evidence: tuple[EvidenceRef, ...]
    ) -> None:
        """Keep who spoke and which messages weigh, within bounds."""
        for source in sources:
            self.sources.pop(source, None)
            self.sources[source] = minute
        while len(self.sources) > _SOURCES:
            del self.sources[next(iter(self.sources))]
        if evidence:
            self.evidence.extend(evidence)
            del self.evidence[:-_EVIDENCE]
        self.seen = minute

    def write_history(self, hour: int) -> None:
        """File the last hour that counted, and zeros up to `hour`."""
        last, packed = self.flow.windows[-1].slots[-1]
        for empty in range(last + 1, min(hour, last + HISTORY_HOURS) + 1):
            self.history[empty % HISTORY_HOURS] = 0
        self.history[last % HISTORY_HOURS] = _code(unpack(packed)[_NEW_NEGATIVE])

    def same_hours(self, hour: int, born: int) -> dict[str, int]:
        """New negative stories in this hour one to four weeks ago, as far back as `born`."""
        weeks = [week for week in range(1, 5) if hour - 168 * week >= born]
        return {
            f"same_hour_{week}w": _count(self.history[(hour - 168 * week) % HISTORY_HOURS])
            for week in weeks
        }

    def counts(self, scale: int, start: int) -> dict[str, int]:
        """What a spike reports of the window."""
        values = unpack(self.flow.windows[scale].total)
        names = ("negative", "neutral", "positive", "abstained", "repeats", "repeats_negative")
        counted = dict(zip(names, values[3:9], strict=True))
        counted["sources"] = sum(minute >= start for minute in self.sources.values())
        counted["stories"] = values[10]
        return counted


class SurgeState(msgspec.Struct, array_like=True):
    """Everything the surge detector remembers. Minutes and hours count from the epoch, UTC.

    `broken`: the current hour is not complete, so it must not teach the profile. `active` is the
    number of keys that share the budget.
    """

    version: int
    configuration: str
    groups: dict[str, Group]
    minute: int = -1
    started: int = 0
    broken: bool = True
    refreshed: int = 0
    active: int = 0
    clock: Clock = msgspec.field(default_factory=Clock)
    profile: Profile = msgspec.field(default_factory=Profile)
    keys: dict[str, KeyState] = msgspec.field(default_factory=dict)


def checksum(payload: bytes) -> str:
    """A short identity of bytes that ship with the code."""
    return f"{zlib.crc32(payload):08x}"
