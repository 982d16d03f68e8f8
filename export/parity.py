"""Whether an exported file computes what the reference computes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cifar_models.calibration import Calibration
from cifar_models.classifier import Classifier
from cifar_models.dataset import ImageSet
from cifar_models.errors import InputError, reason
from cifar_models.manifest import Check, Parity
from export.comparison import Comparison
from export.golden import extreme_images
from export.reference import run_reference
from export.refusal import share_answered
from export.runner import CPU, Outputs, Runner, Target
from export.stability import BATCHES, compare_with_itself

_THREADS = (1, 2)
_EXTREME = (Comparison.EXTREME_LOGITS, Comparison.EXTREME_PROBABILITIES)
_DIVERGENCE = 0.05  # nats an image
_ROUNDED = "The model with weights rounded to float16"

Opener = Callable[[Target], Runner]


class ParityError(InputError):
    """An exported file that must not be kept, and why."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Largest differences allowed, absolute; none: any, as long as it is finite."""

    logit: float | None
    probability: float | None
    rows: float | None  # of one image's probabilities, and its logits over the largest, however it is asked about
    labels: float  # share of the images whose label differs; where the best two are closer than `logit` it may
    accuracy: float  # share of the labelled images, lost
    relative: float = 0.0  # allowed of logits on top, times the largest

    def limit(self, comparison: Comparison, calibration: Calibration, largest: float = 0.0) -> float | None:
        """Of one comparison, where `largest` is that of the reference's logits, absolute."""
        match comparison:
            case Comparison.LOGITS | Comparison.EXTREME_LOGITS:
                return None if self.logit is None else self.logit + self.relative * largest
            case Comparison.PROBABILITIES | Comparison.EXTREME_PROBABILITIES:
                # The calibration multiplies what the logits differ by.
                return None if self.probability is None else self.probability * max(1.0, calibration.steepness)
            case Comparison.LABELS:
                return self.labels
            case Comparison.ACCURACIES:
                return self.accuracy
            case Comparison.WRONG_INPUTS:
                return 0.0  # share of them
        return self.rows


# Float sums in another order differ in their last digits. Int8 rounds: a logit may be off, and what counts is what it
# does to the answers.
TOLERANCES = {
    "onnx-fp32": Tolerance(logit=1e-4, probability=1e-5, rows=1e-4, labels=0, accuracy=0, relative=1e-4),
    "onnx-int8": Tolerance(logit=None, probability=None, rows=1e-1, labels=0.015, accuracy=0.003),
    "torchscript-fp32": Tolerance(logit=1e-5, probability=1e-6, rows=1e-5, labels=0, accuracy=0),
    "torch-export-fp32": Tolerance(logit=1e-5, probability=1e-6, rows=1e-5, labels=0, accuracy=0),
    "safetensors-fp32": Tolerance(logit=1e-5, probability=1e-6, rows=1e-5, labels=0, accuracy=0),
}

# On CUDA by arithmetic, whatever the format: other kernels, and with TF32 or float16 fewer digits. What rounding the
# input of every convolution to them does to trained networks grows with the logits: 0.3 % of the largest.
CUDA_TOLERANCES = {
    "fp32": Tolerance(logit=1e-3, probability=1e-4, rows=1e-3, labels=0, accuracy=0),
    "tf32": Tolerance(logit=2e-2, probability=1e-2, rows=2e-2, labels=0.001, accuracy=1e-3, relative=4e-3),
    "fp16": Tolerance(logit=5e-2, probability=2e-2, rows=5e-2, labels=0.002, accuracy=1e-3, relative=4e-3),
}

# What rounding weights to float16 may change against the checkpoint itself. Of networks that were trained long, logits
# of 20 move by 0.03, and probabilities by 0.002.
ROUNDING = Tolerance(logit=5e-2, probability=5e-3, rows=None, labels=0.001, accuracy=1e-3, relative=2e-3)


