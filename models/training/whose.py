"""Whose sentiment: marked mentions against whole texts, where the labels of a text conflict."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.tagger import Tagger
from models.tags import HEADS
from models.text import normalise
from models.training.card import EntityFigures
from models.training.corpora import Example

RESAMPLES = 2_000
_SENTIMENT = list(HEADS).index("sentiment")

Counts = NDArray[np.int64]


def entity_figures(marked: Sequence[Example], tagger: Tagger) -> EntityFigures | None:
    """Figures over the texts in `marked` whose mentions have different labels; None for none.

    Intervals: 95 %, bootstrap over texts, as the mentions of one text hang together.
    """
    by_text: dict[str, list[Example]] = defaultdict(list)
    for example in marked:
        by_text[normalise(str(example.text))].append(example)
    conflicting = [part for part in by_text.values() if len({e.sentiment for e in part}) > 1]
    if not conflicting:
        return None
    sizes = np.array([len(part) for part in conflicting])
    asked = [e for part in conflicting for e in part]
    truth = np.array([e.sentiment for e in asked])
    of_entity, of_text = (
        np.add.reduceat(_predicted(texts, tagger) == truth, np.r_[0, sizes.cumsum()[:-1]])
        for texts in ([e.text for e in asked], [str(e.text) for e in asked])
    )
    return EntityFigures(
        texts=len(conflicting),
        mentions=len(asked),
        entity_accuracy=float(of_entity.sum() / len(asked)),
        entity_interval=_interval(of_entity, sizes),
        text_accuracy=float(of_text.sum() / len(asked)),
        text_interval=_interval(of_text, sizes),
    )


def _predicted(texts: Sequence[str], tagger: Tagger) -> Counts:
    return np.asarray(tagger.logits(texts)[_SENTIMENT].argmax(1))


def _interval(right: Counts, sizes: Counts) -> tuple[float, float]:
    rows = np.random.default_rng(0).integers(0, len(sizes), (RESAMPLES, len(sizes)))
    shares = right[rows].sum(1) / sizes[rows].sum(1)
    low, high = np.quantile(shares, (0.025, 0.975))
    return float(low), float(high)
