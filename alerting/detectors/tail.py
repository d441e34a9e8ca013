"""How surprising a count is: upper tails of the negative binomial, also for fractional counts.

Weighted counts (1/n per entity) are not integers; the tails are continued between integers through
the incomplete beta and gamma functions, with which they agree at integers.
"""

import math

from scipy.special import betainc, gammainc

_LEAST = 1e-290
"""Below this the functions lose digits, and the leading term of the tail takes over."""


def log10_tail(observed: float, mean: float, dispersion: float) -> float:
    """log10 P(X >= observed), X negative binomial with variance mean + dispersion * mean**2.

    `dispersion` 0 is Poisson. At most 0; 0 where nothing was observed or expected.
    """
    if observed <= 0 or mean <= 0:
        return 0.0
    if dispersion < 1e-6:
        tail = float(gammainc(observed, mean))
    else:
        size = 1.0 / dispersion
        tail = float(betainc(observed, size, mean / (mean + size)))
    if tail > _LEAST:
        return math.log10(tail)
    return _far_log10_tail(observed, mean, max(dispersion, 1e-6))


def _far_log10_tail(observed: float, mean: float, dispersion: float) -> float:
    """The first term of the tail times the geometric series that bounds the rest."""
    size = 1.0 / dispersion
    success = mean / (mean + size)
    first = (
        math.lgamma(observed + size)
        - math.lgamma(size)
        - math.lgamma(observed + 1)
        + size * math.log1p(-success)
        + observed * math.log(success)
    )
    ratio = min((observed + size) / (observed + 1) * success, 1 - 1e-9)
    return (first - math.log1p(-ratio)) / math.log(10)


def share_tail(part: float, whole: float, share: float, certainty: float) -> float:
    """P(at least `part` of `whole`), beta-binomial about `share` known as well as from `certainty`.

    The beta-binomial is taken as a binomial of the effective sample size whole / (1 + (whole - 1)
    / (certainty + 1)), which has its variance.
    """
    if part <= 0 or whole <= 0:
        return 1.0
    effective = 1.0 / (1.0 + max(whole - 1.0, 0.0) / (certainty + 1.0))
    return float(betainc(part * effective, (whole - part) * effective + 1.0, share))


def log_likelihood_ratio(observed: float, mean: float, factor: float, dispersion: float) -> float:
    """Of mean * factor against mean, negative binomial (Hoehle & Paul 2008, section 2.1)."""
    size = 1.0 / max(dispersion, 1e-6)
    return (observed + size) * math.log(
        (size + mean) / (size + factor * mean)
    ) + observed * math.log(factor)
