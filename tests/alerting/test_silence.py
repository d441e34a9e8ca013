"""A silence has an owner, a reason and an end, and holds when it is approved."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from alerting.errors import DecisionRefused
from alerting.silence import Silence, approve, end, propose
from tests.alerting.test_lifecycle import run, spike

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ALERT = run([spike()])[1][0].alert


def asked(**changes: Any) -> Silence:
    given: dict[str, Any] = {
        "owner": "jane",
        "reason": "planned",
        "starts_at": NOW,
        "ends_at": NOW + HOUR,
        "keys": ("entity:A",),
        "kinds": (),
        "now": NOW,
        "second_person": False,
    }
    return propose(**(given | changes))


def test_it_holds_for_its_keys_until_its_end() -> None:
    silence = asked()
    assert silence.covers(ALERT, NOW)
    assert not silence.covers(ALERT, NOW + HOUR)
    assert not silence.covers(msgspec.structs.replace(ALERT, key="entity:B"), NOW)
    assert not asked(kinds=("volume",)).covers(ALERT, NOW)


def test_where_two_are_asked_for_it_holds_when_another_one_has_approved() -> None:
    silence = asked(second_person=True)
    assert not silence.covers(ALERT, NOW)
    for same in (" jane", "Jane", "ｊane"):
        with pytest.raises(DecisionRefused, match="somebody else"):
            approve(silence, actor=same, now=NOW)
    approved = approve(silence, actor="bob", now=NOW)
    assert approved.covers(ALERT, NOW)
    with pytest.raises(
        DecisionRefused, match="was approved by bob on 2026-03-02 12:00 UTC already"
    ):
        approve(approved, actor="eve", now=NOW)
    with pytest.raises(DecisionRefused, match="lapsed, approved by nobody, on 2026-03-02 13:00"):
        approve(silence, actor="bob", now=NOW + HOUR)
    with pytest.raises(DecisionRefused, match="ended on 2026-03-02 13:00 UTC: ask for a new one"):
        approve(approved, actor="eve", now=NOW + HOUR)
    with pytest.raises(DecisionRefused, match="needs nobody's approval"):
        approve(asked(), actor="bob", now=NOW)


def test_it_can_be_ended_before_its_time() -> None:
    ended = end(asked(), actor="bob", now=NOW + HOUR / 2)
    assert (ended.ends_at, ended.ended_by) == (NOW + HOUR / 2, "bob")
    assert not ended.covers(ALERT, NOW + HOUR / 2)
    with pytest.raises(DecisionRefused, match="was ended by bob on 2026-03-02 12:30 UTC"):
        end(ended, actor="bob", now=NOW + HOUR)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"owner": " "}, "the name of who decides has 0 characters"),
        ({"owner": "foreshock"}, "give your name"),
        ({"reason": ""}, "the reason has 0 characters"),
        ({"keys": ()}, "would silence everything"),
        ({"keys": ("AMZN",)}, "'AMZN' is no key of an alert"),
        ({"kinds": ("noise",)}, "'noise' is no kind of alert"),
        (
            {"ends_at": NOW - HOUR},
            r"would end on 2026-03-02 11:00 UTC, which is past \(it is 2026-03-02 12:00 UTC\)",
        ),
        ({"ends_at": NOW}, "which is past"),
        (
            {"starts_at": NOW + 2 * HOUR},
            "would end on 2026-03-02 13:00 UTC, and begin on 2026-03-02 14:00 UTC: end it later",
        ),
        ({"starts_at": NOW - HOUR}, "would begin on 2026-03-02 11:00 UTC, which is past"),
        ({"ends_at": NOW + timedelta(days=90)}, "lasts less than 90 days"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(DecisionRefused, match=said):
        asked(**changes)
