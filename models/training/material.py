"""All texts that a training reads, each on its side of the split."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from models.text import normalise
from models.training.corpora import UNLABELLED, Corpus, Example, load_corpus, unlabelled_texts
from models.training.joining import joined_in_pairs
from models.training.splitting import (
    ENTITY_SPLITS,
    Nearness,
    Splits,
    far_from,
    held_out,
    split_corpus,
)


@dataclass
class Material:
    """What trains and what is held back.

    `splits`: whole texts; `entities`: marked texts on the same sides; `joined`: pairs of those that
    train; `unlabelled`: texts that are near none of those held back; `left_out`: counts by reason.
    """

    splits: Splits
    entities: Splits
    joined: list[Example]
    unlabelled: list[str]
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def train(self) -> list[Example]:
        """Every labelled example that trains."""
        return self.splits["train"] + self.entities["train"] + self.joined

    @property
    def select(self) -> list[Example]:
        """What decides between epochs and settings."""
        return self.splits["select"] + self.entities["select"]

    @property
    def training_texts(self) -> list[str]:
        """The labelled texts that train, normalised, without labels and marks, each once."""
        labelled = self.splits["train"] + self.entities["train"]
        return list(dict.fromkeys(_plain(e) for e in labelled))

    def sample(self, count: int) -> list[str]:
        """`count` of the unlabelled texts, or as many as there are, spread evenly."""
        chosen = {i * len(self.unlabelled) // count for i in range(count)} if count else set()
        return [self.unlabelled[i] for i in sorted(chosen)]


def prepare(recipe: str, data: Path, seed: int, corrections: Sequence[Example] = ()) -> Material:
    """Reads the sets of `recipe` and splits them; `corrections` join the examples that train.

    A correction replaces what the sets say of the same text. One that is nearly a text held back
    is left out: it would make the figures lie.
    """
    corpus = load_corpus(recipe, data)
    splits = split_corpus(corpus.examples, seed)
    left_out = dict(corpus.left_out)
    entities = _entity_splits(corpus, splits, seed, left_out)
    near = Nearness(held_out(splits) + held_out(entities))
    unlabelled = far_from(near, unlabelled_texts(recipe, data))
    if corrections:
        splits["train"] = _corrected(splits["train"], corrections, near, left_out)
    joined = joined_in_pairs(entities["train"], seed)
    return Material(splits, entities, joined, unlabelled, left_out)


def _entity_splits(corpus: Corpus, splits: Splits, seed: int, left_out: dict[str, int]) -> Splits:
    """A marked text goes where its plain text went; the rest is split on its own."""
    home = {normalise(e.text): name for name, part in splits.items() for e in part}
    others = [e for e in corpus.entities if _plain(e) not in home]
    placed = split_corpus(others, seed, ENTITY_SPLITS)
    held_back = Nearness(held_out(splits))
    kept = {"train": [e for e in placed["train"] if e.text not in held_back]}
    of_others = Nearness(held_out(placed))
    trained = Nearness(e.text for e in splits["train"] if e.text in of_others)
    for name, part in placed.items():
        if name != "train":
            kept[name] = [e for e in part if e.text not in trained and e.text not in held_back]
    dropped = len(others) - sum(map(len, kept.values()))
    if dropped:
        left_out["single entities: nearly a text on another side"] = dropped
    for example in corpus.entities:
        if _plain(example) in home:
            kept[home[_plain(example)]].append(example)
    return kept


def _corrected(
    train: list[Example],
    corrections: Sequence[Example],
    near: Nearness,
    left_out: dict[str, int],
) -> list[Example]:
    allowed = [c for c in corrections if c.text not in near]
    if len(allowed) < len(corrections):
        left_out["corrections: nearly a text held back"] = len(corrections) - len(allowed)
    said = {(normalise(c.text), head) for c in allowed for head in _heads(c)}
    kept = [e for e in train if not any((normalise(e.text), head) in said for head in _heads(e))]
    return kept + allowed


def _heads(example: Example) -> list[str]:
    return [head for head in ("sentiment", "topic") if getattr(example, head) != UNLABELLED]


def _plain(example: Example) -> str:
    return normalise(str(example.text))
