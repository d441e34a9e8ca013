"""Nobody is told twice, too often or at the wrong time; nothing is left out without a record."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.alert import Alert
from alerting.errors import StateError
from alerting.routing import (
    Filed,
    Known,
    Outcome,
    Router,
    RoutingState,
    decode,
    encode,
)
from alerting.rules import Rules, parse
from alerting.silence import Silence
from alerting.spike import SEVERITIES
from tests.alerting.test_lifecycle import run, spike

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
FILE = """
rules = [{name = "all", route = "desk"}]
[people.jane]
email = "jane@example.org"
[people.bob]
email = "bob@example.org"
[people.eve]
hook = "https://example.org/eve"
"""
FIRST: Alert = run([spike()])[1][0].alert


def router(**route: Any) -> Router:
    whole: dict[str, Any] = msgspec.toml.decode(FILE)
    whole["routes"] = {"desk": {"to": ["jane"], **route}}
    return Router(msgspec.convert(whole, Rules), "v1")


def filed(number: int, event: str = "opened", alert: str = "a", **changes: Any) -> Filed:
    shown = msgspec.structs.replace(FIRST, id=alert, **changes)
    return Filed(event_id=f"{alert}{number}", event=event, occurred_at=NOON, alert=shown)


def told(outcome: Outcome) -> list[tuple[str, str, int]]:
    """Event, recipient and step of each notification."""
    return [(one.event, one.recipient, one.step) for one in outcome.notifications]


def whys(outcome: Outcome) -> list[str]:
    return [one["why"] for entry in outcome.entries for one in entry.details["held"]]


def open_still(alert_id: str) -> Known:
    alert = msgspec.structs.replace(FIRST, id=alert_id)
    return Known(alert=alert, acknowledged=False, over=False)


def test_an_alert_is_told_when_it_opens_grows_worse_and_ends() -> None:
    one, state = router(), RoutingState()
    events = [
        filed(1),
        filed(2, "updated"),
        filed(3, "updated", severity="critical"),
        filed(4, "revised", severity="critical"),
        filed(5, "resolved", severity="critical", state="resolved"),
        filed(6, "resolved", severity="critical", state="resolved"),
    ]
    outcomes = [one.route(state, event, (), NOON) for event in events]
    assert [told(outcome) for outcome in outcomes] == [
        [("opened", "jane@example.org", 0)],
        [],
        [("updated", "jane@example.org", 0)],
        [],
        [("resolved", "jane@example.org", 0)],
        [],
    ]
    assert [whys(outcome) for outcome in outcomes] == [
        [],
        ["no-news"],
        [],
        ["no-news"],
        [],
        ["no-news"],
    ]
    assert all(len(outcome.entries) == 1 for outcome in outcomes)
    assert state == RoutingState()


def test_what_no_rule_asks_for_is_recorded_as_told_to_nobody() -> None:
    whole = router()
    none = Router(msgspec.structs.replace(whole.rules, rules=()), "v1")
    (entry,) = none.route(RoutingState(), filed(1), (), NOON).entries
    assert entry.event == "routed"
    assert entry.details == {"of": "a1", "met": [], "told": [], "held": [], "rules": "v1"}


def test_quiet_hours_hold_back_and_give_one_digest_in_the_morning() -> None:
    one, state = router(quiet={"start": "22:00", "end": "07:00"}), RoutingState()
    night = NOON.replace(hour=23)
    for number, alert in enumerate("ab"):
        outcome = one.route(state, filed(number, alert=alert), (), night)
        assert (told(outcome), whys(outcome)) == ([], ["quiet-hours"])
    urgent = one.route(state, filed(1, alert="c", severity="critical"), (), night)
    assert told(urgent) == [("opened", "jane@example.org", 0)]
    morning = night + timedelta(hours=8)
    assert state.due() == morning
    assert one.tick(state, open_still, morning - MINUTE) == Outcome()
    outcome = one.tick(state, open_still, morning)
    (digest,) = outcome.notifications
    assert (digest.event, [held.event_id for held in digest.held]) == ("digest", ["a0", "b1"])
    assert [entry.event for entry in outcome.entries] == ["digest"]
    assert digest.event_id == outcome.entries[0].event_id
    assert state.boxes == {}


def test_one_alone_that_was_held_back_is_told_as_what_it_is() -> None:
    one, state = router(wait_seconds=30), RoutingState()
    assert whys(one.route(state, filed(1), (), NOON)) == ["grouping"]
    (notification,) = one.tick(state, open_still, NOON + MINUTE).notifications
    assert (notification.event, notification.held[0].why) == ("opened", "grouping")


def test_what_belongs_to_one_incident_is_gathered() -> None:
    one, state = router(wait_seconds=30), RoutingState()
    for number, alert in enumerate("abc"):
        event = msgspec.structs.replace(filed(number, alert=alert), incident="i")
        one.route(state, event, (), NOON + number * timedelta(seconds=10))
    (digest,) = one.tick(state, open_still, NOON + MINUTE).notifications
    assert [held.alert_id for held in digest.held] == ["a", "b", "c"]


def test_a_limit_holds_the_rest_for_one_digest() -> None:
    one, state = router(limit={"most": 2, "minutes": 60}), RoutingState()
    outcomes = [
        one.route(state, filed(number, alert=f"x{number}"), (), NOON + number * MINUTE)
        for number in range(5)
    ]
    assert [len(outcome.notifications) for outcome in outcomes] == [1, 1, 0, 0, 0]
    assert state.due() == NOON + timedelta(hours=1)
    (digest,) = one.tick(state, open_still, NOON + timedelta(hours=1)).notifications
    assert len(digest.held) == 3


def test_the_next_ones_are_told_until_somebody_acknowledges() -> None:
    steps = [{"minutes": 15, "to": ["bob"]}, {"minutes": 30, "to": ["eve"]}]
    one, state = router(escalate=steps), RoutingState()
    one.route(state, filed(1), (), NOON)
    first = one.tick(state, open_still, NOON + 15 * MINUTE)
    assert told(first) == [("escalated", "bob@example.org", 1)]
    assert [(entry.event, entry.details["step"]) for entry in first.entries] == [("escalated", 1)]
    second = one.tick(state, open_still, NOON + 45 * MINUTE)
    assert told(second) == [("escalated", "https://example.org/eve", 2)]
    assert state.due() is None


def test_each_alert_that_a_digest_told_of_climbs_unless_it_is_over() -> None:
    steps = [{"minutes": 15, "to": ["bob"]}]
    one = router(quiet={"start": "22:00", "end": "07:00"}, escalate=steps)
    state, night = RoutingState(), NOON.replace(hour=23)
    for number, alert in enumerate("abc"):
        one.route(state, filed(number, alert=alert), (), night)
    one.route(state, filed(4, "resolved", alert="c", state="resolved"), (), night)
    morning = night + timedelta(hours=8)
    assert len(one.tick(state, open_still, morning).notifications) == 1
    climbed = one.tick(state, open_still, morning + 15 * MINUTE).notifications
    assert [(found.event, found.alert_id) for found in climbed] == [
        ("escalated", "a"),
        ("escalated", "b"),
    ]


def test_of_an_incident_told_in_one_notice_the_most_severe_alert_climbs() -> None:
    one = router(wait_seconds=30, escalate=[{"minutes": 15, "to": ["bob"]}])
    state = RoutingState()
    for number, severity in enumerate(("medium", "high", "low")):
        event = filed(number, alert=severity, severity=severity)
        one.route(state, msgspec.structs.replace(event, incident="i"), (), NOON)
    one.tick(state, open_still, NOON + MINUTE)
    (climbed,) = one.tick(state, open_still, NOON + 16 * MINUTE).notifications
    assert climbed.alert_id == "high"


@pytest.mark.parametrize("change", [{"acknowledged": True}, {"over": True}])
def test_nobody_is_told_of_what_is_acknowledged_or_over(change: dict[str, bool]) -> None:
    one, state = router(escalate=[{"minutes": 15, "to": ["bob"]}]), RoutingState()
    one.route(state, filed(1), (), NOON)
    known = msgspec.structs.replace(open_still("a"), **change)
    assert one.tick(state, lambda _: known, NOON + 15 * MINUTE) == Outcome()
    assert state.due() is None


def test_a_snoozed_alert_climbs_when_it_wakes() -> None:
    one, state = router(escalate=[{"minutes": 15, "to": ["bob"]}]), RoutingState()
    one.route(state, filed(1), (), NOON)
    later = NOON + timedelta(hours=5)
    known = msgspec.structs.replace(open_still("a"), snoozed_until=later)
    assert one.tick(state, lambda _: known, NOON + 15 * MINUTE).notifications == []
    assert state.due() == later
    assert told(one.tick(state, lambda _: known, later)) == [("escalated", "bob@example.org", 1)]


def test_a_silence_is_named_in_the_record_and_tells_nobody_ever() -> None:
    one, state = router(), RoutingState()
    silence = Silence(
        id="s",
        owner="jane",
        reason="known",
        starts_at=NOON,
        ends_at=NOON + timedelta(hours=1),
        keys=("entity:A",),
        approved_by="bob",
        approved_at=NOON,
    )
    outcome = one.route(state, filed(1), (silence,), NOON)
    assert outcome.notifications == []
    assert outcome.entries[0].details["held"] == [
        {"route": "desk", "why": "silence", "silence": "s", "owner": "jane", "approved_by": "bob"}
    ]
    assert state.due() is None
    other = one.route(state, filed(1, alert="b", key="entity:B"), (silence,), NOON)
    later = one.route(state, filed(2, "updated"), (silence,), NOON + timedelta(hours=1))
    assert [len(other.notifications), len(later.notifications)] == [1, 1]


def test_what_a_person_closed_is_told_no_more() -> None:
    one, state = router(escalate=[{"minutes": 15, "to": ["bob"]}]), RoutingState()
    one.route(state, filed(1), (), NOON)
    closed = msgspec.structs.replace(filed(2, "updated", severity="critical"), closed=True)
    assert whys(one.route(state, closed, (), NOON)) == ["closed"]
    assert state.due() is None


def test_a_person_on_two_routes_is_told_once() -> None:
    whole = msgspec.toml.decode(FILE)
    whole["routes"] = {"one": {"to": ["jane"]}, "two": {"to": ["jane", "eve"]}}
    whole["rules"] = [{"name": "a", "route": "one"}, {"name": "b", "route": "two"}]
    outcome = Router(msgspec.convert(whole, Rules), "v1").route(RoutingState(), filed(1), (), NOON)
    assert [one.recipient for one in outcome.notifications] == [
        "jane@example.org",
        "https://example.org/eve",
    ]


def test_a_route_that_is_gone_gives_what_it_held_and_climbs_no_more() -> None:
    one = router(wait_seconds=30, escalate=[{"minutes": 1, "to": ["bob"]}])
    state = RoutingState()
    one.route(state, filed(1), (), NOON)
    gone = Router(
        parse(
            FILE.replace("[people", "routes = {}\n[people", 1)
            .replace('rules = [{name = "all", route = "desk"}]', "rules = []")
            .encode()
        )[0],
        "v2",
    )
    outcome = gone.tick(state, open_still, NOON + MINUTE)
    assert [(one.recipient, one.rules) for one in outcome.notifications] == [
        ("jane@example.org", "v2")
    ]


def test_state_of_another_release_is_refused() -> None:
    state = RoutingState()
    assert decode(encode(state)) == state
    with pytest.raises(StateError, match="of version 9"):
        decode(encode(RoutingState(version=9)))
    with pytest.raises(StateError, match="not readable"):
        decode(b"x")


routes = st.fixed_dictionaries(
    {},
    optional={
        "wait_seconds": st.sampled_from([0, 30]),
        "quiet": st.just({"start": "13:00", "end": "14:00", "unless": "high"}),
        "limit": st.fixed_dictionaries({"most": st.integers(1, 3), "minutes": st.just(30)}),
        "to": st.just(["jane", "bob"]),
    },
)
happenings = st.lists(
    st.tuples(
        st.integers(0, 40),
        st.sampled_from("abc"),
        st.sampled_from(SEVERITIES),
        st.booleans(),
    ),
    max_size=25,
)


@given(routes, happenings)
def test_everything_is_told_or_held_for_a_reason_and_what_waits_is_told_in_the_end(
    route: dict[str, Any], happenings: Sequence[tuple[int, str, str, bool]]
) -> None:
    one, state, now = router(**route), RoutingState(), NOON
    outcomes: list[tuple[datetime, Outcome]] = []
    for number, (minutes, alert, severity, over) in enumerate(happenings):
        now += minutes * MINUTE
        outcomes.append((now, one.tick(state, open_still, now)))
        event = filed(
            number,
            "resolved" if over else "updated",
            alert,
            severity=severity,
            state="resolved" if over else "open",
        )
        outcomes.append((now, one.route(state, event, (), now)))
        state = decode(encode(state))
    while (due := state.due()) is not None:
        now = max(now, due)
        outcomes.append((now, one.tick(state, open_still, now)))
    assert state.boxes == {}
    held, released, told_now = set(), set(), set()
    for _, outcome in outcomes:
        for entry in outcome.entries:
            of = entry.details["of"]
            for row in entry.details["held"]:
                if "person" in row and entry.event == "routed":
                    held.add((of, row["person"]))
            for row in entry.details["told"]:
                for event in of if isinstance(of, list) else [of]:
                    into = told_now if entry.event == "routed" else released
                    assert (event, row["person"]) not in into
                    into.add((event, row["person"]))
    assert held == released
    assert not held & told_now
    ids = [n.id for _, outcome in outcomes for n in outcome.notifications]
    assert len(set(ids)) == len(ids)
    if "limit" in route:
        _within(route["limit"]["most"], outcomes)


def _within(most: int, outcomes: Sequence[tuple[datetime, Outcome]]) -> None:
    """Nobody hears more than `most` in half an hour, but for what is critical."""
    times: dict[str, list[datetime]] = {}
    for now, outcome in outcomes:
        for one in outcome.notifications:
            recent = [at for at in times.get(one.recipient, []) if at > now - 30 * MINUTE]
            worst = {held.severity for held in one.held} | {one.alert.severity}
            assert len(recent) < most or "critical" in worst
            times[one.recipient] = [*recent, now]