class Evidence:
    """The images that every exported file is compared on, and what the reference says of them."""

    def __init__(self, model: Classifier, real: ImageSet, *, batches: Sequence[int] = BATCHES) -> None:
        self.real = real
        self.batches = batches
        self.extremes = extreme_images()
        self.real_outputs = run_reference(model, real.images)
        self.extreme_outputs = run_reference(model, self.extremes)
        self.calibration = model.calibration


@dataclass(frozen=True, slots=True)
class Agreement:
    """A file that has passed: how far it was off, and what it said, which need not be asked again."""

    parity: Parity
    run: Runner
    outputs: Outputs  # of the evidence's labelled images


def check_parity(key: str, open_: Opener, evidence: Evidence, target: Target = CPU) -> Agreement:
    """Compare the file that `open_` opens with the reference. Raises ParityError when it is off by too much."""
    tolerance = TOLERANCES[key] if target.device == "cpu" else CUDA_TOLERANCES[target.arithmetic]
    try:
        run = open_(target)
        threaded = [open_(replace(target, threads=count)) for count in _THREADS] if target.device == "cpu" else []
        answered = share_answered(run)  # first: what comes after it shows that no wrong input has lasting effects
        found, extreme = run.in_batches(evidence.real.images), run(evidence.extremes)
        judged = [(found, evidence.real_outputs)]
        if tolerance.logit is not None:  # int8 rounds, and of a picture of nothing no label is right
            judged.append((extreme, evidence.extreme_outputs))
        differences = {
            **compare_outputs(found, evidence.real_outputs),
            Comparison.LABELS: compare_labels(judged, tolerance),
            Comparison.ACCURACIES: compare_accuracies(found, evidence.real_outputs, tolerance, evidence.real.labels),
            **compare_outputs(extreme, evidence.extreme_outputs, names=_EXTREME),
            **compare_with_itself(run, threaded, evidence.real.images, found, batches=evidence.batches),
            Comparison.WRONG_INPUTS: answered,
        }
    except Exception as error:  # each format raises its own
        raise ParityError(
            f"{key} cannot be run as it must on {target.device}; is its batch fixed? ({reason(error)})"
        ) from error
    largest = {
        Comparison.LOGITS: largest_logit(evidence.real_outputs),
        Comparison.EXTREME_LOGITS: largest_logit(evidence.extreme_outputs),
    }
    checks = judge(differences, tolerance, evidence.calibration, largest)
    parity = Parity(provider=run.provider, arithmetic=target.arithmetic, images=len(evidence.real), checks=checks)
    require_all(key, parity)
    if tolerance.probability is None:
        for outputs in (found, extreme):
            require_calibrated(key, outputs, evidence.calibration)
        require_as_sure(key, found, evidence.real_outputs)
    return Agreement(parity, run, found)


def check_rounding(checkpoint: Classifier, evidence: Evidence) -> Parity:
    """Compare the reference with the trained checkpoint, with the reference's calibration. Raises ParityError."""
    checkpoint.calibrate(evidence.calibration)
    trained, rounded = run_reference(checkpoint, evidence.real.images), evidence.real_outputs
    differences = {
        **compare_outputs(rounded, trained),
        Comparison.LABELS: compare_labels([(rounded, trained)], ROUNDING),
        Comparison.ACCURACIES: compare_accuracies(rounded, trained, ROUNDING, evidence.real.labels),
    }
    checks = judge(differences, ROUNDING, evidence.calibration, {Comparison.LOGITS: largest_logit(trained)})
    return require_all(_ROUNDED, Parity(provider="torch on the CPU", images=len(evidence.real), checks=checks))


def require_all(key: str, parity: Parity) -> Parity:
    """The same, if every check passed. Raises ParityError with the first that did not."""
    for check in parity.checks:
        if not check.passed:
            if check.name == Comparison.WRONG_INPUTS:
                raise ParityError(
                    f"{key} answers {check.difference:.0%} of what is no batch of uint8 images [n, 32, 32, 3]; "
                    "it must refuse it."
                )
            allowed = "any number" if check.allowed is None else f"{check.allowed:.3g}"
            counted = ""
            if check.name == Comparison.ACCURACIES:  # of few images, one is much
                counted = f" ({round(check.difference * parity.images)} of {parity.images} images)"
            raise ParityError(
                f"{key} does not agree with the checkpoint: {check.name} differ by {check.difference:.3g}{counted}, "
                f"allowed is {allowed}."
            )
    return parity


