import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.calibration import (
    CalibrationCurve,
    expected_calibration_error,
    fit_temperature,
    softmax,
)


@given(
    st.lists(st.lists(st.floats(-50, 50), min_size=3, max_size=3), min_size=1, max_size=5),
    st.floats(0.05, 20),
)
def test_softmax_is_a_distribution_in_the_order_of_the_logits(
    logits: list[list[float]], temperature: float
) -> None:
    probabilities = softmax(logits, temperature)
    assert np.allclose(probabilities.sum(axis=1), 1)
    best = np.take_along_axis(probabilities, np.argmax(logits, axis=1)[:, None], axis=1)
    assert np.all(best[:, 0] == probabilities.max(axis=1))


def test_softmax_stands_extreme_logits() -> None:
    assert softmax([1e4, -1e4]).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_blurred_the_logits_is_found(temperature: float) -> None:
    chance = np.random.default_rng(1)
    true = chance.normal(size=(20_000, 3)) * 2
    chosen = (softmax(true).cumsum(axis=1) > chance.random((20_000, 1))).argmax(axis=1)
    assert fit_temperature(true * temperature, chosen) == pytest.approx(temperature, rel=0.05)


def test_calibration_error_by_hand() -> None:
    probabilities = [[0.9, 0.1], [0.9, 0.1], [0.55, 0.45], [0.45, 0.55]]
    # Bin of 0.9: accuracy 0.5, gap 0.4, half of the texts; bin of 0.55: all right, gap 0.45.
    assert expected_calibration_error(probabilities, [0, 1, 0, 1]) == pytest.approx(
        0.5 * 0.4 + 0.5 * 0.45
    )


def test_certain_and_right_has_no_calibration_error() -> None:
    assert expected_calibration_error([[1.0, 0.0], [0.0, 1.0]], [0, 1]) == 0.0
    assert expected_calibration_error(np.empty((0, 3)), []) == 0.0


def test_a_calibration_curve_is_the_same_gathered_one_by_one_or_at_once() -> None:
    chance = np.random.default_rng(2)
    confidence = [0.0, 1.0, *chance.random(50).tolist()]
    hits = [False, True, *(chance.random(50) < 0.5).tolist()]
    once, singly = CalibrationCurve(), CalibrationCurve()
    once.add(confidence, hits)
    for value, hit in zip(confidence, hits, strict=True):
        singly.add(value, hit)
    assert once.bins() == singly.bins()
    assert once.error() == singly.error() > 0


def test_a_calibration_curve_by_hand() -> None:
    curve = CalibrationCurve(bins=4)
    curve.add([0.5, 0.7, 0.99], [True, False, True])
    empty, _, third, fourth = curve.bins()
    assert (empty.low, empty.high, empty.count, empty.confidence, empty.accuracy) == (
        0, 0.25, 0, None, None,
    )  # fmt: skip
    assert (third.count, third.confidence, third.accuracy) == (2, pytest.approx(0.6), 0.5)
    assert (fourth.count, fourth.confidence, fourth.accuracy) == (1, pytest.approx(0.99), 1.0)
