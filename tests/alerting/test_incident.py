"""Alerts of one story are one incident, and an incident does not wander."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from alerting.incident import APART, Member, incident_id, member

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def grouped(*alerts: tuple[str, str, str], apart: timedelta = MINUTE) -> list[Member]:
    """Alerts one after the other: id, key, and a letter for each story."""
    known: list[Member] = []
    for number, (name, key, stories) in enumerate(alerts):
        known.append(member(name, key, NOON + number * apart, stories, known))
    return known


def incidents(*alerts: tuple[str, str, str], apart: timedelta = MINUTE) -> int:
    return len({one.incident_id for one in grouped(*alerts, apart=apart)})


def test_one_story_that_hits_many_companies_and_topics_is_one_incident() -> None:
    companies = [(f"a{number}", f"entity:{number}", "xyz") for number in range(20)]
    topics = [(f"t{number}", f"topic:{number}", "wxyz") for number in range(5)]
    found = grouped(*companies, *topics)
    assert {one.incident_id for one in found} == {incident_id("a0")}
    assert [one.is_first for one in found].count(True) == 1


def test_a_topic_does_not_make_two_stories_one() -> None:
    assert incidents(("a", "entity:A", "pqr"), ("t", "topic:T", "pqrxyz"), ("b", "e:B", "xyz")) == 2


def test_what_is_about_everything_draws_nothing_to_it() -> None:
    assert incidents(("o", "overall", "abc"), ("a", "entity:A", "abc")) == 2
    assert incidents(("a", "entity:A", "abc"), ("o", "overall", "abc")) == 1


def test_the_same_story_much_later_is_another_incident() -> None:
    alike = (("a", "entity:A", "abc"), ("b", "entity:B", "abc"))
    assert incidents(*alike, apart=APART) == 1
    assert incidents(*alike, apart=APART + MINUTE) == 2


def test_an_alert_without_stories_stands_alone() -> None:
    assert incidents(("a", "entity:A", ""), ("b", "entity:B", "")) == 2


@given(st.lists(st.text("abcdef", max_size=5), max_size=8), st.randoms())
def test_the_order_of_what_is_known_changes_nothing(stories: list[str], chance) -> None:
    known = grouped(*((f"a{n}", f"entity:{n}", text) for n, text in enumerate(stories)))
    shuffled = [*known]
    chance.shuffle(shuffled)
    assert member("z", "entity:Z", NOON, "abc", known) == member(
        "z", "entity:Z", NOON, "abc", shuffled
    )
