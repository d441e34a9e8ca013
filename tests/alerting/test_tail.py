import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import nbinom, poisson

from alerting.detectors.tail import (
    _far_log10_tail,
    log10_tail,
    log_likelihood_ratio,
    share_tail,
)


@given(st.integers(1, 60), st.floats(0.01, 40), st.floats(0.01, 4))
def test_the_tail_is_the_negative_binomials_at_whole_counts(count, mean, dispersion):
    size = 1 / dispersion
    exact = nbinom.sf(count - 1, size, size / (size + mean))
    assert log10_tail(count, mean, dispersion) == pytest.approx(math.log10(exact), abs=1e-6)


@given(st.integers(1, 60), st.floats(0.01, 40))
def test_without_dispersion_it_is_poisson(count, mean):
    exact = math.log10(poisson.sf(count - 1, mean))
    assert log10_tail(count, mean, 0.0) == pytest.approx(exact, abs=1e-6)


@given(st.floats(0.1, 1e5), st.floats(0.01, 1e3), st.floats(0, 4), st.floats(1.01, 3))
def test_more_is_more_surprising_and_nothing_is_not(count, mean, dispersion, factor):
    less, more = (log10_tail(c, mean, dispersion) for c in (count, count * factor))
    assert more <= less + 1e-9
    assert less <= 0
    assert math.isfinite(more)
    assert log10_tail(0, mean, dispersion) == 0


@pytest.mark.parametrize(
    ("count", "mean", "dispersion"), [(150, 1, 0.1), (400, 5, 0.5), (80, 0.1, 0.01)]
)
def test_the_far_tail_continues_the_near_one(count, mean, dispersion):
    near = log10_tail(count, mean, dispersion)
    assert _far_log10_tail(count, mean, dispersion) == pytest.approx(near, rel=0.01)


def test_a_share_is_surprising_against_a_lower_one_only():
    assert share_tail(8, 10, 0.1, 50) < 0.001
    assert share_tail(1, 10, 0.1, 50) > 0.3
    assert share_tail(8, 10, 0.1, 1) > share_tail(8, 10, 0.1, 50)


def test_the_likelihood_ratio_favours_the_raised_rate_where_counts_are_raised():
    assert log_likelihood_ratio(20, 10, 2, 0.1) > 0
    assert log_likelihood_ratio(10, 10, 2, 0.1) < 0
    direct = nbinom.logpmf(7, 10, 10 / 20) - nbinom.logpmf(7, 10, 10 / 15)
    assert log_likelihood_ratio(7, 5, 2, 0.1) == pytest.approx(direct)
