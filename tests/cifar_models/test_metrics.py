"""The measures of a probability, against known answers."""

import math

import numpy as np
import pytest

from cifar_models.metrics import accuracy, negative_log_likelihood, reliability, wilson_interval

# Two classes. Sure (0.95): one right, one wrong. Fairly sure (0.65): right. Hardly sure (0.55): wrong.
EXAMPLE = np.array([[0.95, 0.05], [0.05, 0.95], [0.35, 0.65], [0.55, 0.45]])
EXAMPLE_LABELS = np.array([0, 0, 1, 1])
PUBLISHED = 1e-4  # to which the published values are rounded


def test_calibration_error_of_a_hand_computed_example() -> None:
    assert reliability(EXAMPLE, EXAMPLE_LABELS).error == pytest.approx((2 * 0.45 + 0.35 + 0.55) / 4)


def test_calibration_error_is_zero_when_certainty_is_right_and_one_when_it_is_wrong() -> None:
    certain = np.eye(10, dtype=np.float32)
    assert reliability(certain, np.arange(10)).error == 0
    assert reliability(certain, (np.arange(10) + 1) % 10).error == 1


def test_certainty_shares_its_bin_with_what_is_nearly_certain() -> None:
    probabilities = np.array([[1.0, 0.0], [0.98, 0.02]])
    assert reliability(probabilities, np.array([1, 0])).error == pytest.approx(abs(0.5 - 0.99))


def test_accuracy_and_likelihood_of_a_hand_computed_example() -> None:
    assert accuracy(EXAMPLE, EXAMPLE_LABELS) == 0.5
    nats = -(math.log(0.95) + math.log(0.05) + math.log(0.65) + math.log(0.45)) / 4
    assert negative_log_likelihood(EXAMPLE, EXAMPLE_LABELS) == pytest.approx(nats)


def test_likelihood_of_an_impossible_label_is_finite() -> None:
    assert negative_log_likelihood(np.eye(2, dtype=np.float32), np.array([1, 0])) < 100


def test_a_perfect_answer_has_no_negative_likelihood() -> None:
    assert str(negative_log_likelihood(np.array([[1, 0]], np.float32), np.array([0]))) == "0.0"


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [
        *((0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634), (1, 1, 0.2065, 1.0)),
        *((50, 100, 0.4038, 0.5962), (9000, 10_000, 0.8940, 0.9057)),
    ],
)
def test_wilson_s_interval_has_its_known_values(right: int, count: int, low: float, high: float) -> None:
    assert wilson_interval(right / count, count) == pytest.approx((low, high), abs=PUBLISHED)
