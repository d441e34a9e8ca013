"""Do the words that explain a label carry it? The deletion test of `models.explanation`."""

import random
from collections.abc import Sequence
from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.explanation import Attribution, explain_all
from models.tagger import Tagger
from models.tags import HEADS

_STEPS = 10
_FEWEST_WORDS = 4
_RESAMPLES = 2_000


class DeletionFigures(msgspec.Struct, frozen=True):
    """Mean areas under the deletion curve over `texts`, 0 to 1: the lower, the better the order.

    The curve is the probability of the label that the model gave to the whole text, as a share of
    what it was, against the share of words taken out. `gain` is `at_random` less `by_weight` with
    its 95 % interval (bootstrap over texts); `better`, the share of texts where it is positive.
    """

    texts: int
    by_weight: float
    at_random: float
    gain: float
    gain_interval: tuple[float, float]
    better: float


def deletion_test(
    texts: Sequence[str], tagger: Tagger, head: str = "sentiment", seed: int = 0
) -> DeletionFigures:
    """Takes words out of each text, the heaviest first, and in an order drawn from `seed`.

    After Petsiuk et al. (2018), RISE. Texts of under four words are left out; where none is left,
    `ValueError` is raised.
    """
    explained = [
        (text, words)
        for text, words in zip(
            texts, explain_all([(text, None) for text in texts], tagger, head), strict=True
        )
        if len(words) >= _FEWEST_WORDS
    ]
    if not explained:
        raise ValueError(f"The deletion test needs a text of {_FEWEST_WORDS} words or more.")
    chance = random.Random(seed)
    heaviest = [(t, sorted(words, key=lambda w: -w.weight)) for t, words in explained]
    shuffled = [(t, chance.sample(words, len(words))) for t, words in explained]
    by_weight, at_random = _areas(heaviest, tagger, head), _areas(shuffled, tagger, head)
    gains = at_random - by_weight
    drawn = np.random.default_rng(seed).choice(gains, (_RESAMPLES, len(gains))).mean(axis=1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return DeletionFigures(
        texts=len(explained),
        by_weight=float(by_weight.mean()),
        at_random=float(at_random.mean()),
        gain=float(gains.mean()),
        gain_interval=(float(low), float(high)),
        better=float((gains > 0).mean()),
    )


def _areas(
    ordered: Sequence[tuple[str, list[Attribution]]], tagger: Tagger, head: str
) -> NDArray[np.float64]:
    """The area under each text's curve, its words taken out in the order given."""
    counts = [_counts(len(words)) for _, words in ordered]
    variants = [
        _without(text, words[:count])
        for (text, words), removed in zip(ordered, counts, strict=True)
        for count in removed
    ]
    chances = _probabilities(variants, tagger, head)
    areas, start = [], 0
    for (_, words), removed in zip(ordered, counts, strict=True):
        rows = chances[start : start + len(removed)]
        start += len(removed)
        label = rows[0].argmax()
        curve = rows[:, label] / rows[0, label]
        steps = pairwise(zip(removed, curve, strict=True))
        areas.append(sum((b - a) * (p + q) / 2 for (a, p), (b, q) in steps) / len(words))
    return np.array(areas)


def _counts(words: int) -> list[int]:
    """How many words are out at each point of the curve, from none to all."""
    return sorted({round(words * step / _STEPS) for step in range(_STEPS + 1)})


def _without(text: str, words: list[Attribution]) -> str:
    for word in sorted(words, key=lambda word: -word.start):
        text = text[: word.start] + text[word.end :]
    return text


def _probabilities(texts: list[str], tagger: Tagger, head: str) -> NDArray[np.float64]:
    values = tagger.logits(texts)[list(HEADS).index(head)]
    return tagger.probabilities(values, head)
