import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.calibration import expected_calibration_error, fit_temperature, softmax


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
