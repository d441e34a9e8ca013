"""Deduplication: the first copy wins over the horizon, and the state survives a cut anywhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.deduplication import HOUR, Deduplication, DeduplicationStateError


def test_the_first_copy_wins_within_the_horizon_and_is_forgotten_after_it() -> None:
    seen = Deduplication(horizon_hours=24)
    assert seen.step("a", 0)
    assert not seen.step("a", 24 * HOUR)
    assert seen.step("a", 26 * HOUR)


@given(ids=st.lists(st.sampled_from("abcdef")), cut=st.integers(0, 30))
def test_a_cut_at_any_place_changes_nothing(ids: list[str], cut: int) -> None:
    times = [(name, number * 5 * HOUR) for number, name in enumerate(ids)]
    whole, first, second = Deduplication(), Deduplication(), Deduplication()
    expected = [whole.step(*event) for event in times]
    begun = [first.step(*event) for event in times[:cut]]
    for hour, payload in first.changes():
        if payload is not None:
            second.load(hour, payload)
    assert begun + [second.step(*event) for event in times[cut:]] == expected


def test_a_state_of_another_release_is_refused() -> None:
    with pytest.raises(DeduplicationStateError, match="another release"):
        Deduplication().load(0, b"\x09" + bytes(16))


def test_out_of_order_an_id_is_known_until_it_is_let_go() -> None:
    """One partition may be days ahead of another."""
    core = Deduplication(horizon_hours=24)
    assert core.first("slow", 0)
    assert core.first("fast", 100 * HOUR)
    assert not core.first("slow", 0)
    core.forget(25 * HOUR)
    assert core.first("slow", 0)
    assert not core.first("fast", 100 * HOUR)
