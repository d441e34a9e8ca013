"""Predictions for labelled texts, as a stream."""

import csv
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple, TextIO

from models.evaluation.reading import LabelledText
from models.tagger import Tagger
from models.tags import HEADS, Tags

_TEXTS_AT_ONCE = 1_024


class Prediction(NamedTuple):
    """One labelled text, and what the model says of it: probabilities in the head's order."""

    text: str
    label: str
    predicted: str
    probabilities: tuple[float, ...]
    abstained: bool = False
    group: str | None = None


def predictions(
    rows: Iterable[LabelledText], head: str, tagger: Tagger
) -> Iterator[Prediction | None]:
    """A prediction for each row, None where the model failed on the text."""
    stream = iter(rows)
    while chunk := list(islice(stream, _TEXTS_AT_ONCE)):
        for row, tags in zip(chunk, tagger.tag([row.text for row in chunk]), strict=True):
            if isinstance(tags, Tags):
                chances = tags.sentiments if head == "sentiment" else tags.topics
                predicted = getattr(tags, head)
                yield Prediction(row.text, row.label, predicted, chances, tags.abstained, row.group)
            else:
                yield None


def written(
    results: Iterable[Prediction | None], file: TextIO, head: str
) -> Iterator[Prediction | None]:
    """Passes the results on, and writes a row for each: text, labels, probabilities."""
    writer = csv.writer(file)
    writer.writerow(["text", "label", "predicted", *HEADS[head]])
    for result in results:
        if result is not None:
            writer.writerow([result.text, result.label, result.predicted, *result.probabilities])
        yield result
