"""Intervals and tests by the bootstrap.

To draw n texts anew is to draw how many of them fall into each cell of the confusion matrix: a
multinomial. So the cost does not depend on n, and no text is kept.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from models.evaluation.results import Difference, Interval

RESAMPLES = 2_000

Counts = NDArray[np.int64]
Cells = Mapping[tuple[int, int, int], int]
"""How many texts have this (truth, prediction of the model, prediction of the other)."""


class Scores(NamedTuple):
    """Accuracy and macro-F1, each with the leading axes of the confusion matrices given."""

    accuracy: NDArray[np.float64]
    macro_f1: NDArray[np.float64]


def scores(confusion: NDArray[np.int64]) -> Scores:
    """`confusion`: (..., truth, prediction). Labels that do not occur count in no macro-F1."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    support, claimed = confusion.sum(axis=-1), confusion.sum(axis=-2)
    n = np.maximum(support.sum(axis=-1), 1)
    f1 = 2 * hits / np.maximum(support + claimed, 1)
    occurs = support > 0
    macro = (f1 * occurs).sum(axis=-1) / np.maximum(occurs.sum(axis=-1), 1)
    return Scores(hits.sum(axis=-1) / n, macro)


def intervals(confusion: Counts) -> tuple[Interval, Interval]:
    """95 % intervals of accuracy and macro-F1."""
    cells = confusion.ravel()
    drawn = _drawn(cells).reshape(-1, *confusion.shape)
    accuracy, macro_f1 = scores(drawn)
    return _ends(accuracy), _ends(macro_f1)


def paired(cells: Cells, classes: int) -> tuple[Difference, Difference]:
    """Differences (model less other) in accuracy and macro-F1 over the same texts."""
    counts = np.array(list(cells.values()), np.int64)
    model, other = (
        scores(_confusions(cells, np.vstack([counts, _drawn(counts)]), which, classes))
        for which in (1, 2)
    )
    return (
        _difference(model.accuracy - other.accuracy),
        _difference(model.macro_f1 - other.macro_f1),
    )


def mcnemar(only_one: int, only_other: int) -> float:
    """p of the exact test that either was as likely to be the right one (McNemar 1947)."""
    both = only_one + only_other
    return float(binomtest(only_one, both).pvalue) if both else 1.0


def _drawn(cells: Counts) -> Counts:
    """(RESAMPLES, cells): how many texts of a resample fall into each."""
    n = int(cells.sum())
    return np.random.default_rng(0).multinomial(n, cells / n, size=RESAMPLES)


def _confusions(cells: Cells, counts: Counts, which: int, classes: int) -> Counts:
    """Confusion matrices of one of the two models, (rows of `counts`, classes, classes)."""
    matrices = np.zeros((len(counts), classes, classes), np.int64)
    for column, cell in enumerate(cells):
        matrices[:, cell[0], cell[which]] += counts[:, column]
    return matrices


def _difference(values: NDArray[np.float64]) -> Difference:
    """`values`: the difference itself, then those of the resamples."""
    drawn = values[1:]
    tail = min((drawn <= 0).sum(), (drawn >= 0).sum())
    p = min(1.0, 2 * (float(tail) + 1) / (len(drawn) + 1))
    return Difference(float(values[0]), _ends(drawn), p)


def _ends(values: NDArray[np.float64]) -> Interval:
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)
