"""What every detector of minutes promises, and what the surge detector finds and lets pass."""

import itertools
from collections.abc import Iterable
from datetime import timedelta
from functools import cache

import msgspec
import pytest

from alerting.detectors.surge import SurgeDetector, SurgeSettings
from alerting.errors import ConfigurationError, StateError
from alerting.spike import Spike
from alerting.windows import Minute
from tests.alerting.streams import MONDAY, daily, minute, poisson, with_overall

BUSY = {"entity:A": (30.0, 60.0), "entity:B": (30.0, 60.0)}
SPARSE = {f"entity:{n:02d}": (0.04, 0.4) for n in range(30)}


def feed(detector: SurgeDetector, state, minutes: Iterable[Minute]) -> list[Spike]:
    return [spike for held in minutes for spike in detector.step(state, held)]


@cache
def quiet_minutes() -> list[Minute]:
    """Nine days with a surge of A on the eighth."""
    surge = range(7 * 1440 + 600, 7 * 1440 + 660)
    rates = {"entity:A": (2.0, 6.0), "entity:B": (1.0, 4.0), "entity:C": (0.1, 0.5)}
    return list(
        poisson(
            1,
            9,
            rates,
            season=daily,
            boost=lambda m, k: 25.0 if m in surge and k == "entity:A" else 1.0,
        )
    )


@cache
def reference_spikes() -> list[Spike]:
    detector = SurgeDetector()
    return feed(detector, detector.initial(), quiet_minutes())


def test_the_reference_stream_has_a_surge_and_it_is_found_in_minutes():
    found = [s for s in reference_spikes() if s.key == "entity:A" and s.kind == "negative_surge"]
    assert found[0].phase == "opening"
    assert found[0].window_end < MONDAY + timedelta(days=7, minutes=615)
    assert "critical" in {spike.severity for spike in found}


@pytest.mark.parametrize("share", [0.3, 0.81, 0.95])
def test_a_cut_stream_gives_the_same_spikes_up_to_the_cut(share):
    minutes = quiet_minutes()[: int(share * len(quiet_minutes()))]
    detector = SurgeDetector()
    spikes = feed(detector, detector.initial(), minutes)
    assert spikes == reference_spikes()[: len(spikes)]
    end = minutes[-1].start + timedelta(minutes=1)
    assert len(spikes) == sum(spike.window_end <= end for spike in reference_spikes())


def test_state_through_bytes_at_many_points_gives_the_same_spikes():
    detector, spikes = SurgeDetector(), []
    state = detector.initial()
    for index, held in enumerate(quiet_minutes()):
        if index % 701 == 0 or 0 <= index - 5900 < 40:
            state = detector.decode(detector.encode(state))
        spikes.extend(detector.step(state, held))
    assert spikes == reference_spikes()


def test_the_order_of_keys_in_a_minute_does_not_matter():
    detector = SurgeDetector()
    turned = (
        msgspec.structs.replace(m, stats=dict(reversed(m.stats.items()))) for m in quiet_minutes()
    )
    assert feed(detector, detector.initial(), turned) == reference_spikes()


def test_ids_are_a_function_of_input_configuration_and_model():
    minutes = quiet_minutes()
    for detector, same in (
        (SurgeDetector(), True),
        (SurgeDetector(model="other"), False),
        (SurgeDetector(SurgeSettings(budget="more")), False),
    ):
        spikes = feed(detector, detector.initial(), minutes)
        ids = {spike.id for spike in spikes}
        assert len(ids) == len(spikes)
        assert (ids == {spike.id for spike in reference_spikes()}) is same


def test_state_for_a_key_stays_below_four_kilobytes_at_a_thousand_messages_a_minute():
    detector = SurgeDetector()
    state = detector.initial()
    for held in itertools.islice(poisson(2, 2, {"entity:A": (12_000.0, 48_000.0)}), 1700):
        detector.step(state, held)
    whole = len(detector.encode(state))
    state.keys.clear()
    assert (whole - len(detector.encode(state))) / 2 < 4096


