"""The quality of a head on labelled texts, read as a stream."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TextIO

import msgspec
import numpy as np

from models.calibration import expected_calibration_error
from models.errors import ModelError
from models.tagger import Tagger
from models.tags import HEADS, ModelIdentity, Tags

_TEXTS_AT_ONCE = 1_024


class EvaluationError(ModelError):
    """The labelled texts cannot be read or their labels are not the head's."""


class ClassFigures(msgspec.Struct, frozen=True):
    """Figures of one label; `support` is the number of texts that bear it."""

    precision: float
    recall: float
    f1: float
    support: int


class Evaluation(msgspec.Struct, frozen=True):
    """How a head did. `confusion`: rows are the truth, columns the prediction, order `labels`.

    `macro_f1` is the mean over the labels that occur in the truth; `ece` has 15 equal-width bins;
    `failed` texts could not be tagged and count in no figure but `failed`.
    """

    head: str
    labels: tuple[str, ...]
    n: int
    failed: int
    accuracy: float
    macro_f1: float
    ece: float
    per_class: dict[str, ClassFigures]
    confusion: tuple[tuple[int, ...], ...]
    model: ModelIdentity


class Prediction(NamedTuple):
    """One labelled text, and what the model says of it: probabilities in the head's order."""

    text: str
    label: str
    predicted: str
    probabilities: tuple[float, ...]


def evaluate(texts: Iterable[str], labels: Iterable[str], head: str, tagger: Tagger) -> Evaluation:
    """Tags `texts` and compares with `labels`, which must be the head's names."""
    return summarise(predictions(zip(texts, labels, strict=True), head, tagger), head, tagger)


def evaluate_csv(
    path: Path,
    head: str,
    tagger: Tagger,
    *,
    text_column: str = "text",
    label_column: str = "label",
    label_map: Mapping[str, str] | None = None,
    predictions_path: Path | None = None,
) -> Evaluation:
    """`evaluate` over a CSV file (UTF-8, with a header line).

    `label_map` translates the file's labels into the head's names. `predictions_path` receives a
    row for each text: text, label, predicted, and a probability for each label of the head.
    """
    rows = _labelled_rows(path, head, text_column, label_column, label_map or {})
    results = predictions(rows, head, tagger)
    if predictions_path is None:
        return summarise(results, head, tagger)
    with predictions_path.open("w", encoding="utf-8", newline="", errors="replace") as file:
        return summarise(_written(results, file, head), head, tagger)


def predictions(
    rows: Iterable[tuple[str, str]], head: str, tagger: Tagger
) -> Iterator[Prediction | None]:
    """A prediction for each (text, label), None where the model failed on the text."""
    stream = iter(rows)
    while chunk := list(islice(stream, _TEXTS_AT_ONCE)):
        for (text, label), tags in zip(chunk, tagger.tag([t for t, _ in chunk]), strict=True):
            if isinstance(tags, Tags):
                chances = tags.sentiments if head == "sentiment" else tags.topics
                yield Prediction(text, label, getattr(tags, head), chances)
            else:
                yield None


def summarise(results: Iterable[Prediction | None], head: str, tagger: Tagger) -> Evaluation:
    """The figures over `results`, keeping the probabilities alone in memory."""
    labels = _labels(head)
    index = {label: i for i, label in enumerate(labels)}
    truth, predicted, chances, failed = [], [], [], 0
    for result in results:
        if result is None:
            failed += 1
            continue
        if result.label not in index:
            raise EvaluationError(_unknown_label(result.label, head))
        truth.append(index[result.label])
        predicted.append(index[result.predicted])
        chances.append(np.array(result.probabilities, np.float32))
    if not truth:
        raise EvaluationError("There is no labelled text to evaluate: give at least one.")
    confusion = np.zeros((len(labels), len(labels)), int)
    np.add.at(confusion, (truth, predicted), 1)
    figures = {label: _figures(confusion, i) for i, label in enumerate(labels)}
    return Evaluation(
        head=head,
        labels=labels,
        n=len(truth),
        failed=failed,
        accuracy=float(np.trace(confusion) / len(truth)),
        macro_f1=float(np.mean([f.f1 for f in figures.values() if f.support])),
        ece=expected_calibration_error(np.stack(chances), truth),
        per_class=figures,
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        model=tagger.identity,
    )


def _figures(confusion: np.ndarray[tuple[int, ...], np.dtype[np.int_]], i: int) -> ClassFigures:
    hits, support, claimed = confusion[i, i], confusion[i].sum(), confusion[:, i].sum()
    return ClassFigures(
        precision=float(hits / claimed) if claimed else 0.0,
        recall=float(hits / support) if support else 0.0,
        f1=float(2 * hits / (support + claimed)) if support + claimed else 0.0,
        support=int(support),
    )


def _labelled_rows(
    path: Path, head: str, text_column: str, label_column: str, label_map: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    labels = _labels(head)
    with _opened(path) as reader:
        for column in (text_column, label_column):
            if column not in (reader.fieldnames or ()):
                found = ", ".join(reader.fieldnames or ()) or "none"
                raise EvaluationError(f"{path} has no column {column!r} (it has: {found}).")
        for number, row in enumerate(reader, start=1):
            text, given = row[text_column], row[label_column]
            if text is None or given is None:
                raise EvaluationError(f"Row {number} of {path} is too short: give it all columns.")
            label = label_map.get(given, given)
            if label not in labels:
                raise EvaluationError(f"Row {number} of {path}: {_unknown_label(given, head)}")
            yield text, label


@contextmanager
def _opened(path: Path) -> Iterator["csv.DictReader[str]"]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield csv.DictReader(file)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise EvaluationError(f"{path} cannot be read as CSV in UTF-8: {error}.") from error


def _labels(head: str) -> tuple[str, ...]:
    if head not in HEADS:
        raise EvaluationError(f"Head {head!r} is unknown: choose one of {', '.join(HEADS)}.")
    return HEADS[head]


def _unknown_label(value: str, head: str) -> str:
    names = ", ".join(HEADS[head])
    return f"label {value!r} is not one of head {head!r} ({names}): map it to one of these."


def _written(
    results: Iterable[Prediction | None], file: TextIO, head: str
) -> Iterator[Prediction | None]:
    writer = csv.writer(file)
    writer.writerow(["text", "label", "predicted", *HEADS[head]])
    for result in results:
        if result is not None:
            writer.writerow([*result[:3], *result.probabilities])
        yield result
