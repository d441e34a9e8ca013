import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.marking import mark
from models.tagger import Tagger
from models.text import MARK_END, MARK_START, normalise

ANY_TEXT = st.text(st.characters(codec=None))
WITH_MARKS = st.lists(
    st.sampled_from(["a", " ", "&", "#xE5A0;", "&#xE5A1;", "&amp;", MARK_START, MARK_END])
).map("".join)


def test_a_mention_stands_between_its_marks() -> None:
    text = "Apple gains as Samsung slips https://t.co/x"
    assert normalise(mark(text, 15, 22)) == f"Apple gains as {MARK_START}Samsung{MARK_END} slips"


def test_a_marked_text_stays_one_in_another_process() -> None:
    marked = mark("Apple gains", 0, 5)
    assert normalise(pickle.loads(pickle.dumps(marked))) == normalise(marked)


@given(ANY_TEXT | WITH_MARKS)
def test_nobody_else_can_mark(text: str) -> None:
    assert not {MARK_START, MARK_END} & set(normalise(text))


@given(WITH_MARKS.filter(bool))
def test_marks_within_a_marked_text_are_taken_away(text: str) -> None:
    result = normalise(mark(f"{text} Apple {text}", len(text) + 1, len(text) + 6))
    assert result.count(MARK_START) == result.count(MARK_END) == 1
    assert f"{MARK_START}Apple{MARK_END}" in result


def test_what_is_cut_from_a_marked_text_marks_nothing() -> None:
    marked = mark("Apple gains as Samsung slips", 0, 5)
    for derived in (marked[:], marked + "", f"{marked}", marked.strip(), str(marked)):
        assert MARK_START not in normalise(derived)


@pytest.mark.parametrize(("start", "end"), [(-1, 2), (3, 3), (4, 2), (0, 6)])
def test_a_mention_outside_the_text_is_refused(start: int, end: int) -> None:
    with pytest.raises(ValueError, match="is no mention in a text of 5 characters"):
        mark("Apple", start, end)


def test_a_model_that_knows_no_marks_reads_the_whole_text(tagger: Tagger) -> None:
    if tagger.config.marks_entities:
        pytest.skip("The shipped model knows marks.")
    text = "Apple gains as Samsung slips"
    assert tagger.tag([mark(text, 15, 22)]) == tagger.tag([text])