def test_a_key_long_silent_is_forgotten():
    detector = SurgeDetector(SurgeSettings(expiry_days=2))
    state = detector.initial()
    detector.step(state, minute(MONDAY, with_overall({"entity:A": (1, 0)})))
    for hour in range(1, 80):
        detector.step(state, minute(MONDAY + timedelta(hours=hour), {"overall": (1, 0)}))
    assert "entity:A" not in state.keys


def test_a_minute_out_of_order_is_refused():
    detector = SurgeDetector()
    state = detector.initial()
    detector.step(state, minute(MONDAY, {"overall": (1, 0)}))
    with pytest.raises(StateError, match="in order"):
        detector.step(state, minute(MONDAY, {"overall": (1, 0)}))


@pytest.mark.parametrize("payload", [b"", b"\xc1", b"\x93\x63\xa1x\x80", b"\x01"])
def test_bytes_that_are_no_state_of_this_version_are_refused(payload):
    with pytest.raises(StateError, match="replay"):
        SurgeDetector().decode(payload)


def test_state_of_another_configuration_is_refused():
    detector = SurgeDetector()
    payload = detector.encode(detector.initial())
    with pytest.raises(StateError, match="configuration"):
        SurgeDetector(SurgeSettings(confusion=0.1)).decode(payload)


@pytest.mark.parametrize(
    "setting", [{"budget": "plenty"}, {"budget": 0.0}, {"confusion": 0.9}, {"refresh_minutes": 999}]
)
def test_settings_out_of_bounds_are_refused_by_name(setting):
    with pytest.raises(ConfigurationError, match=next(iter(setting))):
        SurgeSettings(**setting)


# what is found


@cache
def busy_state(budget: str = "balanced") -> bytes:
    """Two weeks of two entities with 60 negatives an hour between them."""
    detector = SurgeDetector(SurgeSettings(budget=budget))
    state = detector.initial()
    feed(detector, state, poisson(3, 14, BUSY))
    return detector.encode(state)


def test_a_burst_of_three_times_for_half_an_hour_is_found_within_ten_minutes():
    detector = SurgeDetector(SurgeSettings(budget="more"))
    found = 0
    for trial in range(20):
        start = MONDAY + timedelta(days=14)
        stream = poisson(
            100 + trial, 2 / 24, BUSY, start=start, boost=lambda m, _: 3.0 if m >= 60 else 1.0
        )
        spikes = feed(detector, detector.decode(busy_state("more")), stream)
        burst, found_by = start + timedelta(minutes=60), start + timedelta(minutes=70)
        found += any(
            s.key == "overall" and s.kind == "negative_surge" and burst < s.window_end <= found_by
            for s in spikes
        )
    assert found >= 18


@cache
def sparse_state() -> bytes:
    """Three weeks of thirty entities with one negative a day each."""
    detector = SurgeDetector()
    state = detector.initial()
    feed(detector, state, poisson(4, 21, SPARSE))
    return detector.encode(state)


