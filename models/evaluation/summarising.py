"""From a stream of predictions to figures, keeping nothing of a text but its probabilities."""

import heapq
from array import array
from collections import defaultdict
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from models.calibration import CalibrationCurve
from models.drift import ABSTAINING, Drift, Observed, compare, reference
from models.evaluation import resampling
from models.evaluation.predicting import Prediction
from models.evaluation.reading import EvaluationError, labels_of, unknown_label
from models.evaluation.results import ClassFigures, Evaluation, Figures, WorstError
from models.evaluation.slicing import SLICES, slices_of
from models.priors import estimate_shares
from models.tagger import Tagger

WORST = 20
MOST_GROUPS = 100
_SHOWN_CHARACTERS = 1_000


def summarise(results: Iterable[Prediction | None], head: str, tagger: Tagger) -> Evaluation:
    """The figures over `results`, None among which stands for a text that could not be tagged."""
    gathered = Gathered(head)
    for result in results:
        gathered.add(result)
    return gathered.evaluation(tagger)


class Tally:
    """What the figures of some texts are computed from; its size does not depend on their number.

    Labels go in as indices of the head's labels.
    """

    def __init__(self, classes: int) -> None:
        self.confusion = np.zeros((classes, classes), np.int64)
        self.curve = CalibrationCurve()

    def add(self, truth: int, predicted: int, confidence: float) -> None:
        """One text; `confidence` is the probability of `predicted`."""
        self.confusion[truth, predicted] += 1
        self.curve.add(confidence, truth == predicted)

    def figures(self) -> Figures:
        """Figures of the texts so far, of which there must be one."""
        accuracy, macro_f1 = resampling.scores(self.confusion)
        accuracy_interval, macro_f1_interval = resampling.intervals(self.confusion)
        return Figures(
            n=int(self.confusion.sum()),
            accuracy=float(accuracy),
            accuracy_interval=accuracy_interval,
            macro_f1=float(macro_f1),
            macro_f1_interval=macro_f1_interval,
            ece=self.curve.error(),
        )


class Gathered:
    """The predictions of one model so far."""

    def __init__(self, head: str) -> None:
        self.head = head
        self.labels = labels_of(head)
        self._index = {label: i for i, label in enumerate(self.labels)}
        self._whole = self._empty()
        self._slices = defaultdict[str, Tally](self._empty)
        self._groups = defaultdict[str, Tally](self._empty)
        self._worst: list[tuple[float, int, WorstError]] = []
        self._chances = array("f")
        self._rows = self._failed = self._abstained = self._confidence = 0

    def add(self, result: Prediction | None) -> None:
        """Raises `EvaluationError` for a label that the head does not have."""
        self._rows += 1
        if result is None:
            self._failed += 1
            return
        if result.label not in self._index:
            raise EvaluationError(unknown_label(result.label, self.head))
        predicted = self._index[result.predicted]
        confidence = result.probabilities[predicted]
        self._whole.add(self._index[result.label], predicted, confidence)
        for tally in self._tallies(result):
            tally.add(self._index[result.label], predicted, confidence)
        if result.predicted != result.label:
            self._keep_if_worst(result, confidence)
        self._chances.extend(result.probabilities)
        self._confidence += round(confidence * 1_000_000)
        self._abstained += result.abstained

    def evaluation(self, tagger: Tagger) -> Evaluation:
        """The figures of all that was added, by the model of `tagger`."""
        if not self._chances:
            raise EvaluationError("There is no labelled text to evaluate: give at least one.")
        whole, confusion = self._whole.figures(), self._whole.confusion
        chances = np.frombuffer(self._chances, np.float32).reshape(-1, len(self.labels))
        return Evaluation(
            n=whole.n,
            accuracy=whole.accuracy,
            accuracy_interval=whole.accuracy_interval,
            macro_f1=whole.macro_f1,
            macro_f1_interval=whole.macro_f1_interval,
            ece=whole.ece,
            head=self.head,
            labels=self.labels,
            failed=self._failed,
            abstained=self._abstained,
            per_class={label: _figures(confusion, i) for i, label in enumerate(self.labels)},
            confusion=tuple(tuple(row) for row in confusion.tolist()),
            calibration=self._whole.curve.bins(),
            worst=tuple(error for *_, error in sorted(self._worst, reverse=True)),
            slices=self._figures_of_slices(),
            predicted_shares=self._by_label(confusion.sum(axis=0) / whole.n),
            soft_shares=self._by_label(chances.mean(axis=0, dtype=np.float64)),
            estimated_shares=self._estimated_shares(chances, tagger),
            drift=self._drift(tagger),
            model=tagger.identity,
        )

    def _empty(self) -> Tally:
        return Tally(len(self.labels))

    def _tallies(self, result: Prediction) -> Iterable[Tally]:
        for name in slices_of(result.text):
            yield self._slices[name]
        if result.group is not None:
            if result.group not in self._groups and len(self._groups) >= MOST_GROUPS:
                raise EvaluationError(
                    f"The texts have more than {MOST_GROUPS} values to slice by, the last one "
                    f"{result.group!r}: choose a column with fewer."
                )
            yield self._groups[result.group]

    def _keep_if_worst(self, result: Prediction, confidence: float) -> None:
        error = WorstError(
            row=self._rows,
            text=result.text[:_SHOWN_CHARACTERS],
            label=result.label,
            predicted=result.predicted,
            confidence=confidence,
        )
        keep = heapq.heappush if len(self._worst) < WORST else heapq.heappushpop
        keep(self._worst, (confidence, -self._rows, error))

    def _figures_of_slices(self) -> dict[str, Figures]:
        by_words = {name: self._slices[name] for name in SLICES if name in self._slices}
        by_group = dict(sorted(self._groups.items()))
        return {name: tally.figures() for name, tally in (by_words | by_group).items()}

    def _estimated_shares(
        self, chances: NDArray[np.float32], tagger: Tagger
    ) -> dict[str, float] | None:
        normal = reference(tagger.config, self.head)
        return None if normal is None else self._by_label(estimate_shares(chances, normal.shares))

    def _drift(self, tagger: Tagger) -> Drift | None:
        normal = reference(tagger.config, self.head)
        if normal is None:
            return None
        counts = tuple(self._whole.confusion.sum(axis=0).tolist())
        abstained = self._abstained if self.head == ABSTAINING else None
        return compare(Observed(self.head, counts, self._confidence, abstained), normal)

    def _by_label(self, shares: NDArray[np.float64]) -> dict[str, float]:
        return dict(zip(self.labels, shares.tolist(), strict=True))


def _figures(confusion: NDArray[np.int64], i: int) -> ClassFigures:
    hits, support, claimed = confusion[i, i], confusion[i].sum(), confusion[:, i].sum()
    return ClassFigures(
        precision=float(hits / claimed) if claimed else 0.0,
        recall=float(hits / support) if support else 0.0,
        f1=float(2 * hits / (support + claimed)) if support + claimed else 0.0,
        support=int(support),
    )