def judge(
    differences: Mapping[Comparison, float],
    tolerance: Tolerance,
    calibration: Calibration,
    largest: Mapping[Comparison, float],
) -> list[Check]:
    """Each difference beside its limit; `largest` are the logits of the reference that a limit depends on."""
    return [
        Check(name=name, difference=found, allowed=tolerance.limit(name, calibration, largest.get(name, 0.0)))
        for name, found in differences.items()
    ]


def require_calibrated(key: str, outputs: Outputs, calibration: Calibration) -> None:
    """Raises ParityError when a file's probabilities are not what the calibration makes of its own logits.

    For files whose probabilities may be any number away from the reference's: softmax and calibration stay float.
    """
    logits, probabilities = outputs
    difference = np.abs(probabilities - calibration.probabilities(logits)).max()
    allowed = TOLERANCES["onnx-fp32"].limit(Comparison.PROBABILITIES, calibration)
    if not difference <= allowed:  # not `>`: NaN must fail too
        raise ParityError(
            f"{key} contradicts itself: its probabilities differ by {difference:.3g} from those of its own logits, "
            f"allowed is {allowed:.3g}."
        )


def require_as_sure(key: str, outputs: Outputs, reference: Outputs) -> None:
    """Raises ParityError when a file is surer than the reference, or less sure, by too much over all.

    By the mean divergence of Kullback and Leibler: labels may be right, and logits three times too large.
    """
    found, expected = (
        np.maximum(each[1], np.finfo(np.float32).tiny, dtype=np.float64) for each in (outputs, reference)
    )
    divergence = float((expected * np.log(expected / found)).sum(1).mean())
    if not divergence <= _DIVERGENCE:
        raise ParityError(
            f"{key} is not as sure of its answers as the checkpoint: their probabilities diverge by {divergence:.3g} "
            f"nats, allowed is {_DIVERGENCE}."
        )


def compare_outputs(
    found: Outputs,
    reference: Outputs,
    *,
    names: tuple[Comparison, Comparison] = (Comparison.LOGITS, Comparison.PROBABILITIES),
) -> dict[Comparison, float]:
    """How far outputs for the same images are apart."""
    return {name: float(np.abs(one - other).max()) for name, one, other in zip(names, found, reference, strict=True)}


def largest_logit(outputs: Outputs) -> float:
    return float(np.abs(outputs[0]).max())


def compare_labels(pairs: Sequence[tuple[Outputs, Outputs]], tolerance: Tolerance) -> float:
    """The share of all images that are given another label, of pairs (found, reference)."""
    logits = np.concatenate([reference[0] for _, reference in pairs])
    other = np.concatenate([found[0] for found, _ in pairs]).argmax(1) != logits.argmax(1)
    return float((other & ~undecided(logits, tolerance)).mean())


def compare_accuracies(
    found: Outputs, reference: Outputs, tolerance: Tolerance, labels: npt.NDArray[np.int64]
) -> float:
    """The share of the images that lose the right label, less those that win it."""
    right, still_right = (outputs[0].argmax(1) == labels for outputs in (reference, found))
    lost = (right & ~still_right).astype(int) - (still_right & ~right).astype(int)
    return float((lost * ~undecided(reference[0], tolerance)).mean())


def undecided(logits: npt.NDArray[np.float32], tolerance: Tolerance) -> npt.NDArray[np.bool_]:
    """Whether an image's best two logits, of [n, classes], are so close that either may win: bool [n]."""
    if tolerance.logit is None:
        return np.zeros(len(logits), bool)
    second, first = np.sort(logits, axis=1)[:, -2:].T
    return np.asarray(first - second <= tolerance.logit)
