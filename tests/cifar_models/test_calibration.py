"""What makes a network's confidence honest, against answers that are known because they were drawn so."""

import numpy as np
import pytest
import torch

from cifar_models.calibration import Calibration, fit_calibration, fit_factors, margins, softmax
from cifar_models.classifier import Classifier
from cifar_models.metrics import Floats, Labels, accuracy, negative_log_likelihood, reliability


@pytest.mark.parametrize("temperature", [0.25, 0.7, 1.0, 1.8, 5.0])
@pytest.mark.parametrize("spread", [1.0, 4.0])
def test_a_known_temperature_is_recovered(temperature: float, spread: float) -> None:
    honest, labels = draw(20_000, spread, Calibration())
    found = fit_calibration(honest * temperature, labels)
    assert found.temperature == pytest.approx(temperature, rel=0.1)
    assert found.sharpening == pytest.approx(0, abs=0.02 / temperature**2)


@pytest.mark.parametrize("true", [Calibration(1.0, 0.1), Calibration(2.0, 0.05), Calibration(1.5, 0.3)])
def test_a_known_sharpening_is_recovered(true: Calibration) -> None:
    logits, labels = draw(50_000, 2.0, true)
    found = fit_calibration(logits, labels)
    assert found.temperature == pytest.approx(true.temperature, rel=0.15)
    assert found.sharpening == pytest.approx(true.sharpening, rel=0.15)
    assert reliability(found.probabilities(logits), labels).error < 0.01


def test_what_is_too_unsure_of_what_it_knows_is_never_sharpened_the_other_way() -> None:
    logits, labels = draw(20_000, 2.0, Calibration(0.5, -0.05))
    assert fit_calibration(logits, labels).sharpening == 0


@pytest.mark.parametrize("seed", range(5))
def test_so_few_images_are_no_reason_to_sharpen(seed: int) -> None:
    logits, labels = draw(30, 3.0, Calibration(1.0, 0.01), seed=seed)
    assert fit_calibration(logits, labels).sharpening == 0


@pytest.mark.parametrize("true", [Calibration(0.4), Calibration(1.0, 0.2)])
def test_the_calibration_has_the_least_negative_log_likelihood(true: Calibration) -> None:
    logits, labels = draw(5_000, 3.0, true)
    logits = logits.astype(np.float32)
    best = fit_calibration(logits, labels)
    near = (
        [(1, 0), (0.98, 0), (1.02, 0), (1, 0.002), (1, -0.002)] if best.sharpening else [(1, 0), (0.98, 0), (1.02, 0)]
    )
    losses = [
        negative_log_likelihood(
            Calibration(best.temperature * factor, best.sharpening + more).probabilities(logits), labels
        )
        for factor, more in near
    ]
    assert losses[0] == min(losses)


def test_a_sum_at_its_bound_is_still_the_likeliest_there() -> None:
    """Newton's step would leave the bounds; what is left free must be optimal at the bound, not on the way to it."""
    logits, labels = draw(5_000, 2.0, Calibration(0.5, -0.05))
    (inverse, sharpening), loss = fit_factors(np.stack([logits, logits * margins(logits)]), labels)
    (alone,), plain_loss = fit_factors(logits[None], labels)
    assert sharpening == 0
    assert (inverse, loss) == pytest.approx((alone, plain_loss))


def test_the_calibration_makes_probabilities_honest() -> None:
    honest, labels = draw(20_000, 3.0, Calibration())
    logits = honest * 3
    assert reliability(softmax(logits), labels).error > 0.1
    assert reliability(fit_calibration(logits, labels).probabilities(logits), labels).error < 0.02


@pytest.mark.parametrize("margin", [0.01, 1.0, 30.0, 1e4])
def test_perfectly_separable_logits_have_a_usable_calibration(margin: float) -> None:
    labels = np.arange(100) % 10
    logits = np.eye(10, dtype=np.float32)[labels] * np.float32(margin)
    found = fit_calibration(logits, labels)
    assert 0 < found.temperature < np.inf
    probabilities = found.probabilities(logits)
    assert np.isfinite(probabilities).all()
    assert accuracy(probabilities, labels) == 1
    assert negative_log_likelihood(probabilities, labels) <= negative_log_likelihood(softmax(logits), labels)


@pytest.mark.parametrize("scale", [0.0, 5.0])
def test_logits_that_know_nothing_have_a_temperature_of_at_most_20(scale: float) -> None:
    generator = np.random.default_rng(0)
    found = fit_calibration(generator.normal(0, scale, (1000, 10)), generator.integers(0, 10, 1000))
    assert 1 <= found.temperature <= 20
    assert found.sharpening == 0


def test_logits_that_are_confidently_wrong_are_damped_as_far_as_allowed() -> None:
    labels = np.arange(100) % 10
    found = fit_calibration(np.eye(10)[(labels + 1) % 10] * 10, labels)
    assert (found.temperature, found.sharpening) == pytest.approx((20, 0))


def test_no_label_changes_and_of_two_labels_the_larger_margin_stays_the_surer_one() -> None:
    logits = np.random.default_rng(0).normal(0, 3, (500, 2))
    probabilities = Calibration(1.5, 0.2).probabilities(logits)
    assert np.array_equal(probabilities.argmax(1), logits.argmax(1))
    assert np.array_equal(probabilities.max(1).argsort(), margins(logits)[:, 0].argsort())


@pytest.mark.parametrize("calibration", [Calibration(), Calibration(0.5), Calibration(2.0, 0.3), Calibration(0.9, 1.5)])
def test_no_probability_of_two_moves_more_than_its_steepness_says(calibration: Calibration) -> None:
    margin = np.linspace(-8, 8, 4001)
    pair = np.stack([margin, np.zeros_like(margin)], axis=1)
    first = calibration.probabilities(pair)[:, 0]
    steepest = np.abs(np.diff(first)).max() / (margin[1] - margin[0])
    assert calibration.steepness == pytest.approx(4 * steepest, rel=0.01)  # a plain softmax moves by a quarter


def test_the_graph_computes_what_the_calibration_says() -> None:
    model, calibration = Classifier("lenet", num_classes=10).eval(), Calibration(0.8, 0.25)
    model.calibrate(calibration)
    images = torch.randint(0, 256, (16, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        logits, probabilities = model(images)
    assert probabilities.numpy() == pytest.approx(
        calibration.probabilities(logits.numpy().astype(np.float64)), abs=1e-6
    )
    assert (model.calibration.temperature, model.calibration.sharpening) == pytest.approx((0.8, 0.25))


def test_softmax_of_a_hand_computed_example() -> None:
    assert softmax(np.log([[1.0, 2.0, 5.0]])) == pytest.approx(np.array([[0.125, 0.25, 0.625]]))


@pytest.mark.parametrize("offset", [0, 1e4, -1e4])
def test_softmax_sums_to_one_and_survives_large_logits(offset: float) -> None:
    logits = np.random.default_rng(0).normal(offset, 1000, (50, 10)).astype(np.float32)
    probabilities = softmax(logits)
    assert probabilities.dtype == np.float64
    assert probabilities.sum(1) == pytest.approx(np.ones(50))
    assert np.array_equal(probabilities.argmax(1), logits.argmax(1))


def draw(count: int, spread: float, true: Calibration, *, seed: int = 0) -> tuple[Floats, Labels]:
    """Logits [count, 10], and labels drawn with exactly the probabilities that `true` makes of them."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, spread, (count, 10))
    labels = (true.probabilities(logits).cumsum(1) < generator.random((count, 1))).sum(1).clip(max=9)
    return logits, labels
