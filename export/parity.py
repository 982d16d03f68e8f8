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
from export.refusal import answered, share_answered
from export.runner import CPU, Outputs, Runner, Target
from export.stability import BATCHES, compare_with_itself
from export.tolerance import CUDA_TOLERANCES, ROUNDING, TOLERANCES, Tolerance

_THREADS = (1, 2)
_EXTREME = (Comparison.EXTREME_LOGITS, Comparison.EXTREME_PROBABILITIES)
_DIVERGENCE = 0.05  # nats an image
_ROUNDED = "The model with weights rounded to float16"

Opener = Callable[[Target], Runner]


class ParityError(InputError):
    """An exported file that must not be kept, and why."""


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
    except Exception as error:  # each format raises its own
        raise ParityError(f"{key} cannot be opened on {target.device} ({reason(error)})") from error
    try:
        nonsense = share_answered(run)  # first: what comes after it shows that no wrong input has lasting effects
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
            Comparison.WRONG_INPUTS: nonsense,
        }
    except Exception as error:  # each format raises its own
        told = f"{key} cannot be run as it must on {target.device}{ask_about_batch(run, evidence)} ({reason(error)})"
        raise ParityError(told) from error
    largest = {
        Comparison.LOGITS: largest_logit(evidence.real_outputs),
        Comparison.EXTREME_LOGITS: largest_logit(evidence.extreme_outputs),
    }
    checks = judge(differences, tolerance, evidence.calibration, largest)
    parity = Parity(provider=run.provider, arithmetic=target.arithmetic, images=len(evidence.real), checks=checks)
    require_all(key, parity, labels=sum(len(logits) for (logits, _), _ in judged))
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
    parity = Parity(provider="torch on the CPU", images=len(evidence.real), checks=checks)
    require_all(_ROUNDED, parity, labels=parity.images)
    return parity


def ask_about_batch(run: Runner, evidence: Evidence) -> str:
    """Of a file that failed: whether its batch is fixed, if some number of images works and another does not."""
    images = evidence.extremes
    ran = {size: answered(run, np.resize(images, (size, *images.shape[1:]))) for size in evidence.batches}
    if len({*ran.values()}) < 2:
        return ""
    works, fails = (next(size for size in ran if ran[size] is wanted) for wanted in (True, False))
    return f"; it runs a batch of {works} and none of {fails}: is its batch fixed?"


def require_all(key: str, parity: Parity, *, labels: int) -> None:
    """Raises ParityError with the first check that did not pass; of so many images the labels were compared."""
    counts = {Comparison.LABELS: labels, Comparison.ACCURACIES: parity.images}  # of few images, one is much
    for check in parity.checks:
        if check.passed:
            continue
        if check.name == Comparison.WRONG_INPUTS:
            raise ParityError(
                f"{key} answers {check.difference:.0%} of what is no batch of uint8 images [n, 32, 32, 3]; "
                "it must refuse it."
            )
        allowed = "any number" if check.allowed is None else f"{check.allowed:.3g}"
        count = counts.get(Comparison(check.name))
        counted = "" if count is None else f" ({round(check.difference * count)} of {count} images)"
        raise ParityError(
            f"{key} does not agree with the checkpoint: {check.name} differ by {check.difference:.3g}{counted}, "
            f"allowed is {allowed}."
        )


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
    return float((other & ~tolerance.undecided(logits)).mean())


def compare_accuracies(
    found: Outputs, reference: Outputs, tolerance: Tolerance, labels: npt.NDArray[np.int64]
) -> float:
    """The share of the images that lose the right label, less those that win it."""
    right, still_right = (outputs[0].argmax(1) == labels for outputs in (reference, found))
    lost = (right & ~still_right).astype(int) - (still_right & ~right).astype(int)
    return float((lost * ~tolerance.undecided(reference[0])).mean())
