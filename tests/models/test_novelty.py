"""Novelty: what repeats a story, for how long, and that its state survives a cut anywhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.novelty import HOUR, Novelty, NoveltySettings, StateError, decode_segment

BREAKING = "$PFE AstraZeneca rejects Pfizer's final offer of 55 pounds a share http://t.co/a1"


@pytest.mark.parametrize(
    "repeat",
    [
        "RT @reuters: $PFE AstraZeneca rejects Pfizer's final offer of 55 pounds a share",
        "RT @a: RT @b: $PFE AstraZeneca rejects Pfizer's final offer of 55 pounds a sha…",
        "$PFE AstraZeneca REJECTS Pfizer&#39;s final offer of 55 pounds a share http://t.co/b2",
        "AstraZeneca rejects final Pfizer offer of 55 pounds a share $PFE",
    ],
)
def test_a_retweet_a_reprint_and_a_near_duplicate_repeat_the_story(repeat: str) -> None:
    novelty = Novelty()
    assert novelty.step("first", 0, BREAKING, ("PFE",)) == "first"
    assert novelty.step("second", HOUR, repeat, ("PFE",)) == "first"


def test_the_same_template_about_another_company_is_another_story() -> None:
    novelty = Novelty()
    novelty.step("first", 0, "Zacks downgrades Apple to hold on valuation concerns", ("AAPL",))
    text = "Zacks downgrades Intel to hold on valuation concerns"
    assert novelty.step("second", 1, text, ("INTC",)) == "second"


def test_a_story_is_new_again_after_the_horizon() -> None:
    novelty = Novelty(NoveltySettings(horizon_hours=24))
    novelty.step("first", 0, BREAKING)
    assert novelty.step("next day", 23 * HOUR, BREAKING) == "first"
    assert novelty.step("two days on", 48 * HOUR, BREAKING) == "two days on"


def test_messages_without_words_never_repeat_each_other() -> None:
    novelty = Novelty()
    assert novelty.step("first", 0, "http://t.co/a1") == "first"
    assert novelty.step("second", 1, "http://t.co/b2") == "second"


def test_memory_is_bounded_even_when_one_hour_fills_it() -> None:
    novelty = Novelty(NoveltySettings(capacity=50))
    for number in range(200):
        novelty.step(str(number), number, f"headline number {number} about firm {number * 7}")
    assert sum(len(decode_segment(payload or b"")) for _, payload in novelty.changes()) == 50


@given(
    texts=st.lists(st.sampled_from([BREAKING, "oil falls", "oil falls again today", "x y z w"])),
    cut=st.integers(0, 20),
    step=st.integers(1, 20 * HOUR),
)
def test_a_cut_at_any_place_changes_nothing(texts: list[str], cut: int, step: int) -> None:
    def verdicts(novelty: Novelty, part: list[tuple[int, str]]) -> list[str]:
        return [novelty.step(str(i), i * step, text) for i, text in part]

    messages = list(enumerate(texts))
    whole = verdicts(Novelty(), messages)
    first, second = Novelty(), Novelty()
    begun = verdicts(first, messages[:cut])
    for hour, payload in first.changes():
        if payload is not None:
            second.load(hour, payload)
    assert begun + verdicts(second, messages[cut:]) == whole


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=300))
def test_no_text_breaks_it(text: str) -> None:
    assert Novelty().step("id", 0, text) == "id"


def test_a_state_of_another_release_is_refused() -> None:
    with pytest.raises(StateError, match="version 99"):
        decode_segment(b"\x92\x63\x90")
    with pytest.raises(StateError, match="cannot be read"):
        decode_segment(b"\xff")
