"""Selective prediction: which answers are sure enough to be acted upon (Geifman and El-Yaniv 2017)."""

import numpy as np

from cifar_models.manifest import PROBABILITY_DIGITS, Selection, Selective
from cifar_models.metrics import ONE_SIDED, Floats, Labels, wilson_interval

PROMISE = 0.99  # share of the confident answers that are right


def choose_threshold(probabilities: Floats, labels: Labels) -> float | None:
    """The lowest threshold of the top probability that keeps `PROMISE`; None where none does.

    `probabilities` [n, classes] and `labels` [n] are of validation images. A threshold keeps the promise when the lower
    bound of its precision (Wilson, 95 %, one-sided) is at `PROMISE` or above. Where the plain share reaches it, chance
    has helped to choose: as often as not, other images stay below. 99 % cannot be shown with fewer than 268 images.
    """
    sure, right = confidences(probabilities), probabilities.argmax(1) == labels
    for threshold in np.unique(sure):  # upwards
        chosen = right[sure >= threshold]
        bound, _ = wilson_interval(float(chosen.mean()), len(chosen), ONE_SIDED)
        if bound >= PROMISE:
            return float(threshold)
    return None


def select(probabilities: Floats, labels: Labels, threshold: float) -> Selection:
    """What the threshold does to labelled images."""
    chosen = (probabilities.argmax(1) == labels)[confidences(probabilities) >= threshold]
    return Selection(coverage=len(chosen) / len(labels), precision=float(chosen.mean()) if len(chosen) else 1.0)


def describe_selection(validation: tuple[Floats, Labels], test: tuple[Floats, Labels] | None) -> Selective | None:
    """The threshold that `validation` chooses, and what it does to both; None where none keeps the promise.

    Each is probabilities [n, classes] and labels [n].
    """
    threshold = choose_threshold(*validation)
    if threshold is None:
        return None
    return Selective(
        promise=PROMISE,
        threshold=threshold,
        validation=select(*validation, threshold),
        test=select(*test, threshold) if test else None,
    )


def confidences(probabilities: Floats) -> Floats:
    """The top probabilities float64 [n], as answers state them."""
    top: Floats = np.round(probabilities.max(1).astype(np.float64), PROBABILITY_DIGITS)
    return top