def after_sparse(added: int, minutes: int, key: str = "entity:07") -> list[Spike]:
    """The key's spikes where so many negative stories come, evenly, in so many minutes."""
    detector = SurgeDetector()
    state = detector.decode(sparse_state())
    start = MONDAY + timedelta(days=21)
    others = {name: rates for name, rates in SPARSE.items() if name != key}
    background = {
        held.start: {k: (s.new_negative, s.new_neutral) for k, s in held.stats.items()}
        for held in poisson(50, 1, others, start=start)
    }
    for at in {start + timedelta(minutes=minutes * n // added) for n in range(added)}:
        background.setdefault(at, {})[key] = (1, 0)
    stream = []
    for at in sorted(background):
        background[at].pop("overall", None)
        stream.append(minute(at, with_overall(background[at])))
    return [spike for spike in feed(detector, state, stream) if spike.key == key]


@pytest.mark.parametrize("added", [10, 20])
def test_ten_more_negatives_in_an_hour_are_found_at_a_key_with_one_a_day(added):
    assert any(s.kind == "negative_surge" for s in after_sparse(added, 60))


def test_a_key_with_one_a_day_does_not_alarm_at_its_third_negative():
    assert after_sparse(3, 60) == []
    assert after_sparse(3, 1200) == []


def test_a_new_key_does_not_alarm_at_its_third_negative_and_does_at_its_twentieth():
    assert after_sparse(3, 60, key="entity:new") == []
    assert any(s.kind == "negative_surge" for s in after_sparse(20, 60, key="entity:new"))


def test_a_shock_to_all_keys_is_an_alert_of_the_whole_and_not_of_each():
    detector = SurgeDetector()
    state = detector.decode(sparse_state())
    start = MONDAY + timedelta(days=21)
    shock = poisson(5, 0.25, SPARSE, start=start, boost=lambda m, _: 40.0 if m >= 120 else 1.0)
    spikes = [s for s in feed(detector, state, shock) if s.kind == "negative_surge"]
    assert "overall" in {spike.key for spike in spikes}
    assert len({spike.key for spike in spikes} - {"overall"}) <= 3


def test_neutral_volume_is_a_volume_alert_and_no_negative_surge():
    detector = SurgeDetector()
    state = detector.decode(sparse_state())
    start = MONDAY + timedelta(days=21)
    spikes = []
    for n in range(60):
        negative = 1 if n % 20 == 19 else 0
        counts = with_overall({"entity:07": (negative, 1 - negative)})
        spikes.extend(detector.step(state, minute(start + timedelta(minutes=n), counts)))
    assert {s.kind for s in spikes if s.key == "entity:07"} == {"volume"}


def test_repeats_of_a_negative_story_are_amplification():
    detector = SurgeDetector()
    state = detector.decode(sparse_state())
    start = MONDAY + timedelta(days=21)
    spikes = []
    for n in range(40):
        both = {"entity:07": 1, "overall": 1}
        held = minute(start + timedelta(minutes=n), dict.fromkeys(both, (0, 0)), both)
        spikes.extend(detector.step(state, held))
    assert {s.kind for s in spikes if s.key == "entity:07"} == {"amplification"}


def test_a_rate_doubled_for_days_is_a_slow_drift():
    detector = SurgeDetector()
    state = detector.decode(busy_state())
    start = MONDAY + timedelta(days=14)
    raised = poisson(6, 2, BUSY, start=start, boost=lambda _m, _k: 2.0)
    assert any(s.kind == "slow_drift" and s.key == "overall" for s in feed(detector, state, raised))


def test_a_lasting_surge_reports_at_least_once_an_hour_and_not_every_minute():
    detector = SurgeDetector()
    state = detector.decode(busy_state())
    start = MONDAY + timedelta(days=14)
    surge = poisson(7, 0.25, BUSY, start=start, boost=lambda _m, _k: 5.0)
    ends = [
        s.window_end
        for s in feed(detector, state, surge)
        if s.key == "overall" and s.kind == "negative_surge"
    ]
    assert len(ends) <= 20
    assert max(b - a for a, b in itertools.pairwise(ends)) <= timedelta(minutes=62)


def test_a_gap_in_collection_teaches_nothing():
    detector = SurgeDetector()
    with_gap, without = detector.decode(busy_state()), detector.decode(busy_state())
    start = MONDAY + timedelta(days=14)
    feed(detector, with_gap, poisson(8, 1, BUSY, start=start + timedelta(days=2)))
    feed(detector, without, poisson(8, 1, BUSY, start=start))
    key = "overall"
    exposure = [s.keys[key].flow.baseline.exposure[0] for s in (with_gap, without)]
    assert exposure[0] == pytest.approx(exposure[1], rel=0.01)


def test_the_start_of_a_stream_is_silent():
    detector = SurgeDetector()
    assert feed(detector, detector.initial(), poisson(9, 3, BUSY, season=daily)) == []


def test_false_alarms_stay_near_the_budget():
    """Four weeks of twelve keys, with season and scatter, at 15 false alarms a week."""
    rates = {f"entity:{n:02d}": (0.1 * 1.4**n, 0.2 * 1.4**n) for n in range(12)}
    detector = SurgeDetector(SurgeSettings(budget=15.0))
    stream = poisson(10, 28, rates, season=daily, dispersion=0.2, repeats=0.5)
    spikes = feed(detector, detector.initial(), stream)
    first = MONDAY + timedelta(days=14)
    opened = [s for s in spikes if s.phase == "opening" and s.window_end > first]
    assert 0.4 * 15 <= len(opened) / 2 <= 1.5 * 15
