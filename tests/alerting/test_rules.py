"""The rules file is checked as a whole, and says which alerts concern whom."""

import math
import re
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.alert import Alert
from alerting.errors import ConfigurationError
from alerting.rules import Quiet, Rule, Rules, WatchList, least_surprise, parse
from tests.alerting.test_lifecycle import run, spike

SECTORS = {"JPM": "Financials", "BAC": "Financials", "XOM": "Energy"}
FILE = """
[people.jane]
email = "jane@example.org"
hook = "https://example.org/jane"
[people.bob]
email = "bob@example.org"

[teams]
desk = ["jane", "bob"]

[lists.banks]
sectors = ["Financials"]
topics = ["Legal"]
budget = "fewer"

[routes.desk]
to = ["desk"]
channels = ["email"]
wait_seconds = 30
quiet = {start = "22:00", end = "07:00", zone = "Europe/Berlin", weekends = true}
limit = {most = 5, minutes = 60}
escalate = [{minutes = 15, to = ["bob"]}]

[[rules]]
name = "banks"
list = "banks"
severity = "medium"
route = "desk"
"""


def rules() -> Rules:
    return parse(FILE.encode())[0]


def alert(**changes: object) -> Alert:
    found: Alert = run([spike(key="entity:JPM")])[1][0].alert
    return msgspec.structs.replace(found, **changes)


def met(alert: Alert, **changes: object) -> bool:
    """Whether the one rule, so changed, meets the alert."""
    whole = rules()
    rule = msgspec.structs.replace(whole.rules[0], **changes)
    return bool(list(msgspec.structs.replace(whole, rules=(rule,)).matching(alert, SECTORS)))


def test_a_file_is_read_and_named_by_its_content() -> None:
    whole, version = parse(FILE.encode())
    assert [one.person for one in whole.targets(whole.routes["desk"], ("desk", "bob"))] == [
        "jane",
        "bob",
    ]
    assert version == parse(FILE.encode())[1] != parse(FILE.encode() + b"\n")[1]


@pytest.mark.parametrize(
    ("wrong", "instead", "said"),
    [
        ('route = "desk"', 'route = "desc"', "the route of rule 'banks' is 'desc': give one of"),
        ('list = "banks"', 'list = "tanks"', "the list of rule 'banks' is 'tanks'"),
        ('severity = "medium"', 'severity = "bad"', "rule 'banks': its severity is 'bad'"),
        ('severity = "medium"', "severity = 3", "rule 'banks': severity: expected `str`, got"),
        ('severity = "medium"', "observed = nan", "rule 'banks': observed is nan: give a count"),
        ('name = "banks"', "name = 7", "rule 1: name: expected `str`, got `int`"),
        ('["jane", "bob"]', '["jane", "rob"]', "a member of team 'desk' is 'rob'"),
        ('to = ["bob"]', 'to = ["rob"]', "whom route 'desk' tells is 'rob'"),
        ('to = ["bob"]', "to = []", "route 'desk' tells nobody"),
        ('channels = ["email"]', 'channels = ["post"]', "a channel of route 'desk' is 'post'"),
        ('to = ["desk"]', 'to = "desk"', "route 'desk': to: expected `array`, got `str`"),
        ('"bob@example.org"', "5", "person 'bob': expected `str`, got `int`"),
        ('["jane", "bob"]', '"jane"', "team 'desk': expected `array`, got `str`"),
        ('"22:00"', '"22"', "route 'desk': quiet.start is '22', which is no time of day: write"),
        ('"07:00"', '"25:00"', "route 'desk': quiet.end is '25:00', which is no time of day"),
        ('"Europe/Berlin"', '"Berlin"', "route 'desk': there is no time zone 'Berlin'"),
        ("most = 5", "most = 0", "route 'desk': limit.most is 0: give 1 or more"),
        ("most = 5", 'most = "5"', "route 'desk': limit.most: expected `int`, got `str`"),
        ("minutes = 60", "minutes = inf", "route 'desk': limit.minutes is inf: give more than 0"),
        ("minutes = 15", "minutes = 0", "route 'desk': a step of escalate has minutes = 0: give"),
        ("minutes = 15", "minutes = -1", "a step of escalate has minutes = -1: give more than 0"),
        ("minutes = 15", 'minutes = "1"', "route 'desk': escalate[0].minutes: expected `float`"),
        ('"fewer"', '"none"', "list 'banks': a watch list's budget is 'none'"),
        ('"fewer"', "0", "list 'banks': a watch list's budget is 0: give more than 0, at most"),
        ('"fewer"', "-2.5", "list 'banks': a watch list's budget is -2.5: give more than 0"),
        ("wait_seconds = 30", "wait_secs = 30", "route 'desk': there is the unknown field `wait"),
        ("wait_seconds = 30", "wait_seconds = -1", "route 'desk': wait_seconds is -1: give 0"),
        ("[people.jane]", "[people.jane", "line 2"),
        ("[teams]", "[groups]", "there is the unknown field `groups`"),
        ("[[rules]]", '[[rules]]\nname = "banks"\nroute = "desk"\n[[rules]]', "two rules have the"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(
    wrong: str, instead: str, said: str
) -> None:
    assert wrong in FILE
    with pytest.raises(ConfigurationError, match=re.escape(said)) as refused:
        parse(FILE.replace(wrong, instead).encode())
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"key": "entity:XOM"}, False),
        ({"key": "topic:Legal"}, True),
        ({"key": "overall"}, False),
        ({"severity": "low"}, False),
        ({"severity": "critical"}, True),
        ({"peak_surprise": 0.1}, False),
    ],
)
def test_a_rule_asks_for_what_it_is_about_and_how_severe_it_is(
    changes: dict[str, object], expected: bool
) -> None:
    assert met(alert(**changes)) is expected


