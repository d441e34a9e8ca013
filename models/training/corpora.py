"""The labelled sets of both recipes, read from one data folder, and their split without leaks."""

import ast
import csv
import random
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from datasketch import MinHash, MinHashLSH

from models.errors import ModelError
from models.tags import SENTIMENTS, TOPICS
from models.text import normalise

PHRASEBANK = "financial_phrasebank/fpb_train.csv"
UNLABELLED = -1
SPLITS = {"train": 0.82, "select": 0.06, "calibrate": 0.06, "test": 0.06}
LARGEST_HELD_OUT_GROUP = 40
"""Larger groups of near-duplicates train: held out, one template would fill a whole split."""

_SENTIMENT_INDEX = {name: i for i, name in enumerate(SENTIMENTS)}
_MASKED = re.compile(r"\$[A-Za-z][\w.]*|@\w+|\d[\d,.]*|[^\w\s]")


class TrainingDataError(ModelError):
    """A data set is missing or has not the expected columns or labels."""


@dataclass(frozen=True)
class Example:
    """One text with the index of its label for each head, `UNLABELLED` where a head has none."""

    text: str
    source: str
    sentiment: int = UNLABELLED
    topic: int = UNLABELLED


@dataclass
class Corpus:
    """Examples in the order of their files, and what had to be left out, by reason."""

    examples: list[Example] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)


def load_corpus(recipe: str, data: Path) -> Corpus:
    """Reads the sets of `recipe` ("open": MIT sets only; "research": with PhraseBank)."""
    corpus = Corpus()
    corpus.examples += _twitter_sentiment(data / "twitter_financial_news_sentiment/sent_train.csv")
    corpus.examples += _twitter_topic(data / "twitter_financial_news_topic")
    _add_sentfin(corpus, data / "sentfin/SEntFiN.csv")
    if recipe == "research":
        corpus.examples += phrasebank(data)
    elif recipe != "open":
        raise TrainingDataError(f"Recipe {recipe!r} is unknown: choose 'open' or 'research'.")
    return corpus


def split_corpus(examples: list[Example], seed: int) -> dict[str, list[Example]]:
    """Cuts every set by the shares of `SPLITS`; a group of near-duplicates stays on one side."""
    groups = near_duplicate_groups([example.text for example in examples])
    random.Random(seed).shuffle(groups)
    sizes: dict[str, int] = defaultdict(int)
    for example in examples:
        sizes[example.source] += 1
    taken: dict[tuple[str, str], int] = defaultdict(int)
    splits: dict[str, list[Example]] = {name: [] for name in SPLITS}
    for group in groups:
        source = examples[group[0]].source
        name = "train"
        if len(group) <= LARGEST_HELD_OUT_GROUP:
            name = min(SPLITS, key=lambda s: taken[s, source] / (SPLITS[s] * sizes[source]))
        splits[name] += [examples[i] for i in group]
        for i in group:
            taken[name, examples[i].source] += 1
    return splits


def near_duplicate_groups(texts: list[str], threshold: float = 0.6) -> list[list[int]]:
    """Indices of texts grouped by MinHash over pairs of words, with numbers and tickers masked.

    Grouping is transitive: what is near a member belongs to the group. `threshold` is the Jaccard
    similarity (Broder 1997).
    """
    lsh = MinHashLSH(threshold=threshold, num_perm=64)
    parent = list(range(len(texts)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    seen: dict[str, int] = {}
    for i, text in enumerate(texts):
        masked = " ".join(_MASKED.sub(" ", normalise(text)).lower().split())
        if masked in seen:
            parent[i] = root(seen[masked])
            continue
        seen[masked] = i
        words = ["", *masked.split(), ""]
        shingles = {f"{a} {b}".encode() for a, b in pairwise(words)}
        sketch = MinHash(num_perm=64, seed=1)
        sketch.update_batch(shingles)
        for j in lsh.query(sketch):
            parent[root(j)] = root(i)
        lsh.insert(i, sketch)
    members: dict[int, list[int]] = defaultdict(list)
    for i in range(len(texts)):
        members[root(i)].append(i)
    return list(members.values())


def _rows(path: Path, columns: set[str]) -> Iterator[dict[str, str]]:
    if not path.is_file():
        raise TrainingDataError(f"{path} is missing: give the data folder that contains it.")
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        absent = columns - set(reader.fieldnames or ())
        if absent:
            raise TrainingDataError(f"{path} has no column {sorted(absent)}.")
        yield from reader


def _label(value: str, names: dict[str, int], path: Path) -> int:
    if value not in names:
        raise TrainingDataError(f"{path} has the label {value!r}, not one of {', '.join(names)}.")
    return names[value]


def _twitter_sentiment(path: Path) -> list[Example]:
    order = ("negative", "positive", "neutral")
    names = {str(i): SENTIMENTS.index(name) for i, name in enumerate(order)}
    return [
        Example(row["text"], "tfn-sentiment", sentiment=_label(row["label"], names, path))
        for row in _rows(path, {"text", "label"})
    ]


def _twitter_topic(folder: Path) -> list[Example]:
    topics = {name: i for i, name in enumerate(TOPICS)}
    names = {
        row["label"]: _label(row["name"], topics, folder / "labels.csv")
        for row in _rows(folder / "labels.csv", {"label", "name"})
    }
    path = folder / "topic_train.csv"
    return [
        Example(row["text"], "tfn-topic", topic=_label(row["label"], names, path))
        for row in _rows(path, {"text", "label"})
    ]


def _add_sentfin(corpus: Corpus, path: Path) -> None:
    """Headlines whose entities agree; the rest has no sentiment as a whole."""
    reasons: dict[str, int] = defaultdict(int)
    for row in _rows(path, {"Title", "Decisions"}):
        try:
            labels = set(ast.literal_eval(row["Decisions"]).values())
        except (SyntaxError, ValueError, AttributeError):
            reasons["sentfin: decisions do not parse"] += 1
            continue
        if len(labels) != 1:
            reasons["sentfin: entities disagree"] += 1
            continue
        label = _label(labels.pop(), _SENTIMENT_INDEX, path)
        corpus.examples.append(Example(row["Title"], "sentfin", sentiment=label))
    corpus.left_out |= reasons


def phrasebank(data: Path) -> list[Example]:
    """Financial PhraseBank: non-commercial, so the open recipe measures on it and never trains."""
    path = data / PHRASEBANK
    return [
        Example(
            row["sentence"], "phrasebank", sentiment=_label(row["label"], _SENTIMENT_INDEX, path)
        )
        for row in _rows(path, {"sentence", "label"})
    ]
