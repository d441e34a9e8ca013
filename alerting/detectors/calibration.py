"""How often a quiet key would alarm: from the tail of the best window to false alarms a week.

Windows overlap and several scales are tried, so one window's tail says little about how often a
key alarms by chance. `python -m alerting.detectors.calibration` simulates quiet streams from the
fitted model and writes what came to `calibration.json`; `RunLength` reads and interpolates it.

A stream has a mean count an hour and a dispersion: each hour draws a Gamma factor (mean 1, variance
the dispersion) and each minute a Poisson count, which makes hours negative binomial. Every minute
with a count is held against the same scales, minimum count and rule for long scales as the
detector. Minutes whose tail beats a bound within QUIET_MINUTES of each other are one alarm. The
table holds a line through (bound, -log10 of the alarms a week that it gives).
"""

import math
from functools import cache
from importlib.resources import files

import msgspec
import numpy as np
from numpy.typing import NDArray

from alerting.detectors.tail import log10_tail

SCALES = (10, 15, 60, 240, 1440)
"""Minutes; the two longest are for sparse keys."""

LONG_SCALE = 3
LONG_SCALE_EXPECTED = 20.0
"""A long scale is used where less than this is expected in it."""

MINIMUM = 3.0
CLEARLY_MORE = 1.3
"""Windows below this multiple of the expectation are not looked at."""

QUIET_MINUTES = 240
MOST_OFTEN = 2.0
"""Alarms a week: a key that alarms oftener than this by chance is not what the table is for."""

MEANS = (-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5)
"""log10 of the mean count an hour."""

DISPERSIONS = (0.0, 0.1, 0.3, 1.0, 3.0)


class Table(msgspec.Struct, frozen=True):
    """`lines[mean][dispersion]`: intercept and slope of surprise over -log10 of the tail."""

    made_by: str
    weeks: int
    seed: int
    means: tuple[float, ...]
    dispersions: tuple[float, ...]
    lines: tuple[tuple[tuple[float, float], ...], ...]


class RunLength:
    """The calibration table, interpolated."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def surprise(self, stat: float, hourly: float, dispersion: float) -> float:
        """-log10 of the alarms a week that a quiet key would give if it alarmed at `stat`.

        `stat` is -log10 of the best window's tail, `hourly` the expected count an hour.
        """
        table = self._table
        row, across = _place(table.means, math.log10(max(hourly, 1e-9)))
        column, down = _place(table.dispersions, dispersion)
        upper, lower = table.lines[row], table.lines[row + 1]
        corners = (
            (upper[column], (1 - across) * (1 - down)),
            (upper[column + 1], (1 - across) * down),
            (lower[column], across * (1 - down)),
            (lower[column + 1], across * down),
        )
        return sum(weight * (line[0] + line[1] * stat) for line, weight in corners)


def _place(grid: tuple[float, ...], value: float) -> tuple[int, float]:
    """The cell of a grid and how far into it, held to the grid's ends."""
    inside = min(max(value, grid[0]), grid[-1])
    index = 0
    while index < len(grid) - 2 and inside > grid[index + 1]:
        index += 1
    return index, (inside - grid[index]) / (grid[index + 1] - grid[index])


def table_bytes() -> bytes:
    """The table that ships with the package."""
    return files("alerting.detectors").joinpath("calibration.json").read_bytes()


@cache
def shipped() -> RunLength:
    """The shipped table, read once."""
    return RunLength(msgspec.json.decode(table_bytes(), type=Table))


def alarm_peaks(
    mean: float, dispersion: float, weeks: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """The best -log10 tail of each alarm of one quiet stream, largest first, as many as needed."""
    minutes = weeks * 7 * 1440
    factors = np.ones(minutes // 60)
    if dispersion > 0:
        factors = rng.gamma(1 / dispersion, dispersion, size=minutes // 60)
    counts = rng.poisson(np.repeat(factors * (mean / 60), 60))
    at = np.flatnonzero(counts)
    sums = np.concatenate(([0], np.cumsum(counts)))
    best = np.zeros(len(at))
    for index, scale in enumerate(SCALES):
        expected = mean * scale / 60
        if index >= LONG_SCALE and expected > LONG_SCALE_EXPECTED:
            continue
        observed = sums[at + 1] - sums[np.maximum(at + 1 - scale, 0)]
        tails = {
            int(n): -log10_tail(float(n), expected, dispersion)
            for n in np.unique(observed)
            if n >= MINIMUM and n > CLEARLY_MORE * expected
        }
        lookup = np.zeros(int(observed.max(initial=0)) + 1)
        lookup[list(tails)] = list(tails.values())
        best = np.maximum(best, lookup[observed])
    return _peaks(at, best, round(MOST_OFTEN * weeks))


def _peaks(at: NDArray[np.int64], best: NDArray[np.float64], enough: int) -> NDArray[np.float64]:
    """Maxima that stand more than QUIET_MINUTES from any larger one, largest first."""
    peaks: list[float] = []
    held = np.full(int(at[-1]) // QUIET_MINUTES + 3, -10 * QUIET_MINUTES)
    for index in np.argsort(-best, kind="stable"):
        if best[index] <= 0 or len(peaks) == enough:
            break
        minute = int(at[index])
        block = minute // QUIET_MINUTES + 1
        if np.all(np.abs(minute - held[block - 1 : block + 2]) > QUIET_MINUTES):
            held[block] = minute
            peaks.append(float(best[index]))
    return np.asarray(peaks)


def line_of(peaks: NDArray[np.float64], weeks: int) -> tuple[float, float]:
    """Intercept and slope of -log10(alarms a week) over the bound, by least squares.

    The slope is held near one decade of rate for one of tail; counts are whole numbers, so streams
    with few of them give few distinct bounds, and the slope is then taken as one.
    """
    ranks = np.unique(np.round(np.geomspace(5, MOST_OFTEN * weeks, 30)).astype(int))
    ranks = ranks[ranks <= len(peaks)]
    if not len(ranks):
        return -math.log10(7 * 24 * len(SCALES)), 1.0
    surprise, bounds = -np.log10(ranks / weeks), peaks[ranks - 1]
    slope = 1.0
    if len(np.unique(bounds)) > 4:
        slope = float(np.clip(np.polyfit(bounds, surprise, 1)[0], 0.7, 1.1))
    intercept = float(np.mean(surprise - slope * bounds))
    return round(intercept, 4), round(slope, 4)


def _cell(mean: float, dispersion: float, weeks: int, seed: tuple[int, ...]) -> tuple[float, float]:
    return line_of(alarm_peaks(mean, dispersion, weeks, np.random.default_rng(seed)), weeks)


def simulate(weeks: int, seed: int) -> Table:
    """Every cell of the table from `weeks` weeks of its own stream; the seed decides it."""
    cells = [
        tuple(
            _cell(10**mean, dispersion, weeks, (seed, row, column))
            for column, dispersion in enumerate(DISPERSIONS)
        )
        for row, mean in enumerate(MEANS)
    ]
    return Table(
        made_by="python -m alerting.detectors.calibration",
        weeks=weeks,
        seed=seed,
        means=MEANS,
        dispersions=DISPERSIONS,
        lines=tuple(cells),
    )


def main() -> None:
    """Write `calibration.json` beside this file."""
    table = simulate(weeks=1000, seed=20240101)
    target = files("alerting.detectors").joinpath("calibration.json")
    with open(str(target), "wb") as out:
        out.write(msgspec.json.format(msgspec.json.encode(table), indent=1))


if __name__ == "__main__":
    main()
