"""What an evaluation comes to, as it stands in JSON."""

import msgspec

from models.calibration import CalibrationBin
from models.drift import Drift
from models.tags import ModelIdentity

Interval = tuple[float, float]
"""The ends of a 95 % interval: bootstrap over texts, percentiles (Efron 1979)."""


class ClassFigures(msgspec.Struct, frozen=True):
    """Figures of one label; `support` is the number of texts that bear it."""

    precision: float
    recall: float
    f1: float
    support: int


class Figures(msgspec.Struct, frozen=True):
    """Figures of `n` texts.

    `macro_f1` is the mean over the labels that occur in the truth; `ece` has 15 equal-width bins.
    """

    n: int
    accuracy: float
    accuracy_interval: Interval
    macro_f1: float
    macro_f1_interval: Interval
    ece: float


class WorstError(msgspec.Struct, frozen=True):
    """A text (its beginning) with the wrong label; `row` counts the texts from 1.

    `confidence` is the probability that the model gave to what it predicted.
    """

    row: int
    text: str
    label: str
    predicted: str
    confidence: float


class Difference(msgspec.Struct, frozen=True):
    """A figure of the model less that of the other; positive where the model is better.

    `interval`: 95 %, paired bootstrap over texts; `p`: how often chance alone would give as much,
    two-sided, from the same resamples.
    """

    value: float
    interval: Interval
    p: float


class Comparison(msgspec.Struct, frozen=True):
    """The model against another on the same texts.

    `only_model_right` and `only_other_right` count the texts on which just one of them was right;
    `mcnemar_p` is McNemar's exact test on these two.
    """

    accuracy: Difference
    macro_f1: Difference
    only_model_right: int
    only_other_right: int
    mcnemar_p: float
    other: "Evaluation"


class Evaluation(Figures, frozen=True, kw_only=True):
    """How a head did. `confusion`: rows are the truth, columns the prediction, order `labels`.

    `failed` texts could not be tagged and count in no figure but `failed`. `worst`: the most
    confident errors, the worst first. `slices`: figures by a property of the text.

    Shares of the labels: `predicted_shares` counts predictions, `soft_shares` adds up their
    probabilities, and `estimated_shares` takes out of these the lean towards the training data's
    mix (`models.priors`). These and `drift` are None where the model does not know that mix.
    """

    head: str
    labels: tuple[str, ...]
    failed: int
    abstained: int
    per_class: dict[str, ClassFigures]
    confusion: tuple[tuple[int, ...], ...]
    calibration: tuple[CalibrationBin, ...]
    worst: tuple[WorstError, ...]
    slices: dict[str, Figures]
    predicted_shares: dict[str, float]
    soft_shares: dict[str, float]
    estimated_shares: dict[str, float] | None
    drift: Drift | None
    model: ModelIdentity
    comparison: Comparison | None = None
