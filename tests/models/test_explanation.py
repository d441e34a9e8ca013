import csv
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.explanation import Attribution, explain
from models.tagger import Tagger
from models.tags import HEADS, Tags

SLICE = Path(__file__).parents[1] / "data" / "training"


def labelled_texts() -> list[str]:
    with (SLICE / "twitter_financial_news_sentiment/sent_train.csv").open(encoding="utf-8") as file:
        return [row["text"] for row in csv.DictReader(file)][:60]


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


@pytest.mark.parametrize("head", HEADS)
def test_taking_out_the_heaviest_words_lowers_the_label_more_than_random_ones(
    tagger: Tagger, head: str
) -> None:
    chance = random.Random(9)
    heaviest, at_random = [], []
    for text in labelled_texts():
        found = explain(text, tagger, head)
        count = max(1, len(found) // 5)
        chosen = sorted(found, key=lambda a: -a.weight)[:count]
        variants = [text, without(text, chosen), without(text, chance.sample(found, count))]
        full, by_weight, by_chance = probabilities(tagger, variants, head)
        column = int(full.argmax())
        heaviest.append(full[column] - by_weight[column])
        at_random.append(full[column] - by_chance[column])
    assert np.mean(heaviest) > 2 * np.mean(at_random)
    assert np.mean(np.array(heaviest) >= np.array(at_random)) > 0.8


def without(text: str, words: list[Attribution]) -> str:
    for word in sorted(words, reverse=True):
        text = text[: word.start] + text[word.end :]
    return text


def probabilities(tagger: Tagger, texts: list[str], head: str) -> list[np.ndarray]:
    results = [t for t in tagger.tag(texts) if isinstance(t, Tags)]
    return [np.array(t.sentiments if head == "sentiment" else t.topics) for t in results]


def weight_of(word: str, found: list[Attribution]) -> float:
    return next(a.weight for a in found if a.word == word)
