"""The report's words: numbers, times and alerts as a person would say them. Times are UTC."""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from alerting.spike import SEVERITIES

_KINDS = ("volume", "amplification", "slow_drift", "negative_surge")

_TITLES = {
    "negative_surge": "Negative surge on {}",
    "amplification": "Repeats of negative news on {}",
    "volume": "Unusual volume on {}",
    "slow_drift": "Slow negative drift on {}",
}

_COUNTED = {
    "negative_surge": ("new negative story", "new negative stories"),
    "amplification": ("repeat of negative stories", "repeats of negative stories"),
    "volume": ("new story", "new stories"),
    "slow_drift": ("new negative story", "new negative stories"),
}

_SCALES = ((10**12, "trillion"), (10**9, "billion"), (10**6, "million"))


def number(value: float) -> str:
    """`12,940`, `14`, `0.8`, `0.03`: as many digits as a reader can use."""
    if value == 0 or abs(value) >= 100 or float(value).is_integer():
        return f"{value:,.0f}"
    if abs(value) >= 0.1:
        return f"{value:,.1f}".removesuffix(".0")
    return f"{value:.2f}" if abs(value) >= 0.005 else "under 0.01"


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 alert`, `2 alerts`."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def percent(share: float | None) -> str:
    """`34 %`; a dash where there is nothing to share."""
    return "–" if share is None else f"{100 * share:.0f} %"


def day(moment: datetime) -> str:
    """`30 Jan 2014`."""
    return f"{moment.day} {moment:%b %Y}"


def time(moment: datetime) -> str:
    """`30 Jan 2014, 21:05 UTC`."""
    return f"{day(moment)}, {moment:%H:%M} UTC"


def duration(seconds: float) -> str:
    """`15 min`, `1 h`, `2 h 30 min`, `3 days`."""
    minutes = round(seconds / 60)
    hours, rest = divmod(minutes, 60)
    if minutes < 60:
        return f"{minutes} min"
    if hours >= 48:
        return plural(round(hours / 24), "day")
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def chance(log10_tail: float) -> str:
    """How rare the count is, from log10 of its tail probability under the baseline."""
    if log10_tail > -1:
        return "not rare by itself"
    if log10_tail <= -15:
        return "by chance in less than one of a thousand trillion such windows"
    return f"by chance in about one of {_round_words(10**-log10_tail)} such windows"


def weight(alert: Mapping[str, Any]) -> tuple[int, int, float]:
    """Orders alerts by how much they ask for a look: fresh negative news, severity, surprise."""
    kind, severity = _KINDS.index(alert["kind"]), SEVERITIES.index(alert["severity"])
    return kind, severity, alert["peak_surprise"]


def title(alert: Mapping[str, Any], name: str) -> str:
    """`Negative surge on Amazon`."""
    return _TITLES[alert["kind"]].format(name)


def counted(kind: str, count: float = 2) -> str:
    """What an alert of this kind counts, as `new negative stories`."""
    return _COUNTED[kind][count != 1]


def against(alert: Mapping[str, Any], seconds: int | None) -> str:
    """`14 new negative stories in 1 h against 0.8 expected`."""
    observed = alert["peak_observed"]
    window = f" in {duration(seconds)}" if seconds else ""
    return (
        f"{number(observed)} {counted(alert['kind'], observed)}{window}"
        f" against {number(alert['expected_at_peak'])} expected"
    )


def _round_words(count: float) -> str:
    for unit, word in _SCALES:
        if count >= unit:
            return f"{_one_digit(count / unit):,.0f} {word}"
    return f"{_one_digit(count):,.0f}"


def _one_digit(value: float) -> float:
    step = 10.0 ** math.floor(math.log10(value))
    return round(value / step) * step
