"""What people may decide: every step is refused in one sentence, or is what the ledger replays."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.alert import Alert, AlertChange
from alerting.decisions import (
    Acknowledge,
    Assign,
    Comment,
    DecisionSettings,
    Dispose,
    People,
    Resolve,
    Snooze,
    Standing,
    decide,
    follow,
    follow_all,
)
from alerting.errors import ConfigurationError, DecisionRefused, LedgerError
from alerting.ledger import Entry, LedgerRow, Point, append
from tests.alerting.test_lifecycle import HOUR, NOON, run, spike

CLOCK = datetime(2026, 3, 1, 9, tzinfo=UTC)
DAY = timedelta(days=1)


def changes(resolved: bool = False) -> list[AlertChange]:
    return run([spike(), spike(NOON + HOUR), *([NOON + 10 * HOUR] if resolved else [])])[1]


def entry(change: AlertChange) -> Entry:
    return Entry(
        event_id=change.event_id,
        alert_id=change.alert_id,
        event=change.event,
        occurred_at=change.occurred_at,
        details=change.details,
        seals=[("m", change.event)],
    )


def rows(entries: list[Entry]) -> list[LedgerRow]:
    stored = msgspec.json.encode(append(Point(), entries, CLOCK, "someone"))
    return msgspec.json.decode(stored, type=list[LedgerRow])


def standing(resolved: bool = False) -> Standing:
    found = follow_all(rows([entry(change) for change in changes(resolved)]))
    assert found is not None
    return found


def act(state: Standing, *actions, actor: str = "jane", now: datetime = CLOCK) -> Standing:
    for action in actions:
        state, _ = decide(state, action, actor=actor, now=now)
    return state


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
actions = st.one_of(
    st.just(Acknowledge()),
    st.builds(Assign, to=st.sampled_from(["jane", "bob", " "])),
    st.builds(Comment, text=texts),
    st.builds(Snooze, until=st.sampled_from([CLOCK - DAY, CLOCK + DAY, CLOCK + 99 * DAY])),
    st.just(Resolve()),
    st.builds(
        Dispose,
        reason=st.sampled_from(["false-alarm", "actionable", "boredom"]),
        rationale=texts,
        again=st.booleans(),
    ),
)


@given(st.lists(st.tuples(actions, st.sampled_from(["jane", "bob"]))), st.booleans())
def test_the_ledger_replays_to_the_state_that_the_actions_led_to(done, resolved):
    state = standing(resolved)
    entries = [entry(change) for change in changes(resolved)]
    for number, (action, actor) in enumerate(done):
        before = state
        try:
            state, filed = decide(state, action, actor=actor, now=CLOCK + timedelta(minutes=number))
        except DecisionRefused:
            continue
        entries.append(filed)
        assert (before.state, state.state) != ("resolved", "open")
        assert state.alert == before.alert
    assert follow_all(rows(entries)) == state
    assert len({one.event_id for one in entries}) == len(entries)


@given(st.lists(actions), st.data())
def test_no_pipeline_touches_what_people_decided_whenever_it_goes_on(done, data):
    first, *later = [entry(change) for change in changes(resolved=True)]
    (row,) = rows([first])
    state = follow(None, row)
    for action in done:
        while later and data.draw(st.booleans()):
            (row,) = rows([later.pop(0)])
            before, state = state, follow(state, row)
            assert state.people == before.people
            assert (before.state, state.state) != ("resolved", "open")
        try:
            state, _ = decide(state, action, actor="jane", now=CLOCK)
        except DecisionRefused:
            continue


def test_an_older_event_of_a_pipeline_turns_nothing_back():
    early, late = (entry(change) for change in changes())
    (older,) = rows([msgspec.structs.replace(early, event_id="again")])
    state = follow_all(rows([early, late]))
    assert state is not None
    assert follow(state, older).alert == state.alert


def test_each_action_sets_its_columns():
    done = act(standing(), Acknowledge(), Assign("bob"), Snooze(CLOCK + DAY), Comment("hm"))
    assert done.people == People(
        acknowledged_at=CLOCK,
        acknowledged_by="jane",
        assigned_to="bob",
        snoozed_until=CLOCK + DAY,
    )
    closed = act(done, Dispose("false-alarm", "a list of tickers")).people
    assert (closed.disposition, closed.disposition_reason) == ("false-alarm", "a list of tickers")
    assert (closed.closed_at, closed.closed_by) == (CLOCK, "jane")


@pytest.mark.parametrize(
    ("before", "action", "said"),
    [
        ([Acknowledge()], Acknowledge(), "was acknowledged by jane on 2026-03-01 09:00 UTC"),
        ([Resolve(), Acknowledge()], Acknowledge(), "was acknowledged by jane"),
        ([Assign("bob")], Assign("bob"), "assigned to bob already"),
        ([Dispose("duplicate", "of another")], Assign("bob"), "nothing left to do"),
        ([], Assign(" "), "whom to assign it to has 0 characters"),
        ([], Comment(" \n"), "the comment has 0 characters"),
        ([], Comment("x" * 4001), "has 4001 characters"),
        ([], Comment("\ud800"), "not valid Unicode"),
        ([], Snooze(CLOCK), "is past"),
        ([Resolve()], Snooze(CLOCK + DAY), "nothing to snooze"),
        ([Resolve()], Resolve(), "was resolved by jane"),
        ([], Dispose("boredom", "x"), r"not a reason .* take actionable, .*\[decisions\]"),
        ([], Dispose("duplicate", ""), "the rationale has 0"),
        ([Dispose("duplicate", "x")], Dispose("bad-data", "x"), "say --again"),
    ],
)
def test_what_makes_no_sense_is_refused(before, action, said):
    state = act(standing(), *before)
    with pytest.raises(DecisionRefused, match=said) as refused:
        act(state, action)
    assert "\n" not in str(refused.value)


def test_an_alert_that_resolved_by_itself_is_acknowledged_once_and_not_resolved_again():
    state = act(standing(resolved=True), Acknowledge())
    with pytest.raises(DecisionRefused, match="resolved by itself on 2024-01-01 17:00 UTC"):
        act(state, Resolve())
    with pytest.raises(DecisionRefused, match="nothing to snooze"):
        act(state, Snooze(CLOCK + DAY))


def test_a_disposition_is_replaced_when_one_says_so_and_the_ledger_says_what_it_replaces():
    state = act(standing(), Dispose("duplicate", "of another"))
    state, filed = decide(
        state, Dispose("bad-data", "a bot", again=True), actor="bob", now=CLOCK + DAY
    )
    assert filed.details["replaces"] == "duplicate"
    assert state.people.disposition == "bad-data"
    assert state.people.closed_by == "jane"


@pytest.mark.parametrize("name", ["", "foreshock", " foreshock "])
def test_nobody_decides_without_a_name_or_as_the_pipeline(name):
    with pytest.raises(DecisionRefused, match="name"):
        act(standing(), Acknowledge(), actor=name)


def test_events_that_make_no_sense_are_refused_by_their_id():
    decided = Entry(
        event_id="e", alert_id="a", event="closed", occurred_at=NOON, details={"set": {}}
    )
    with pytest.raises(LedgerError, match="event e decides on an alert that was never opened"):
        follow_all(rows([decided]))
    with pytest.raises(LedgerError, match="event e cannot be understood"):
        follow_all(rows([msgspec.structs.replace(decided, details={"alert": {"id": 1}})]))
    opened = entry(changes()[0])
    wrong = msgspec.structs.replace(decided, details={"set": {"closed_at": "noon"}})
    with pytest.raises(LedgerError, match="event e cannot be understood"):
        follow_all(rows([opened, wrong]))


def test_reasons_may_be_others_but_not_none():
    settings = DecisionSettings(reasons=("noise",))
    action = Dispose("noise", "x")
    state, _ = decide(standing(), action, actor="j", now=CLOCK, reasons=settings.reasons)
    assert state.people.disposition == "noise"
    with pytest.raises(ConfigurationError, match="name some"):
        DecisionSettings(reasons=())


def test_the_state_that_people_see_is_resolved_once_a_person_closed_it():
    state = act(standing(), Resolve())
    assert isinstance(state.alert, Alert)
    assert (state.alert.state, state.state) == ("open", "resolved")
