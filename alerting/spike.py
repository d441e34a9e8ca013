"""A spike: one window in which a key was beyond what is normal for it."""

import hashlib
from datetime import datetime

import msgspec

KINDS = ("negative_surge", "amplification", "volume", "slow_drift")
SEVERITIES = ("low", "medium", "high", "critical")


class Spike(msgspec.Struct, frozen=True, kw_only=True):
    """What a detector says of one window of one key. Times are UTC, `window_end` is exclusive.

    `observed` and `expected` are weighted counts in the window; `dispersion` is 1/size of the
    negative binomial (variance = mean + dispersion * mean**2); `log10_tail` is log10 of the
    window's upper tail. `surprise` is -log10 of how many false alarms a week this key would give
    if it alarmed at this tail, `threshold` the same for the key's share of the budget.
    `counts` may hold `same_hour_1w` .. `same_hour_4w`: new negative stories one to four weeks ago
    in the hour of the week that the window ends in (above 127 to within 3 %).
    """

    schema: int = 1
    id: str
    key: str
    kind: str
    phase: str
    window_start: datetime
    window_end: datetime
    scale_seconds: int
    observed: float
    expected: float
    dispersion: float
    log10_tail: float
    surprise: float
    threshold: float
    severity: str
    negative_share: float
    expected_negative_share: float
    counts: dict[str, int]
    message_ids: tuple[str, ...]
    configuration: str
    model: str
    final: bool


def identity(*parts: str) -> str:
    """An id of 24 hexadecimal digits that is a function of its parts and their order."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:24]


def spike_id(key: str, kind: str, window_end: datetime, configuration: str, model: str) -> str:
    """The same for the provisional and the final spike of a window, so the final one replaces."""
    return identity("spike", key, kind, window_end.isoformat(), configuration, model)
