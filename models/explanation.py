"""Which words speak for a label: attribution by occlusion."""

import re
from typing import NamedTuple

import numpy as np

from models.tagger import Tagger
from models.tags import HEADS

_WORD = re.compile(r"\S+")


class Attribution(NamedTuple):
    """A word at characters `start`..`end` of the original text, and how much it speaks for a label.

    `weight` is the fall of the label's log-probability (natural, calibrated) when the word is taken
    out; negative where the word speaks against the label.
    """

    start: int
    end: int
    word: str
    weight: float


def explain(
    text: str, tagger: Tagger, head: str = "sentiment", label: str | None = None, words: int = 64
) -> list[Attribution]:
    """Attributions of the first `words` words of `text`, in its order (Zeiler and Fergus 2014).

    `label`: one of the head's; None for the one that the model chooses.
    """
    labels = HEADS[head]
    spans = [match.span() for match in _WORD.finditer(text)][:words]
    variants = [text, *(text[:start] + text[end:] for start, end in spans)]
    logits = tagger.logits(variants)[list(HEADS).index(head)]
    probabilities = tagger.probabilities(logits, head)
    column = int(probabilities[0].argmax()) if label is None else labels.index(label)
    logs = np.log(np.maximum(probabilities[:, column], 1e-12))
    return [
        Attribution(start, end, text[start:end], float(logs[0] - without))
        for (start, end), without in zip(spans, logs[1:], strict=True)
    ]
