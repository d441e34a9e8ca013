from hypothesis import given, settings
from hypothesis import strategies as st

from models.explanation import Attribution, explain
from models.tagger import Tagger


def test_the_word_that_decides_weighs_most(tagger: Tagger) -> None:
    attributions = explain("Apple shares plunge in early trading on Monday", tagger)
    assert max(attributions, key=lambda a: a.weight).word == "plunge"


def test_spans_lie_in_the_original_text(tagger: Tagger) -> None:
    text = "RT @x:  AT&amp;T  shares 📉 fall\nhttps://t.co/x"
    found = explain(text, tagger)
    assert [a.word for a in found] == text.split()
    assert all(text[a.start : a.end] == a.word for a in found)


@given(st.text(st.characters(codec=None), max_size=60))
@settings(max_examples=25, deadline=None)
def test_any_text_is_explained(tagger: Tagger, text: str) -> None:
    assert all(text[a.start : a.end] == a.word for a in explain(text, tagger))


def test_a_long_text_is_explained_by_its_first_words(tagger: Tagger) -> None:
    assert len(explain("profit " * 5_000, tagger, words=16)) == 16


def test_a_text_without_words_has_no_attributions(tagger: Tagger) -> None:
    assert explain(" \n", tagger) == []


def test_a_word_for_one_label_speaks_against_another(tagger: Tagger) -> None:
    text = "Apple shares plunge in early trading"
    for_it = weight_of("plunge", explain(text, tagger, label="negative"))
    against = weight_of("plunge", explain(text, tagger, label="positive"))
    assert for_it > 0 > against


def test_topics_are_explained_too(tagger: Tagger) -> None:
    found = explain("Board approves a quarterly dividend of 25 cents", tagger, "topic", "Dividend")
    assert max(found, key=lambda a: a.weight).word == "dividend"


def weight_of(word: str, found: list[Attribution]) -> float:
    return next(a.weight for a in found if a.word == word)
