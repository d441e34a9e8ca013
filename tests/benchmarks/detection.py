"""How soon bursts are found, and at what price in false alarms; and whether the budget is kept.

    python -m tests.benchmarks.detection

First a key with 60 to 180 new negative stories an hour (season of the day, hours scattered by a
Gamma factor of variance 0.03) gets a burst of three times for half an hour, every 25 hours of six
weeks after two weeks of history. Printed for Foreshock at several budgets, and for three baselines
at several thresholds: false alarms a week of the key, the share of bursts found within 10 and 30
minutes, and the median delay in minutes of those found. The baselines see the sum of the last 15
minutes, every minute: z-score against all sums so far, mean + k sigma over the last day, and EARS
C2 over seven 15-minute bins before a lag of two.

Then whole watch lists without a burst: alarms opened a week against the budget set.
"""

import statistics
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from alerting.detectors.surge import SurgeDetector, SurgeSettings
from alerting.windows import Minute
from tests.alerting.streams import MONDAY, daily, poisson

HISTORY_DAYS, TEST_DAYS = 14, 42
EVERY, LENGTH, FACTOR = 25 * 60, 30, 3.0
QUIET = 240
FIRST = HISTORY_DAYS * 1440 + 300
BURSTS = range(FIRST, (HISTORY_DAYS + TEST_DAYS) * 1440 - QUIET, EVERY)


def boosted(minute: int, _key: str) -> float:
    """The factor on the negatives of a minute."""
    return FACTOR if minute >= FIRST and (minute - FIRST) % EVERY < LENGTH else 1.0


def opened(alarms: Sequence[int]) -> list[int]:
    """Minutes in alarm to openings: one for each run without a quiet period."""
    return [m for i, m in enumerate(alarms) if i == 0 or m - alarms[i - 1] > QUIET]


def line(name: str, alarms: Sequence[int]) -> str:
    """False alarms a week, share found within 10 and 30 minutes, median delay."""
    delays: list[int] = []
    inside: set[int] = set()
    for burst in BURSTS:
        hits = [m for m in alarms if burst <= m < burst + LENGTH]
        inside.update(m for m in alarms if burst <= m < burst + LENGTH + QUIET)
        if hits:
            delays.append(hits[0] + 1 - burst)
    false = [m for m in opened(alarms) if m not in inside and m >= HISTORY_DAYS * 1440]
    soon = sum(delay <= 10 for delay in delays) / len(BURSTS)
    found = len(delays) / len(BURSTS)
    median = statistics.median(delays) if delays else float("nan")
    return f"{name:34} {len(false) * 7 / TEST_DAYS:8.2f} {soon:8.2f} {found:8.2f} {median:8.1f}"


def foreshock(budget: float) -> list[int]:
    """Minutes in which the key opened or went on with a negative surge."""
    detector = SurgeDetector(SurgeSettings(budget=budget))
    state = detector.initial()
    return [
        int((spike.window_end - MONDAY).total_seconds()) // 60 - 1
        for held in stream()
        for spike in detector.step(state, held)
        if spike.key == "entity:A" and spike.kind == "negative_surge"
    ]


def stream() -> Iterator[Minute]:
    """The key and its history."""
    days = HISTORY_DAYS + TEST_DAYS
    rates = {"entity:A": (120.0, 240.0)}
    return poisson(21, days, rates, season=daily, dispersion=0.03, boost=boosted)


def sums() -> NDArray[np.float64]:
    """New negative stories of the last 15 minutes, by minute."""
    counts = np.zeros((HISTORY_DAYS + TEST_DAYS) * 1440)
    for held in stream():
        at = int((held.start - MONDAY).total_seconds()) // 60
        counts[at] = held.stats["entity:A"].new_negative
    return np.convolve(counts, np.ones(15))[: len(counts)]


def zscore(values: NDArray[np.float64], k: float) -> list[int]:
    """Above mean + k sigma of everything before."""
    count = np.arange(1, len(values) + 1)
    mean = np.cumsum(values) / count
    sigma = np.sqrt(np.maximum(np.cumsum(values**2) / count - mean**2, 1e-9))
    return [int(m) for m in np.flatnonzero(values[1:] > (mean + k * sigma)[:-1]) + 1]


def moving(values: NDArray[np.float64], k: float) -> list[int]:
    """Above mean + k sigma of the last day."""
    last: deque[float] = deque(maxlen=1440)
    total = squares = 0.0
    alarms = []
    for minute, value in enumerate(values):
        if len(last) == 1440:
            mean = total / 1440
            sigma = max(squares / 1440 - mean * mean, 1e-9) ** 0.5
            if value > mean + k * sigma:
                alarms.append(minute)
            total, squares = total - last[0], squares - last[0] ** 2
        last.append(value)
        total, squares = total + value, squares + value * value
    return alarms


def ears(values: NDArray[np.float64], k: float) -> list[int]:
    """EARS C2 on 15-minute bins: seven bins of baseline before a lag of two (Fricker 2008)."""
    alarms = []
    for minute in range(150, len(values)):
        base = values[minute - 135 : minute - 30 : 15]
        if values[minute] > base.mean() + k * max(float(base.std(ddof=1)), 0.5):
            alarms.append(minute)
    return alarms


def realised(budget: float, keys: int, least: float, ratio: float, dispersion: float) -> str:
    """Alarms a week of a quiet list of keys from `least` negatives an hour up."""
    rates = {f"entity:{n:02d}": (least * ratio**n, 2 * least * ratio**n) for n in range(keys)}
    detector = SurgeDetector(SurgeSettings(budget=budget))
    state = detector.initial()
    weeks = 8
    minutes = poisson(31, 14 + 7 * weeks, rates, season=daily, dispersion=dispersion, repeats=0.8)
    first = MONDAY + timedelta(days=14)
    alarms = sum(
        spike.phase == "opening" and spike.window_end > first
        for held in minutes
        for spike in detector.step(state, held)
    )
    return (
        f"{keys} keys of {least} to {least * ratio ** (keys - 1):.3g} an hour, "
        f"dispersion {dispersion}: {alarms / weeks:.1f} a week at a budget of {budget}"
    )


def main() -> None:
    """Print both tables."""
    print(f"{'':34} {'false/wk':>8} {'in 10':>8} {'in 30':>8} {'delay':>8}")
    for budget in (0.5, 2.0, 7.0, 20.0):
        print(line(f"foreshock, budget {budget}", foreshock(budget)), flush=True)
    values = sums()
    baselines: tuple[tuple[str, Callable[[NDArray[np.float64], float], list[int]]], ...] = (
        ("z-score", zscore),
        ("mean + k sigma of the last day", moving),
        ("EARS C2", ears),
    )
    for name, method in baselines:
        for k in (2.0, 3.0, 4.0, 6.0):
            print(line(f"{name}, k {k}", method(values, k)), flush=True)
    for budget, keys, least, ratio, dispersion in (
        (10.0, 20, 0.05, 1.35, 0.2),
        (10.0, 30, 0.04, 1.0, 0.0),
        (10.0, 3, 20.0, 1.0, 0.1),
        (2.0, 10, 2.0, 1.2, 0.1),
    ):
        print(realised(budget, keys, least, ratio, dispersion), flush=True)


if __name__ == "__main__":
    main()