def test_a_rule_may_ask_for_kinds_size_and_what_is_final() -> None:
    assert met(alert(), kinds=("negative_surge",))
    assert not met(alert(), kinds=("volume",))
    assert not met(alert(), observed=99.0)
    assert not met(alert(final=False), provisional=False)
    assert met(alert(key="entity:XOM"), list=None)
    assert met(alert(key="entity:XOM"), entities=("XOM",))


@given(st.floats(0.1, 100), st.integers(1, 50))
def test_a_lists_budget_is_shared_out_over_its_keys(budget: float, keys: int) -> None:
    names = tuple(f"C{number}" for number in range(keys))
    one = alert(kind="negative_surge")
    least = least_surprise(WatchList(entities=names, budget=budget), one, {})
    false_alarms = keys * 10**-least
    assert math.isclose(false_alarms, 0.85 * budget)


NIGHT = Quiet(start="22:00", end="07:00", zone="Europe/Berlin", weekends=True)
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "until"),
    [
        (MONDAY.replace(hour=12), None),
        (MONDAY.replace(hour=21), MONDAY.replace(hour=6) + timedelta(days=1)),
        (MONDAY.replace(hour=2), MONDAY.replace(hour=6)),
        (datetime(2026, 3, 6, 23, tzinfo=UTC), datetime(2026, 3, 9, 6, tzinfo=UTC)),
        # The clock goes forward on the Sunday.
        (datetime(2026, 3, 28, 12, tzinfo=UTC), datetime(2026, 3, 30, 5, tzinfo=UTC)),
    ],
)
def test_quiet_ends_in_the_morning_of_the_next_day_of_work(
    now: datetime, until: datetime | None
) -> None:
    assert NIGHT.until(now) == until


@given(
    st.integers(0, 365 * 24 * 60 - 1),
    st.sampled_from(["00:00", "07:00", "22:00", "23:59"]),
    st.sampled_from(["00:00", "07:00", "12:30"]),
    st.booleans(),
)
def test_no_quiet_lasts_for_ever_or_holds_at_its_end(
    minute: int, start: str, end: str, weekends: bool
) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)
    quiet = Quiet(start=start, end=end, zone="America/New_York", weekends=weekends)
    until = quiet.until(now)
    if until is not None:
        assert now < until <= now + timedelta(days=4)
        assert quiet.until(until) is None


def test_a_rule_without_a_place_matches_everything() -> None:
    rule = Rule(name="all", route="desk")
    whole = msgspec.structs.replace(rules(), rules=(rule,))
    assert list(whole.matching(alert(key="overall"), {})) == [rule]
