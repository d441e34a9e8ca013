import math

import numpy as np
import pytest

from alerting.detectors.baseline import Baseline, Clock, Prior, Profile, Scatter
from alerting.detectors.tally import FIELDS, Sliding, pack, unpack
from tests.alerting.streams import MONDAY, bucket

PRIOR = Prior([0.1, 0.1, 0.1], [0.5, 0.5, 0.5])
FULL = [1.0, 1.0, 1.0]


def taught(counts, hours=1):
    baseline, pooled = Baseline(0.0), Scatter()
    for hour, count in enumerate(counts):
        held = (float(count),) * 3
        baseline.teach(hour * hours, held, (1.0, hours - 1.0), PRIOR, FULL, pooled, 504.0)
    return baseline, pooled


def test_a_level_nears_the_rate_and_the_scatter_its_dispersion():
    rng = np.random.default_rng(1)
    counts = rng.poisson(20 * rng.gamma(1 / 0.3, 0.3, size=2000))
    baseline, pooled = taught(counts)
    assert baseline.rate(0, PRIOR) == pytest.approx(20, rel=0.1)
    assert baseline.dispersion(0, pooled) == pytest.approx(0.3, rel=0.35)


def test_an_outbreak_does_not_become_normal():
    quiet, _ = taught([2] * 500)
    struck, _ = taught([2] * 500 + [500] * 3)
    assert struck.rate(0, PRIOR) < 1.1 * quiet.rate(0, PRIOR)


def test_a_window_is_not_held_against_what_it_taught():
    baseline, _ = taught([2] * 300 + [9])
    rate, _ = baseline.before(0, PRIOR, hour=300, since=1.0, weight=1.0)
    before, _ = taught([2] * 300)
    assert rate == pytest.approx(before.rate(0, PRIOR), rel=0.002)


def test_an_unknown_key_is_taken_to_be_like_the_others():
    fresh = Baseline(0.0)
    assert fresh.rate(0, Prior([0.04] * 3, [2.0] * 3)) == pytest.approx(0.04)


def test_a_profile_finds_day_and_week():
    profile = Profile()

    def truth(hour: int) -> float:
        return (1 + 0.6 * math.sin(hour / 24 * 2 * math.pi)) * (0.5 if hour % 168 >= 120 else 1.2)

    first = int(MONDAY.timestamp()) // 3600
    for hour in range(8 * 168):
        profile.teach(first + hour, truth(hour))
    profile.refresh()
    errors = [profile.at(first + hour) / truth(hour) - 1 for hour in range(168)]
    assert sum(abs(error) for error in errors) / 168 < 0.05
    assert sum(profile.cells) == pytest.approx(168)


def test_a_young_profile_is_nearly_flat():
    profile = Profile()
    profile.teach(0, 3.0)
    profile.refresh()
    assert max(profile.cells) < 2.5
    assert min(profile.cells) > 0.8


def test_the_clock_reads_back_and_stands_still_where_time_is_missing():
    clock = Clock()
    clock.begin(600)
    clock.run(630, 2.0)
    clock.run(660, 2.0)
    assert clock.ended()
    clock.turn()
    clock.run(690, 0.0)
    clock.run(720, 1.0)
    clock.turn()
    assert clock.reading == pytest.approx(2.5)
    assert clock.at(615) == pytest.approx(0.5)
    assert clock.at(660) == pytest.approx(2.0)
    assert clock.at(720) == pytest.approx(2.5)


def test_packed_counts_come_out_as_they_went_in():
    stats = bucket("k", MONDAY, 3, 4, 5)
    counts = dict(zip(FIELDS, unpack(pack(stats)), strict=True))
    assert counts["weight_new_negative"] == stats.weight_new_negative
    assert (counts["negative"], counts["repeats"], counts["stories"]) == (8, 5, 7)
    assert counts["new_negative"] == 3


@pytest.mark.parametrize(("length", "step"), [(10, 1), (15, 3), (60, 6), (1440, 60)])
def test_a_sliding_sum_is_the_sum_since_its_start_also_after_a_round_trip(length, step):
    rng = np.random.default_rng(2)
    window, held = Sliding(length, step), {}
    for minute in sorted(rng.choice(5000, size=400, replace=False).tolist()):
        held[minute] = minute % 7
        window.add(minute, held[minute])
        since = window.start(minute)
        assert minute - length < since <= minute - length + step
        assert window.total == sum(n for at, n in held.items() if at >= since)
        window = Sliding.from_wire(window.wire())
