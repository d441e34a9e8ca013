"""The shares of the labels in a stream, when they are not those of the training data."""

import numpy as np
from numpy.typing import ArrayLike

from models.calibration import Floats

_STEPS = 2_000


def estimate_shares(
    probabilities: ArrayLike, training_shares: ArrayLike, tolerance: float = 1e-6
) -> Floats:
    """The most likely shares of the classes among texts, from what a model says of them.

    `probabilities`: (n, classes), calibrated where the classes have `training_shares`. The model's
    answers lean towards those; expectation maximisation takes the lean out, under the assumption
    that only the mix of classes has moved, not how a class speaks (Saerens, Latinne & Decaestecker
    2002). It stops where no share moves by `tolerance`. A class of no training share stays at 0;
    for n = 0 the answer is `training_shares`.
    """
    chances = np.asarray(probabilities, np.float64)
    before: Floats = np.array(training_shares, np.float64)
    before /= before.sum()
    if not len(chances):
        return before
    ratio = np.divide(chances, before, out=np.zeros_like(chances), where=before > 0)
    shares = before
    for _ in range(_STEPS):
        joint = ratio * shares
        total = joint.sum(axis=1, keepdims=True)
        moved: Floats = np.divide(joint, total, out=np.zeros_like(joint), where=total > 0).mean(0)
        moved /= moved.sum() or 1.0
        if np.abs(moved - shares).max() < tolerance:
            return moved
        shares = moved
    return shares
