"""Which words speak for a label: attribution by occlusion."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.tagger import Tagger
from models.tags import HEADS
from models.text import normalise

_WORD = re.compile(r"\S+")

_JOINING = re.compile(
    r"an?|and|are|as|at|be|by|for|from|has|have|in|is|its?|of|on|or|that|the|their|this|to|was|were"
    r"|with",
    re.IGNORECASE,
)
"""Words that turn no sentiment by themselves: a fifth of a text, and of the work."""


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
    return explain_all([(text, label)], tagger, head, words)[0]


def explain_all(
    asked: Sequence[tuple[str, str | None]],
    tagger: Tagger,
    head: str = "sentiment",
    words: int = 64,
) -> list[list[Attribution]]:
    """`explain` for many (text, label) at once, in their order: one pass through the model.

    A word that the model does not read, such as a link, and one that only joins others are not
    asked for: their weight is 0.
    """
    parts = [_Variants(text, words) for text, _ in asked]
    logits = tagger.logits([variant for part in parts for variant in part.texts])
    every = tagger.probabilities(logits[list(HEADS).index(head)], head)
    answers, start = [], 0
    for (_, label), part in zip(asked, parts, strict=True):
        probabilities = every[start : start + len(part.texts)]
        start += len(part.texts)
        column = int(probabilities[0].argmax()) if label is None else HEADS[head].index(label)
        answers.append(part.attributions(np.log(np.maximum(probabilities[:, column], 1e-12))))
    return answers


class _Variants:
    """A text, and the text without each of its words that the model reads."""

    def __init__(self, text: str, words: int) -> None:
        self._text = text
        self._spans = [match.span() for match in _WORD.finditer(text)][:words]
        without = {span: text[: span[0]] + text[span[1] :] for span in self._spans}
        read = normalise(text)
        self._asked = [
            span
            for span in self._spans
            if not _JOINING.fullmatch(text, *span) and normalise(without[span]) != read
        ]
        self.texts = [text, *(without[span] for span in self._asked)]

    def attributions(self, logs: NDArray[np.float64]) -> list[Attribution]:
        """`logs`: the label's log-probability for each of `texts`."""
        weights = dict(zip(self._asked, (logs[0] - logs[1:]).tolist(), strict=True))
        return [
            Attribution(start, end, self._text[start:end], weights.get((start, end), 0.0))
            for start, end in self._spans
        ]
