"""What is normal: a pooled profile of the week, a level for each key, and how far counts scatter.

A hierarchical Gamma-Poisson. The expectation of key k in a window is

    rate_k * (exposure of the window)

where exposure is time stretched by the profile (an hour at the busiest time of the week may be
worth three) and stands still while collection was down, and rate_k has a Gamma posterior with
forgetting whose prior is fitted to all keys of its group. Scatter beyond Poisson is the negative
binomial's dispersion, estimated by moments and shrunk to the group's.
"""

import math

import msgspec

WEEK = 168
_MONDAY = 72
"""1970-01-01 was a Thursday: adding 72 hours lets the week begin on Monday."""

SERIES = 3
"""New negative stories, negative repeats, new stories: the first three of `tally.FIELDS`."""

_VISIT_DECAY = 0.87
"""A cell of the profile is visited once a week; memory halves in five weeks."""

_POOLED_DISPERSION, _POOLED_WEIGHT, _OWN_WEIGHT = 0.5, 10.0, 30.0
_KNOWN, _KNOWN_HOURS = 5.0, 24.0
"""Counts and exposure that a key must have taught before its errors are taken for scatter and its
outbreaks for outbreaks."""

_MARKS = 30
"""Hours for which the clock can be read back: a day's window and some."""


class Profile(msgspec.Struct, array_like=True):
    """How busy each hour of the week (UTC) is, relative to the mean; flat until taught otherwise.

    Cells are shrunk to (hour of day x day of week), and those to flat.
    """

    sums: list[float] = msgspec.field(default_factory=lambda: [0.0] * WEEK)
    visits: list[float] = msgspec.field(default_factory=lambda: [0.0] * WEEK)
    cells: list[float] = msgspec.field(default_factory=lambda: [1.0] * WEEK)
    doubt: list[float] = msgspec.field(default_factory=lambda: [0.5] * WEEK)

    def at(self, hour: int) -> float:
        """Relative rate in an hour counted from the epoch."""
        return self.cells[(hour + _MONDAY) % WEEK]

    def doubt_at(self, hour: int) -> float:
        """Squared relative error of that rate, to be added to the dispersion."""
        return self.doubt[(hour + _MONDAY) % WEEK]

    def teach(self, hour: int, relative: float) -> None:
        """One complete hour's count over the count of a mean hour; outbreaks are cut."""
        cell = (hour + _MONDAY) % WEEK
        cut = min(relative, max(3.0 * self.cells[cell], 2.0))
        self.sums[cell] = self.sums[cell] * _VISIT_DECAY + cut
        self.visits[cell] = self.visits[cell] * _VISIT_DECAY + 1.0

    def refresh(self) -> None:
        """Recompute the cells from what was taught."""
        sums, visits = self.sums, self.visits
        hours = [sum(sums[h::24]) for h in range(24)]
        seen = [sum(visits[h::24]) for h in range(24)]
        daily = [(s + 1.0) / (n + 1.0) for s, n in zip(hours, seen, strict=True)]
        days = []
        for day in range(7):
            cells = range(day * 24, day * 24 + 24)
            expected = sum(visits[c] * daily[c % 24] for c in cells)
            days.append((sum(sums[day * 24 : day * 24 + 24]) + 12.0) / (expected + 12.0))
        raw = []
        for cell in range(WEEK):
            base = days[cell // 24] * daily[cell % 24]
            raw.append((sums[cell] + 2.0 * base) / (visits[cell] + 2.0))
            self.doubt[cell] = 0.5 / (1.0 + visits[cell] + 0.5 * seen[cell % 24]) ** 3
        smooth = [(raw[c - 1] + 4.0 * raw[c] + raw[(c + 1) % WEEK]) / 6.0 for c in range(WEEK)]
        mean = sum(smooth) / WEEK
        self.cells = [max(value / mean, 0.02) for value in smooth]


class Clock(msgspec.Struct, array_like=True):
    """Exposure since the stream began, in hours of mean activity; `marks` are hour starts.

    `missing` are minutes of the current hour in which collection was down.
    """

    now: int = 0
    reading: float = 0.0
    hour: int = 0
    marks: list[float] = msgspec.field(default_factory=list)

    def begin(self, minute: int) -> None:
        """Set the clock to the start of the hour of the first minute."""
        self.hour = minute // 60
        self.now = self.hour * 60
        self.marks = [0.0]

    def run(self, minute: int, rate: float) -> None:
        """Let time pass up to `minute`, which must be within the hour or its end."""
        self.reading += rate * (minute - self.now) / 60.0
        self.now = minute

    def ended(self) -> bool:
        """The hour is over; it stays the current one until `turn`, so its last minute can count."""
        return self.now == self.hour * 60 + 60

    def turn(self) -> None:
        """Begin the next hour."""
        self.hour += 1
        self.marks.append(self.reading)
        del self.marks[:-_MARKS]

    def at(self, minute: int) -> float:
        """The reading at the start of a past minute; at the oldest mark for what lies before."""
        back = self.hour - minute // 60
        if back >= len(self.marks):
            return self.marks[0]
        begin = self.marks[-1 - back]
        if back == 0:
            span, end = self.now - self.hour * 60, self.reading
        else:
            span, end = 60, self.marks[-back]
        into = minute % 60
        return begin + (end - begin) * into / span if into else begin


class Prior(msgspec.Struct, array_like=True):
    """A Gamma over the rates of the keys of a group, for each series: mean an hour, and shape."""

    means: list[float]
    shapes: list[float]


class Scatter(msgspec.Struct, array_like=True):
    """Moments of the dispersion for each series: excess variance over squared expectation."""

    excess: list[float] = msgspec.field(default_factory=lambda: [0.0] * SERIES)
    squares: list[float] = msgspec.field(default_factory=lambda: [0.0] * SERIES)

    def add(self, series: int, excess: float, squares: float) -> None:
        """One block's (n - m)**2 - m, and m**2."""
        self.excess[series] += excess
        self.squares[series] += squares

    def fade(self, factor: float) -> None:
        """Forget."""
        for series in range(SERIES):
            self.excess[series] *= factor
            self.squares[series] *= factor

    def dispersion(self, series: int, towards: float, weight: float) -> float:
        """Shrunk to `towards`, which counts as `weight` hours with a mean of one."""
        value = (self.excess[series] + weight * towards) / (self.squares[series] + weight)
        return min(max(value, 0.002), 4.0)


class Baseline(msgspec.Struct, array_like=True):
    """Counts and exposure that a key has taught, both with forgetting; `taught` the last day's.

    `read` is the clock at the start of the hour not yet taught.
    """

    read: float
    counts: list[float] = msgspec.field(default_factory=lambda: [0.0] * SERIES)
    exposure: list[float] = msgspec.field(default_factory=lambda: [0.0] * SERIES)
    scatter: Scatter = msgspec.field(default_factory=Scatter)
    taught: list[tuple[int, float, float, float]] = msgspec.field(default_factory=list)

    def rate(self, series: int, prior: Prior) -> float:
        """Posterior mean an hour of exposure."""
        shape = prior.shapes[series]
        return (shape + self.counts[series]) / (shape / prior.means[series] + self.exposure[series])

    def before(
        self, series: int, prior: Prior, hour: int, since: float, weight: float
    ) -> tuple[float, float]:
        """Posterior mean and shape from what lies before `hour`: a window must not teach itself.

        `since` is exposure from the window's start to what was last taught, `weight` what it
        counted for.
        """
        shape = prior.shapes[series]
        own = self.counts[series]
        for entry in self.taught:
            if entry[0] >= hour:
                own -= entry[1 + series]
        own = max(own, 0.0)
        exposure = max(self.exposure[series] - weight * max(since, 0.0), 0.0)
        return (shape + own) / (shape / prior.means[series] + exposure), shape + own

    def teach(
        self,
        hour: int,
        counts: tuple[float, ...],
        spans: tuple[float, float],
        prior: Prior,
        weights: list[float],
        pooled: Scatter,
        memory: float,
    ) -> None:
        """Learn an hour with `counts` and the empty time after it.

        `spans` are their exposures, `weights` how much each series counts (less while it is in
        alarm), `pooled` the group's scatter, which learns too, `memory` the half-life in exposure
        hours. Counts beyond three standard deviations are cut, so an outbreak does not become
        normal.
        """
        busy, empty = spans
        fade = 0.5 ** ((busy + empty) / memory)
        self.scatter.fade(fade)
        learnt = []
        for series in range(SERIES):
            rate, weight, count = self.rate(series, prior), weights[series], counts[series]
            mean = rate * busy
            if count > mean + 2.0 and self.exposure[series] >= _KNOWN_HOURS:
                spread = self.dispersion(series, pooled)
                count = min(count, mean + 3.0 * math.sqrt(mean + spread * mean * mean) + 2.0)
            known = self.counts[series] >= _KNOWN and self.exposure[series] >= _KNOWN_HOURS
            if known and weight == 1.0:
                idle = rate * empty
                idle_squares = idle * idle / max(empty, 1.0)
                excess = (count - mean) ** 2 - mean + idle_squares - idle
                squares = mean * mean + idle_squares
                self.scatter.add(series, excess, squares)
                pooled.add(series, excess, squares)
            learnt.append(weight * count)
            self.counts[series] = self.counts[series] * fade + weight * count
            self.exposure[series] = self.exposure[series] * fade + weight * (busy + empty)
        self.taught.append((hour, learnt[0], learnt[1], learnt[2]))
        while self.taught[0][0] < hour - 24:
            del self.taught[0]

    def dispersion(self, series: int, pooled: Scatter) -> float:
        """The key's own, shrunk to its group's."""
        towards = pooled.dispersion(series, _POOLED_DISPERSION, _POOLED_WEIGHT)
        return self.scatter.dispersion(series, towards, _OWN_WEIGHT)
