"""Rules that take two: one proposes, another one approves that very version."""

from datetime import UTC, datetime, timedelta

import pytest

from alerting.approval import (
    APPROVED,
    IN_FORCE,
    PROPOSED,
    REFUSED,
    RULES,
    SEEN,
    Version,
    approve,
    follow_rules,
    in_force,
    propose,
    refuse,
)
from alerting.errors import DecisionRefused
from alerting.ledger import Entry, Point, append

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def told(*events: tuple[str, str, str]) -> dict[str, Version]:
    """What the ledger tells after events (event, version, actor), a minute apart."""
    rows, end = [], Point()
    for number, (event, version, actor) in enumerate(events):
        entry = Entry(
            event_id=f"e{number}",
            subject=RULES + version,
            event=event,
            occurred_at=NOON,
            details={"reason": "because"},
        )
        (row,) = append(end, [entry], NOON + timedelta(minutes=number), actor)
        rows.append(row)
        end = Point(row.sequence, row.hash)
    return follow_rules(rows)


FIRST = (IN_FORCE, "v1", "foreshock")
ASKED = (PROPOSED, "v2", "jane")


def test_a_version_holds_until_another_one_comes_into_force() -> None:
    known = told(FIRST, ASKED, (APPROVED, "v2", "bob"))
    assert in_force(known).id == "v1"
    assert known["v2"].state == "approved"
    assert (known["v2"].proposed_by, known["v2"].decided_by) == ("jane", "bob")
    known = told(FIRST, ASKED, (APPROVED, "v2", "bob"), (IN_FORCE, "v2", "foreshock"))
    assert in_force(known).id == "v2"
    assert known["v1"].state == "former"


def test_an_approval_lapses_when_another_version_comes_first() -> None:
    known = told(FIRST, ASKED, (APPROVED, "v2", "bob"), (IN_FORCE, "v3", "foreshock"))
    assert known["v2"].state == "lapsed"
    with pytest.raises(
        DecisionRefused, match=r"v2 of the rules was approved, and lapsed when .*: propose"
    ):
        approve(known, "v2", actor="bob")
    assert propose(known, "v2", actor="bob", reason="again") == ("bob", "again")


@pytest.mark.parametrize("name", ["jane", " jane ", "JANE", "ｊａｎｅ"])
def test_nobody_approves_his_own(name: str) -> None:
    with pytest.raises(DecisionRefused, match=r"jane asked for it and cannot .*: somebody else"):
        approve(told(FIRST, ASKED), "v2", actor=name)


def test_the_pipeline_approves_nothing() -> None:
    with pytest.raises(DecisionRefused, match="give your name"):
        approve(told(FIRST, ASKED), "v2", actor="foreshock")


@pytest.mark.parametrize("events", [(FIRST,), (FIRST, (SEEN, "v2", "foreshock"))])
def test_what_nobody_has_proposed_cannot_be_approved(events: tuple) -> None:
    with pytest.raises(DecisionRefused, match="nobody has proposed version v2"):
        approve(told(*events), "v2", actor="bob")


def test_a_refused_version_may_be_proposed_anew() -> None:
    assert refuse(told(FIRST, ASKED), "v2", actor="jane", reason=" a typo ") == ("jane", "a typo")
    known = told(FIRST, ASKED, (REFUSED, "v2", "bob"))
    assert (known["v2"].state, known["v2"].decided_by) == ("refused", "bob")
    with pytest.raises(DecisionRefused, match="was refused by bob: propose it anew"):
        approve(known, "v2", actor="eve")
    known = told(FIRST, ASKED, (REFUSED, "v2", "bob"), (PROPOSED, "v2", "eve"))
    assert (known["v2"].state, known["v2"].proposed_by) == ("proposed", "eve")
    assert (known["v2"].decided_by, known["v2"].refusal) == (None, None)


def test_what_holds_or_waits_is_not_proposed_twice() -> None:
    known = told(FIRST, ASKED)
    with pytest.raises(DecisionRefused, match="v1 of the rules is in force already"):
        propose(known, "v1", actor="jane", reason="x")
    with pytest.raises(
        DecisionRefused, match="was proposed by jane already, and waits for approval"
    ):
        propose(known, "v2", actor="bob", reason="x")
    with pytest.raises(DecisionRefused, match="the reason has 0 characters"):
        propose(known, "v3", actor="jane", reason=" ")


def test_what_is_decided_is_not_decided_twice() -> None:
    known = told(FIRST, ASKED, (APPROVED, "v2", "bob"))
    for step in (
        lambda: approve(known, "v2", actor="eve"),
        lambda: refuse(known, "v2", actor="eve", reason="x"),
        lambda: propose(known, "v2", actor="eve", reason="x"),
    ):
        with pytest.raises(DecisionRefused, match="was approved by bob already, and holds when"):
            step()
    with pytest.raises(DecisionRefused, match=r"v1 of the rules is in force already$"):
        approve(known, "v1", actor="bob")
    known = told(FIRST, (IN_FORCE, "v2", "foreshock"))
    with pytest.raises(DecisionRefused, match=r"v1 .* was in force until another one was: propose"):
        approve(known, "v1", actor="bob")
