"""Probabilities that mean what they say: temperature scaling and its measures."""

import msgspec
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
    curve = CalibrationCurve(bins)
    if len(right):
        curve.add(values.max(axis=1), values.argmax(axis=1) == right)
    return curve.error()


class CalibrationBin(msgspec.Struct, frozen=True):
    """Texts of confidence in `low`..`high`: their mean confidence and accuracy, None for none."""

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


class CalibrationCurve:
    """Confidence and accuracy over equal-width bins, gathered as predictions go by."""

    def __init__(self, bins: int = 15) -> None:
        self._counts = np.zeros(bins, np.int64)
        self._confidence = np.zeros(bins)
        self._hits = np.zeros(bins)

    def add(self, confidence: ArrayLike, hit: ArrayLike) -> None:
        """The probability of the label chosen, and whether it was right; of one text or many."""
        values = np.atleast_1d(np.asarray(confidence, np.float64))
        size = len(self._counts)
        bin_of = np.minimum((values * size).astype(int), size - 1)
        np.add.at(self._counts, bin_of, 1)
        np.add.at(self._confidence, bin_of, values)
        np.add.at(self._hits, bin_of, np.atleast_1d(np.asarray(hit, np.float64)))

    def error(self) -> float:
        """The expected calibration error, 0 for no texts."""
        return float(np.abs(self._hits - self._confidence).sum() / max(1, self._counts.sum()))

    def bins(self) -> tuple[CalibrationBin, ...]:
        """All bins, the least confident first."""
        size = len(self._counts)
        rows = zip(self._counts.tolist(), self._confidence.tolist(), self._hits, strict=True)
        return tuple(
            CalibrationBin(
                low=i / size,
                high=(i + 1) / size,
                count=count,
                confidence=confidence / count if count else None,
                accuracy=float(hits) / count if count else None,
            )
            for i, (count, confidence, hits) in enumerate(rows)
        )
