import numpy as np
import pytest

from models.evaluation.resampling import intervals, mcnemar, paired, scores

CONFUSION = np.array([[60, 20, 10], [10, 250, 30], [5, 15, 100]])


def test_scores_by_hand() -> None:
    accuracy, macro_f1 = scores(np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0]]))
    assert accuracy == pytest.approx(2 / 3)
    assert macro_f1 == pytest.approx(2 / 3)  # the third label does not occur


def test_intervals_are_those_of_drawing_texts() -> None:
    cells = [(t, p) for t in range(3) for p in range(3) for _ in range(CONFUSION[t, p])]
    truth, predicted = np.array(cells).T
    chance = np.random.default_rng(5)
    drawn = []
    for _ in range(2_000):
        rows = chance.integers(0, len(truth), len(truth))
        confusion = np.zeros((3, 3), np.int64)
        np.add.at(confusion, (truth[rows], predicted[rows]), 1)
        drawn.append(scores(confusion))
    for interval, values in zip(intervals(CONFUSION), np.array(drawn).T, strict=True):
        assert interval == pytest.approx(np.quantile(values, (0.025, 0.975)), abs=0.006)


def test_a_pair_of_equals_does_not_differ() -> None:
    # 40 texts each on which one or the other is right, and 300 on which both are.
    cells = {(0, 0, 0): 150, (1, 1, 1): 150, (0, 0, 1): 40, (0, 1, 0): 40}
    accuracy, macro_f1 = paired(cells, 2)
    assert accuracy.value == macro_f1.value == 0
    for difference in (accuracy, macro_f1):
        low, high = difference.interval
        assert low < 0 < high
        assert difference.p > 0.5


def test_pairing_finds_what_two_intervals_apart_would_not() -> None:
    # Accuracies of .84 and .80 with overlapping intervals, but the one never loses to the other.
    cells = {(0, 0, 0): 400, (1, 1, 1): 400, (1, 1, 0): 40, (0, 1, 1): 160}
    accuracy, _ = paired(cells, 2)
    assert accuracy.value == pytest.approx(0.04)
    assert accuracy.interval[0] > 0
    assert accuracy.p < 0.01


@pytest.mark.parametrize(
    ("one", "other", "p"), [(0, 0, 1.0), (5, 5, 1.0), (10, 2, 0.03857421875), (0, 8, 2 / 256)]
)
def test_mcnemar_by_hand(one: int, other: int, p: float) -> None:
    assert mcnemar(one, other) == pytest.approx(p)
