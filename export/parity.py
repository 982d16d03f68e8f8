"""Whether an exported file computes what the reference computes."""

from dataclasses import dataclass
from math import inf

import numpy as np
import numpy.typing as npt

from cifar_models.classifier import Classifier
from cifar_models.dataset import ImageSet
from cifar_models.errors import InputError
from cifar_models.manifest import Parity
from cifar_models.picture import Pixels
from export.golden import extreme_images
from export.reference import run_reference
from export.runner import Outputs, Runner, run_in_batches

_ROUNDED = "The model with weights rounded to float16"
_BATCHES = (0, 1, 2, 3, 7, 16, 33, 128)


class ParityError(InputError):
    """An exported file that must not be kept, and why."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Largest absolute differences allowed. Where the two best logits are closer than `logit`, labels may swap."""

    logit: float
    probability: float
    rows: float  # of one image's logits, between batches of different size
    agreement: float  # smallest share of equal labels
    accuracy_drop: float  # share of the labelled images


# Float sums in another order differ in their last digits. Int8 rounds: a logit may be off, and what counts is what it
# does to the answers.
TOLERANCES = {
    "onnx-fp32": Tolerance(logit=1e-4, probability=1e-5, rows=1e-4, agreement=1, accuracy_drop=0),
    "torchscript-fp32": Tolerance(logit=1e-5, probability=1e-6, rows=1e-5, agreement=1, accuracy_drop=0),
    "onnx-int8": Tolerance(logit=inf, probability=inf, rows=1e-1, agreement=0.985, accuracy_drop=0.003),
}


# What rounding weights to float16 may change, against the checkpoint itself.
ROUNDING = Tolerance(logit=1e-2, probability=2e-3, rows=inf, agreement=0.999, accuracy_drop=1e-3)


class Evidence:
    """The images that every exported file is compared on, and what the reference says of them."""

    def __init__(self, model: Classifier, real: ImageSet) -> None:
        self.real = real
        self.extremes = extreme_images()
        self.real_outputs = run_reference(model, real.images)
        self.extreme_outputs = run_reference(model, self.extremes)
        self.temperature = model.temperature.item()


def check_parity(key: str, run: Runner, evidence: Evidence) -> Parity:
    """Compare the file that `run` runs with the reference. Raises ParityError when it is off by too much."""
    tolerance = TOLERANCES[key]
    found = attempt(key, lambda images: run_in_batches(run, images), evidence.real.images)
    check_batch_sizes(key, run, evidence.real.images, found, tolerance.rows)
    extremes = compare(run(evidence.extremes), evidence.extreme_outputs, tolerance.logit)
    report = compare(found, evidence.real_outputs, tolerance.logit, evidence.real.labels)
    worst = {
        "max_abs_logit": max(report.max_abs_logit, extremes.max_abs_logit),
        "max_abs_probability": max(report.max_abs_probability, extremes.max_abs_probability),
    }
    require_all(key, report.model_copy(update=worst), tolerance, evidence.temperature)
    return report


def check_rounding(checkpoint: Classifier, model: Classifier, real: ImageSet) -> Parity:
    """Compare the reference with the trained checkpoint, at the reference's temperature. Raises ParityError."""
    checkpoint.temperature.copy_(model.temperature)
    trained, rounded = run_reference(checkpoint, real.images), run_reference(model, real.images)
    report = compare(rounded, trained, ROUNDING.logit, real.labels)
    require_all(_ROUNDED, report, ROUNDING, model.temperature.item())
    return report


def require_all(key: str, report: Parity, tolerance: Tolerance, temperature: float) -> None:
    # A low temperature multiplies what the logits differ by.
    probability = tolerance.probability * max(1.0, 1 / temperature)
    require(key, "logits differ by", report.max_abs_logit, tolerance.logit)
    require(key, "probabilities differ by", report.max_abs_probability, probability)
    require(key, "the share of other labels is", 1 - report.top1_agreement, 1 - tolerance.agreement)
    require(key, "accuracy falls by", report.accuracy_drop, tolerance.accuracy_drop)


def require(key: str, what: str, value: float, allowed: float) -> None:
    if not value <= allowed + 1e-12:  # not `>`: NaN must fail too
        raise ParityError(f"{key} does not agree with the checkpoint: {what} {value:.3g}, allowed is {allowed:.3g}.")


def compare(found: Outputs, reference: Outputs, margin: float, labels: npt.NDArray[np.int64] | None = None) -> Parity:
    """How far outputs are apart; without labels no accuracy can fall."""
    logits, expected = found[0], reference[0]
    second, first = np.sort(expected, axis=1)[:, -2:].T
    same = logits.argmax(1) == expected.argmax(1)
    if np.isfinite(margin):
        same |= first - second <= margin
    return Parity(
        images=len(logits),
        max_abs_logit=float(np.abs(logits - expected).max()),
        max_abs_probability=float(np.abs(found[1] - reference[1]).max()),
        top1_agreement=float(same.mean()),
        accuracy_drop=0 if labels is None else share_right(reference, labels) - share_right(found, labels),
    )


def share_right(outputs: Outputs, labels: npt.NDArray[np.int64]) -> float:
    return float((outputs[0].argmax(1) == labels).mean())


def attempt(key: str, run: Runner, images: Pixels) -> Outputs:
    try:
        return run(images)
    except Exception as error:  # each format raises its own
        raise ParityError(f"{key} cannot run {len(images)} images; is its batch fixed? ({error})") from error


def check_batch_sizes(key: str, run: Runner, images: Pixels, expected: Outputs, tolerance: float) -> None:
    """An image's outputs must not depend on the batch that it comes in."""
    for size in _BATCHES:
        batch = np.resize(images, (size, *images.shape[1:]))
        logits, probabilities = attempt(key, run, batch)
        rows = np.resize(expected[0], (size, expected[0].shape[1])) if size else logits
        if logits.shape != rows.shape or probabilities.shape != rows.shape:
            raise ParityError(f"{key} gives outputs {logits.shape} for a batch of {size}, not {rows.shape}.")
        require(key, f"logits of a batch of {size} differ by", float(np.abs(logits - rows).max(initial=0)), tolerance)
