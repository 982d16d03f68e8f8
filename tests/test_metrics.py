"""The temperature and the measures of a probability, against known answers."""

import math

import numpy as np
import pytest

from cifar_models.metrics import Floats, Labels, accuracy, expected_calibration_error, negative_log_likelihood
from cifar_models.temperature import fit_temperature, softmax


@pytest.mark.parametrize("temperature", [0.25, 0.7, 1.0, 1.8, 5.0])
@pytest.mark.parametrize("spread", [1.0, 4.0])
def test_a_known_temperature_is_recovered(temperature: float, spread: float) -> None:
    honest, labels = honest_logits(20_000, spread)
    assert fit_temperature(honest * temperature, labels) == pytest.approx(temperature, rel=0.03)


def test_the_temperature_has_the_least_negative_log_likelihood() -> None:
    honest, labels = honest_logits(2_000, spread=3.0)
    logits = (honest * 2.5).astype(np.float32)
    best = fit_temperature(logits, labels)
    losses = [negative_log_likelihood(softmax(logits / (best * factor)), labels) for factor in (1, 0.98, 1.02)]
    assert losses[0] == min(losses)


def test_the_temperature_makes_probabilities_honest() -> None:
    honest, labels = honest_logits(20_000, spread=3.0)
    logits = honest * 3
    assert expected_calibration_error(softmax(logits), labels) > 0.1
    assert expected_calibration_error(softmax(logits / fit_temperature(logits, labels)), labels) < 0.02


@pytest.mark.parametrize("margin", [0.01, 1.0, 30.0, 1e4])
def test_perfectly_separable_logits_have_a_usable_temperature(margin: float) -> None:
    labels = np.arange(100) % 10
    logits = np.eye(10, dtype=np.float32)[labels] * np.float32(margin)
    temperature = fit_temperature(logits, labels)
    assert 0 < temperature < math.inf
    probabilities = softmax(logits / temperature)
    assert np.isfinite(probabilities).all()
    assert accuracy(probabilities, labels) == 1
    assert negative_log_likelihood(probabilities, labels) <= negative_log_likelihood(softmax(logits), labels)


@pytest.mark.parametrize("scale", [0.0, 5.0])
def test_logits_that_know_nothing_have_a_temperature_of_at_most_20(scale: float) -> None:
    generator = np.random.default_rng(0)
    temperature = fit_temperature(generator.normal(0, scale, (1000, 10)), generator.integers(0, 10, 1000))
    assert 1 <= temperature <= 20


def test_logits_that_are_confidently_wrong_are_damped_as_far_as_allowed() -> None:
    labels = np.arange(100) % 10
    assert fit_temperature(np.eye(10)[(labels + 1) % 10] * 10, labels) == pytest.approx(20)


def test_softmax_of_a_hand_computed_example() -> None:
    assert softmax(np.log([[1.0, 2.0, 5.0]])) == pytest.approx(np.array([[0.125, 0.25, 0.625]]))


@pytest.mark.parametrize("offset", [0, 1e4, -1e4])
def test_softmax_sums_to_one_and_survives_large_logits(offset: float) -> None:
    logits = np.random.default_rng(0).normal(offset, 1000, (50, 10)).astype(np.float32)
    probabilities = softmax(logits)
    assert probabilities.dtype == np.float64
    assert probabilities.sum(1) == pytest.approx(np.ones(50))
    assert np.array_equal(probabilities.argmax(1), logits.argmax(1))


# Two classes. Sure (0.95): one right, one wrong. Fairly sure (0.65): right. Hardly sure (0.55): wrong.
EXAMPLE = np.array([[0.95, 0.05], [0.05, 0.95], [0.35, 0.65], [0.55, 0.45]])
EXAMPLE_LABELS = np.array([0, 0, 1, 1])


@pytest.mark.parametrize(
    ("bins", "expected"),
    [
        (10, (2 * 0.45 + 0.35 + 0.55) / 4),
        (2, abs(0.5 - (0.95 + 0.95 + 0.65 + 0.55) / 4)),  # all in the upper half: right in half of the cases
    ],
)
def test_calibration_error_of_a_hand_computed_example(bins: int, expected: float) -> None:
    assert expected_calibration_error(EXAMPLE, EXAMPLE_LABELS, bins=bins) == pytest.approx(expected)


def test_calibration_error_is_zero_when_certainty_is_right_and_one_when_it_is_wrong() -> None:
    certain = np.eye(10, dtype=np.float32)
    assert expected_calibration_error(certain, np.arange(10)) == 0
    assert expected_calibration_error(certain, (np.arange(10) + 1) % 10) == 1


def test_certainty_shares_its_bin_with_what_is_nearly_certain() -> None:
    probabilities = np.array([[1.0, 0.0], [0.98, 0.02]])
    assert expected_calibration_error(probabilities, np.array([1, 0])) == pytest.approx(abs(0.5 - 0.99))


def test_accuracy_and_likelihood_of_a_hand_computed_example() -> None:
    assert accuracy(EXAMPLE, EXAMPLE_LABELS) == 0.5
    nats = -(math.log(0.95) + math.log(0.05) + math.log(0.65) + math.log(0.45)) / 4
    assert negative_log_likelihood(EXAMPLE, EXAMPLE_LABELS) == pytest.approx(nats)


def test_likelihood_of_an_impossible_label_is_finite() -> None:
    assert negative_log_likelihood(np.eye(2, dtype=np.float32), np.array([1, 0])) < 100


def honest_logits(count: int, spread: float) -> tuple[Floats, Labels]:
    """Logits [count, 10], and labels drawn with exactly the probabilities that these logits claim."""
    generator = np.random.default_rng(0)
    logits = generator.normal(0, spread, (count, 10))
    labels = (softmax(logits).cumsum(1) < generator.random((count, 1))).sum(1)
    return logits, labels


def test_a_perfect_answer_has_no_negative_likelihood() -> None:
    assert str(negative_log_likelihood(np.array([[1, 0]], np.float32), np.array([0]))) == "0.0"
