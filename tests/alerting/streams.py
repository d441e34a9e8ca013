"""Streams of minutes with known rates, for the tests of the detectors."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

import numpy as np

from alerting.windows import MILLION, EvidenceRef, Minute, WindowStats

MONDAY = datetime(2024, 1, 1, tzinfo=UTC)
Counts = Mapping[str, tuple[int, int]]
"""New negative and new neutral stories by key."""


def bucket(key: str, start: datetime, negative: int, neutral: int, repeats: int = 0) -> WindowStats:
    """A bucket of messages of full weight; the repeats are negative."""
    return WindowStats(
        key=key,
        start=start,
        seconds=60,
        messages=negative + neutral + repeats,
        negative=negative + repeats,
        neutral=neutral,
        new_negative=negative,
        new_neutral=neutral,
        repeats=repeats,
        repeats_negative=repeats,
        weight_new=(negative + neutral) * MILLION,
        weight_new_negative=negative * MILLION,
        weight_repeats=repeats * MILLION,
        weight_repeats_negative=repeats * MILLION,
        sources=1,
    )


def minute(start: datetime, counts: Counts, repeats: Mapping[str, int] | None = None) -> Minute:
    """One minute with these counts; its negative stories are its evidence."""
    repeated = repeats or {}
    stats = {key: bucket(key, start, *counts[key], repeated.get(key, 0)) for key in sorted(counts)}
    return Minute(
        start=start,
        stats=stats,
        evidence={
            key: tuple(
                EvidenceRef(f"{key}/{start:%m%d%H%M}/{n}", start, MILLION, 0.9)
                for n in range(min(counts[key][0], 5))
            )
            for key in stats
        },
        sources=dict.fromkeys(stats, ("wire",)),
    )


def with_overall(counts: Counts) -> dict[str, tuple[int, int]]:
    """The entities' counts and their sum."""
    total = tuple(sum(pair[i] for pair in counts.values()) for i in (0, 1))
    return {**counts, "overall": (total[0], total[1])}


def level(_: int) -> float:
    """No season."""
    return 1.0


def daily(minute_of_stream: int) -> float:
    """Three times as busy at the day's peak as at its trough."""
    return 1.0 + 0.5 * float(np.sin(2 * np.pi * minute_of_stream / 1440))


def poisson(
    seed: int,
    days: float,
    rates: Mapping[str, tuple[float, float]],
    *,
    start: datetime = MONDAY,
    season: Callable[[int], float] = level,
    dispersion: float = 0.0,
    boost: Callable[[int, str], float] = lambda _minute, _key: 1.0,
    repeats: float = 0.0,
) -> Iterator[Minute]:
    """Entities with negative and neutral stories an hour; each hour draws a Gamma factor.

    `boost` multiplies the negatives of a key in a minute, `repeats` is how many negative repeats
    there are for a negative story. Minutes in which nothing came are left out.
    """
    rng = np.random.default_rng(seed)
    keys = sorted(rates)
    hourly = np.array([(*rates[key], rates[key][0] * repeats) for key in keys]) / 60
    for hour in range(int(days * 24)):
        factors = np.ones((len(keys), 1))
        if dispersion:
            factors = rng.gamma(1 / dispersion, dispersion, size=(len(keys), 1))
        for offset in range(60):
            at = hour * 60 + offset
            lift = np.array([[boost(at, key), 1.0, 1.0] for key in keys])
            drawn = rng.poisson(hourly * factors * lift * season(at))
            counts = {
                key: (int(row[0]), int(row[1]))
                for key, row in zip(keys, drawn, strict=True)
                if row.any()
            }
            if counts:
                repeated = {key: int(drawn[keys.index(key), 2]) for key in counts}
                repeated["overall"] = int(drawn[:, 2].sum())
                yield minute(start + timedelta(minutes=at), with_overall(counts), repeated)
