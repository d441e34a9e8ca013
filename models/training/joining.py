"""Headlines joined in pairs that disagree: only who heeds the marks can answer for one of them."""

import random
from collections.abc import Sequence

from models.marking import mark
from models.text import MARK_END, MARK_START, MARKS
from models.training.corpora import Example

JOINED = "joined-entities"
_BETWEEN = ("; ", ". ", " - ", ", while ", " as ")


def joined_in_pairs(marked: Sequence[Example], seed: int) -> list[Example]:
    """Each of `marked` beside a text of another sentiment, before or behind it, in its own words.

    Real headlines whose entities disagree are few; these are as many as there are mentions.
    """
    chance = random.Random(seed)
    by_label: dict[int, list[Example]] = {}
    for example in marked:
        by_label.setdefault(example.sentiment, []).append(example)
    if len(by_label) < 2:
        return []
    return [_joined(e, _other(e, by_label, chance), chance) for e in marked]


def _other(example: Example, by_label: dict[int, list[Example]], chance: random.Random) -> str:
    label = chance.choice([label for label in by_label if label != example.sentiment])
    return MARKS.sub("", chance.choice(by_label[label]).text)


def _joined(example: Example, other: str, chance: random.Random) -> Example:
    start = example.text.index(MARK_START)
    end = example.text.index(MARK_END) - 1
    text, between = MARKS.sub("", example.text), chance.choice(_BETWEEN)
    if chance.random() < 0.5:
        marked = mark(text + between + other, start, end)
    else:
        before = len(other) + len(between)
        marked = mark(other + between + text, before + start, before + end)
    return Example(marked, JOINED, sentiment=example.sentiment)
