"""Probabilities that mean what they say: temperature scaling and its measure."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def softmax(logits: ArrayLike, temperature: float = 1.0) -> Floats:
    """Probabilities over the last axis, in float64, of logits divided by `temperature`."""
    scaled = np.asarray(logits, np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """The temperature in 0.05..20 of least negative log-likelihood (Guo et al. 2017).

    `logits`: (n, classes); `labels`: n indices of the right classes. The likelihood has one optimum
    in the inverse temperature, so a golden-section search finds it.
    """
    values, right = np.asarray(logits, np.float64), np.asarray(labels)

    def loss(log_temperature: float) -> float:
        chosen = softmax(values, float(np.exp(log_temperature)))[np.arange(len(right)), right]
        return -float(np.log(np.maximum(chosen, 1e-300)).mean())

    low, high = np.log(0.05), np.log(20.0)
    ratio = (np.sqrt(5) - 1) / 2
    for _ in range(60):
        left, upper = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, upper) if loss(left) < loss(upper) else (left, high)
    return float(np.exp((low + high) / 2))


def expected_calibration_error(
    probabilities: ArrayLike, labels: ArrayLike, bins: int = 15
) -> float:
    """Mean gap between confidence and accuracy over equal-width bins (Naeini et al. 2015).

    `probabilities`: (n, classes); `labels`: n indices. 0 for no texts.
    """
    values, right = np.asarray(probabilities, np.float64), np.asarray(labels)
    if not len(right):
        return 0.0
    confidence = values.max(axis=1)
    hit = values.argmax(axis=1) == right
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(hit[bin_of == b].mean() - confidence[bin_of == b].mean()) * (bin_of == b).mean()
        for b in np.unique(bin_of)
    ]
    return float(sum(gaps))
