"""Figures about an artifact, always through the back end that serves it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.calibration import expected_calibration_error, softmax
from models.evaluation import Evaluation, LabelledText, predictions, summarise
from models.tagger import Tagger
from models.tags import HEADS
from models.training.corpora import UNLABELLED, Example


@dataclass(frozen=True)
class Figures:
    """An evaluation, and the ECE before calibration."""

    evaluation: Evaluation
    uncalibrated_ece: float


def measure(examples: Sequence[Example], head: str, tagger: Tagger) -> Figures:
    """Figures of `head` on the examples that bear its label."""
    labels = HEADS[head]
    rows = (
        LabelledText(e.text, labels[getattr(e, head)], e.source)
        for e in examples
        if _labelled(e, head)
    )
    values, right = labelled_logits(tagger, examples, head)
    return Figures(
        evaluation=summarise(predictions(rows, head, tagger), head, tagger),
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
