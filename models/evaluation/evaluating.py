"""A model, or two of them, on labelled texts from memory or a file."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import tee
from pathlib import Path

import msgspec

from models.evaluation import resampling
from models.evaluation.predicting import Prediction, predictions, written
from models.evaluation.reading import EvaluationError, LabelledText, read_csv
from models.evaluation.results import Comparison, Evaluation
from models.evaluation.summarising import Gathered, summarise
from models.tagger import Tagger

Results = Iterable[Prediction | None]


def evaluate(texts: Iterable[str], labels: Iterable[str], head: str, tagger: Tagger) -> Evaluation:
    """Tags `texts` and compares with `labels`, which must be the head's names."""
    rows = (LabelledText(*row) for row in zip(texts, labels, strict=True))
    return summarise(predictions(rows, head, tagger), head, tagger)


def evaluate_csv(
    path: Path,
    head: str,
    tagger: Tagger,
    *,
    text_column: str = "text",
    label_column: str = "label",
    label_map: Mapping[str, str] | None = None,
    slice_column: str | None = None,
    predictions_path: Path | None = None,
    other: Tagger | None = None,
) -> Evaluation:
    """`evaluate` over a CSV file (UTF-8, with a header line).

    `label_map` translates the file's labels into the head's names. `slice_column` has figures for
    each of its values among the slices. `predictions_path` receives a row for each text: text,
    label, predicted, and a probability for each label of the head. With `other` there is a
    `comparison` on the same texts; one that either model cannot tag then counts as failed in both.
    """
    rows = read_csv(path, head, text_column, label_column, label_map or {}, slice_column)
    ours, theirs = tee(rows) if other else (rows, iter(()))
    with _recorded(predictions(ours, head, tagger), predictions_path, head) as results:
        if other is None:
            return summarise(results, head, tagger)
        pairs = zip(results, predictions(theirs, head, other), strict=True)
        return _compared(pairs, head, tagger, other)


def _compared(
    pairs: Iterable[tuple[Prediction | None, Prediction | None]],
    head: str,
    tagger: Tagger,
    other: Tagger,
) -> Evaluation:
    model, rival = Gathered(head), Gathered(head)
    cells: Counter[tuple[int, int, int]] = Counter()
    for ours, theirs in pairs:
        if ours is None or theirs is None:
            ours = theirs = None
        model.add(ours)
        rival.add(theirs)
        if ours is not None and theirs is not None:
            names = (ours.label, ours.predicted, theirs.predicted)
            truth, predicted, rivals = map(model.labels.index, names)
            cells[truth, predicted, rivals] += 1
    evaluation = model.evaluation(tagger)
    accuracy, macro_f1 = resampling.paired(cells, len(model.labels))
    only_model = sum(n for (t, a, b), n in cells.items() if a == t != b)
    only_other = sum(n for (t, a, b), n in cells.items() if b == t != a)
    comparison = Comparison(
        accuracy=accuracy,
        macro_f1=macro_f1,
        only_model_right=only_model,
        only_other_right=only_other,
        mcnemar_p=resampling.mcnemar(only_model, only_other),
        other=rival.evaluation(other),
    )
    return msgspec.structs.replace(evaluation, comparison=comparison)


@contextmanager
def _recorded(results: Results, path: Path | None, head: str) -> Iterator[Results]:
    """The results, which are also written to `path` as they go by."""
    if path is None:
        yield results
        return
    try:
        file = path.open("w", encoding="utf-8", newline="", errors="replace")
    except OSError as error:
        raise EvaluationError(f"{path} cannot be written: {error.strerror}.") from error
    with file:
        yield written(results, file, head)
