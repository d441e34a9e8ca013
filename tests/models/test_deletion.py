import csv
from pathlib import Path

import pytest

from models.deletion import deletion_test
from models.tagger import Tagger
from models.tags import HEADS

SLICE = Path(__file__).parents[1] / "data" / "training"


def labelled_texts() -> list[str]:
    with (SLICE / "twitter_financial_news_sentiment/sent_train.csv").open(encoding="utf-8") as file:
        return [row["text"] for row in csv.DictReader(file)][:50]


@pytest.mark.parametrize("head", HEADS)
def test_taking_out_the_heaviest_words_lowers_the_label_sooner_than_random_ones(
    tagger: Tagger, head: str
) -> None:
    figures = deletion_test(labelled_texts(), tagger, head, seed=9)
    low, high = figures.gain_interval
    assert 0.05 < low < figures.gain < high
    assert figures.gain == pytest.approx(figures.at_random - figures.by_weight)
    assert figures.better > 0.8
    assert figures.texts <= 50


def test_the_same_seed_gives_the_same_figures(tagger: Tagger) -> None:
    texts = [*labelled_texts()[:5], "too short", ""]
    figures = deletion_test(texts, tagger, seed=3)
    assert figures == deletion_test(texts, tagger, seed=3)
    assert figures.texts == 5


def test_texts_without_words_to_take_out_are_refused(tagger: Tagger) -> None:
    with pytest.raises(ValueError, match="4 words"):
        deletion_test(["up 5%", ""], tagger)
