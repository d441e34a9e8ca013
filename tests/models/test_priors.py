import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.calibration import softmax
from models.priors import estimate_shares

TRAINING = np.array([0.2, 0.5, 0.3])
MEANS = np.array([[2.0, 0.0], [0.0, 2.0], [-1.5, -1.0]])

shares = st.lists(st.floats(0.05, 1), min_size=3, max_size=3).map(
    lambda parts: np.array(parts) / sum(parts)
)


def posteriors(mix: NDArray[np.float64], n: int, seed: int) -> NDArray[np.float64]:
    """What a perfectly calibrated model of `TRAINING` says of n points of a known mixture."""
    chance = np.random.default_rng(seed)
    classes = chance.choice(3, n, p=mix)
    points = MEANS[classes] + chance.normal(size=(n, 2))
    squares = ((points[:, None] - MEANS) ** 2).sum(axis=2)
    return softmax(-squares / 2 + np.log(TRAINING))


@given(shares, st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_a_known_shift_is_recovered(mix: NDArray[np.float64], seed: int) -> None:
    found = estimate_shares(posteriors(mix, 6_000, seed), TRAINING)
    assert found.sum() == pytest.approx(1)
    assert np.abs(found - mix).max() < 0.04


@given(st.integers(0, 9))
@settings(max_examples=10, deadline=None)
def test_without_a_shift_nothing_moves(seed: int) -> None:
    found = estimate_shares(posteriors(TRAINING, 20_000, seed), TRAINING)
    assert np.abs(found - TRAINING).max() < 0.02


def test_it_is_nearer_than_counting_what_the_model_chose() -> None:
    mix = np.array([0.7, 0.2, 0.1])
    chances = posteriors(mix, 5_000, 3)
    chosen = np.bincount(chances.argmax(axis=1), minlength=3) / len(chances)
    estimated = estimate_shares(chances, TRAINING)
    soft = chances.mean(axis=0)
    assert np.abs(estimated - mix).sum() < np.abs(chosen - mix).sum() / 2
    assert np.abs(estimated - mix).sum() < np.abs(soft - mix).sum() / 2


def test_certain_answers_are_counted() -> None:
    certain = np.eye(3)[[0, 0, 0, 1]]
    assert estimate_shares(certain, TRAINING) == pytest.approx([0.75, 0.25, 0])


def test_no_texts_and_classes_never_trained_on() -> None:
    assert estimate_shares(np.empty((0, 3)), TRAINING) == pytest.approx(TRAINING)
    found = estimate_shares([[0.6, 0.3, 0.1]], [0.5, 0.5, 0.0])
    assert found[2] == 0
    assert found.sum() == pytest.approx(1)
