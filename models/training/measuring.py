"""Figures about an artifact, always through the back end that serves it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.calibration import expected_calibration_error, softmax
from models.evaluation import Evaluation, Prediction, predictions, summarise
from models.tagger import Tagger
from models.tags import HEADS
from models.training.corpora import UNLABELLED, Example

RESAMPLES = 1_000


@dataclass(frozen=True)
class Figures:
    """An evaluation with 95 % bootstrap intervals and the ECE before calibration."""

    evaluation: Evaluation
    accuracy_interval: tuple[float, float]
    macro_f1_interval: tuple[float, float]
    uncalibrated_ece: float


def measure(examples: Sequence[Example], head: str, tagger: Tagger) -> Figures:
    """Figures of `head` on the examples that bear its label."""
    labels = HEADS[head]
    rows = [(e.text, labels[getattr(e, head)]) for e in examples if _labelled(e, head)]
    results = list(predictions(rows, head, tagger))
    accuracy, macro_f1 = _intervals([r for r in results if r is not None], labels)
    values, right = labelled_logits(tagger, examples, head)
    return Figures(
        evaluation=summarise(results, head, tagger),
        accuracy_interval=accuracy,
        macro_f1_interval=macro_f1,
        uncalibrated_ece=expected_calibration_error(softmax(values), right),
    )


def labelled_logits(
    tagger: Tagger, examples: Sequence[Example], head: str
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Logits and label indices of the examples that bear a label of `head`."""
    chosen = [e for e in examples if _labelled(e, head)]
    values = tagger.logits([e.text for e in chosen])[list(HEADS).index(head)]
    return values, np.array([getattr(e, head) for e in chosen], np.int64)


def _labelled(example: Example, head: str) -> bool:
    return bool(getattr(example, head) != UNLABELLED)


def _intervals(
    results: list[Prediction], labels: Sequence[str]
) -> tuple[tuple[float, float], tuple[float, float]]:
    """95 % percentile intervals of accuracy and macro-F1 over resampled texts (Efron 1979)."""
    truth = np.array([labels.index(r.label) for r in results])
    predicted = np.array([labels.index(r.predicted) for r in results])
    chance = np.random.default_rng(0)
    accuracies, scores = [], []
    for _ in range(RESAMPLES):
        rows = chance.integers(0, len(truth), len(truth))
        confusion = np.zeros((len(labels), len(labels)))
        np.add.at(confusion, (truth[rows], predicted[rows]), 1)
        hits, support, claimed = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
        accuracies.append(hits.sum() / len(truth))
        f1 = 2 * hits / np.maximum(support + claimed, 1)
        scores.append(f1[support > 0].mean())
    return _ends(accuracies), _ends(scores)


def _ends(values: list[float]) -> tuple[float, float]:
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)
