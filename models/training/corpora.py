"""The sets of both recipes, read from one data folder: labelled texts and texts without labels."""

import csv
import gzip
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from models.errors import ModelError
from models.marking import mark
from models.tags import SENTIMENTS, TOPICS
from models.training.sentfin import headline

RECIPES = ("open", "research")
PHRASEBANK = "financial_phrasebank/fpb_train.csv"
SENTFIN = "sentfin"
SENTFIN_ENTITIES, SENTFIN_CONFLICTS = "sentfin-entities", "sentfin-conflicts"
"""Single entities of headlines whose entities agree, and of those whose entities do not."""

UNLABELLED = -1

_SENTIMENT_INDEX = {name: i for i, name in enumerate(SENTIMENTS)}


@dataclass(frozen=True)
class _Table:
    """Where the texts of a set without labels stand."""

    path: str
    column: int
    header_lines: int = 1
    separator: str = ","


_RESEARCH_TEXTS = (
    _Table("news_headlines_2017_2020/reuters_headlines.csv", 1, header_lines=0),
    _Table("news_headlines_2017_2020/guardian_headlines.csv", 1, header_lines=0),
    _Table("news_headlines_2017_2020/cnbc_headlines.csv", 1),
    _Table("stockemotions/train_stockemo.csv", 5),
    _Table("wsb_gamestop_2021/wsb_comments_sample.csv", 7),
    _Table("crypto_news_2021_2022/cryptonews.csv", 5, separator=";"),
)


class TrainingDataError(ModelError):
    """A data set is missing or has not the expected columns or labels."""


@dataclass(frozen=True)
class Example:
    """One text with the index of its label for each head, `UNLABELLED` where a head has none.

    `weight`: how much it counts in training beside others.
    """

    text: str
    source: str
    sentiment: int = UNLABELLED
    topic: int = UNLABELLED
    weight: float = 1.0


@dataclass
class Corpus:
    """Examples in the order of their files, and what had to be left out, by reason.

    `entities`: marked texts, whose sentiment is that of the marked entity.
    """

    examples: list[Example] = field(default_factory=list)
    entities: list[Example] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)


def load_corpus(recipe: str, data: Path) -> Corpus:
    """Reads the sets of `recipe` ("open": MIT sets only; "research": with PhraseBank)."""
    _check(recipe)
    corpus = Corpus()
    corpus.examples += _twitter_sentiment(data / "twitter_financial_news_sentiment/sent_train.csv")
    corpus.examples += _twitter_topic(data / "twitter_financial_news_topic")
    _add_sentfin(corpus, data / "sentfin/SEntFiN.csv")
    if recipe == "research":
        corpus.examples += phrasebank(data)
    return corpus


def unlabelled_texts(recipe: str, data: Path) -> list[str]:
    """Texts without labels that `recipe` may read: StockNet's tweets, for "research" the rest too.

    A set that is not in the data folder is passed over.
    """
    _check(recipe)
    texts = list(_tweets(data / "stocknet/stocknet_tweets.jsonl.gz"))
    if recipe == "research":
        for table in _RESEARCH_TEXTS:
            texts += _column(data / table.path, table)
    return texts


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
    """Headlines whose entities agree, as texts; every entity of every headline, marked."""
    reasons: dict[str, int] = defaultdict(int)
    for row in _rows(path, {"Title", "Decisions"}):
        read = headline(row["Title"], row["Decisions"])
        labels = {_label(d.label, _SENTIMENT_INDEX, path) for d in read.decisions}
        if read.repaired:
            reasons["sentfin: repaired, used for single entities alone"] += 1
        elif len(labels) > 1:
            reasons["sentfin: entities disagree, used for single entities alone"] += 1
        elif labels:
            corpus.examples.append(Example(read.title, SENTFIN, sentiment=min(labels)))
        source = SENTFIN_CONFLICTS if len(labels) > 1 else SENTFIN_ENTITIES
        for decision in read.decisions:
            if not decision.end:
                reasons["sentfin: entities that the headline does not name"] += 1
                continue
            marked = mark(read.title, decision.start, decision.end)
            label = _SENTIMENT_INDEX[decision.label]
            corpus.entities.append(Example(marked, source, sentiment=label))
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


def _tweets(path: Path) -> Iterator[str]:
    if path.is_file():
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)["text"]


def _column(path: Path, table: _Table) -> list[str]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        rows = islice(csv.reader(file, delimiter=table.separator), table.header_lines, None)
        return [row[table.column] for row in rows if len(row) > table.column]


def _check(recipe: str) -> None:
    if recipe not in RECIPES:
        raise TrainingDataError(f"Recipe {recipe!r} is unknown: choose 'open' or 'research'.")
