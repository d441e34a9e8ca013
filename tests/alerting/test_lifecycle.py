from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from alerting.errors import ConfigurationError, StateError
from alerting.lifecycle import Lifecycle, LifecycleSettings
from alerting.spike import Spike, spike_id

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def spike(at: datetime = NOON, **changes: object) -> Spike:
    key = str(changes.pop("key", "entity:A"))
    kind = str(changes.pop("kind", "negative_surge"))
    base = Spike(
        id=spike_id(key, kind, at, "c", "m"),
        key=key,
        kind=kind,
        phase="opening",
        window_start=at - HOUR,
        window_end=at,
        scale_seconds=3600,
        observed=12.0,
        expected=1.5,
        dispersion=0.1,
        log10_tail=-7.0,
        surprise=5.0,
        threshold=2.0,
        severity="medium",
        negative_share=0.8,
        expected_negative_share=0.2,
        counts={
            "negative": 12,
            "neutral": 3,
            "positive": 0,
            "abstained": 0,
            "repeats": 5,
            "repeats_negative": 4,
            "sources": 2,
            "stories": 10,
            "same_hour_1w": 1,
            "same_hour_2w": 0,
        },
        message_ids=(f"m{at:%H%M}",),
        configuration="c",
        model="m",
        final=True,
    )
    return msgspec.structs.replace(base, **changes)


def run(events, life=None):
    life = life or Lifecycle()
    state, changes = life.initial(), []
    for event in events:
        state, more = life.step(state, event)
        changes.extend(more)
    return state, changes


def test_a_spike_opens_an_alert_and_the_next_ones_update_it():
    _, changes = run([spike(), spike(NOON + HOUR), spike(NOON + 2 * HOUR)])
    assert [change.event for change in changes] == ["opened", "updated", "updated"]
    assert len({change.alert.id for change in changes}) == 1
    assert changes[-1].alert.spikes == 3


def test_each_key_and_kind_has_its_own_alert():
    events = [spike(), spike(key="entity:B"), spike(kind="volume")]
    _, changes = run(events)
    assert [change.event for change in changes] == ["opened"] * 3


def test_silence_resolves_by_event_time_however_the_time_is_told():
    every_minute = [NOON + timedelta(minutes=n) for n in range(600)]
    _, often = run([spike(), *every_minute])
    _, once = run([spike(), NOON + 10 * HOUR])
    assert [c.event for c in often] == ["opened", "resolved"]
    assert [msgspec.to_builtins(c) for c in often] == [msgspec.to_builtins(c) for c in once]
    assert often[1].occurred_at == often[1].alert.resolved_at == NOON + 4 * HOUR


def test_the_end_of_input_resolves_nothing():
    state, changes = run([spike(), NOON + 3 * HOUR])
    assert [change.event for change in changes] == ["opened"]
    assert len(state.open) == 1


def test_the_peak_is_kept_and_severity_never_falls():
    events = [
        spike(surprise=5.0, severity="medium"),
        spike(NOON + HOUR, surprise=9.0, observed=40.0, severity="critical"),
        spike(NOON + 2 * HOUR, surprise=3.0, observed=6.0, severity="low"),
    ]
    alert = run(events)[1][-1].alert
    assert (alert.severity, alert.peak_surprise, alert.peak_observed) == ("critical", 9.0, 40.0)
    assert alert.evidence["observed"] == 40.0
    assert set(alert.evidence["message_ids"]) == {"m1200", "m1300", "m1400"}
    assert alert.updated_at == NOON + 2 * HOUR


def test_evidence_holds_what_is_needed_to_judge():
    evidence = run([spike()])[1][0].alert.evidence
    assert evidence["amplification"] == 0.5
    assert evidence["same_hour_on_earlier_weeks"] == [1, 0]
    assert evidence["stories"] == 10
    assert evidence["sources"] == 2
    msgspec.json.encode(evidence)


def test_evidence_stays_bounded():
    events = [spike(NOON + n * HOUR) for n in range(60)]
    assert len(run(events)[1][-1].alert.evidence["message_ids"]) == 20


def test_after_an_alert_the_same_story_stays_quiet_unless_it_grows():
    again = NOON + 6 * HOUR
    _, changes = run([spike(), spike(again)])
    assert [change.event for change in changes] == ["opened", "resolved"]
    _, changes = run([spike(), spike(again, severity="high")])
    assert [change.event for change in changes] == ["opened", "resolved", "opened"]
    _, changes = run([spike(), spike(NOON + 30 * HOUR)])
    assert [change.event for change in changes] == ["opened", "resolved", "opened"]


def test_a_spike_sent_twice_changes_nothing():
    _, changes = run([spike(), spike()])
    assert changes[0].event_id == changes[1].event_id
    assert changes[1].alert.spikes == 1


def test_state_through_bytes_at_any_point_gives_the_same_changes():
    events = [
        spike(),
        NOON + HOUR,
        spike(NOON + 2 * HOUR),
        NOON + 9 * HOUR,
        spike(NOON + 11 * HOUR),
    ]
    life = Lifecycle()
    for cut in range(len(events)):
        state, changes = run(events[:cut], life)
        state = life.decode(life.encode(state))
        for event in events[cut:]:
            state, more = life.step(state, event)
            changes.extend(more)
        assert changes == run(events)[1]


def test_a_slow_drift_has_a_longer_quiet_period():
    _, changes = run([spike(kind="slow_drift"), NOON + 40 * HOUR])
    assert [change.event for change in changes] == ["opened"]


def test_state_of_another_version_or_rule_is_refused():
    life = Lifecycle()
    payload = life.encode(life.initial())
    with pytest.raises(StateError, match="replay"):
        Lifecycle(LifecycleSettings(quiet_hours=6)).decode(payload)
    with pytest.raises(StateError, match="replay"):
        life.decode(b"\xc1")


def test_a_quiet_period_shorter_than_the_detectors_reports_is_refused():
    with pytest.raises(ConfigurationError, match=r"0\.5"):
        LifecycleSettings(quiet_hours=0.5)
