"""How well probabilities fit the labels, with the uncertainty of a finite number of images."""

from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Labels = npt.NDArray[np.int64]

BINS = 15  # of confidence, as in Guo et al. 2017

# How many standard deviations hold 95 % of a normal distribution: around its middle, and below.
TWO_SIDED = 1.959964
ONE_SIDED = 1.644854


def accuracy(probabilities: Floats, labels: Labels) -> float:
    """Share of rows [n, classes] whose largest entry is that of the label [n]."""
    return float((probabilities.argmax(1) == labels).mean())


def wilson_interval(share: float, count: int, z: float = TWO_SIDED) -> tuple[float, float]:
    """The 95 % interval of a share that was seen in `count` trials (Wilson 1927); each end alone with `z=ONE_SIDED`."""
    centre = share + z**2 / (2 * count)
    spread = z * sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    scale = 1 + z**2 / count
    # Rounding must not leave the share itself, at 0 or 1, outside.
    return min((centre - spread) / scale, share), max((centre + spread) / scale, share)


def negative_log_likelihood(probabilities: Floats, labels: Labels) -> float:
    """Mean over rows, in nats."""
    chosen = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(0 - np.log(np.maximum(chosen, np.finfo(np.float32).tiny)).mean())  # minus alone, a perfect one is -0


@dataclass(frozen=True, slots=True)
class Reliability:
    """Equally wide bins of confidence: arrays [bins]; confidence and accuracy are 0 where a bin is empty."""

    counts: npt.NDArray[np.int64]
    confidence: Floats  # mean
    accuracy: Floats

    @property
    def error(self) -> float:
        """The expected calibration error (Guo et al. 2017): the two's mean distance, weighted by the bins' sizes."""
        return float((self.counts * np.abs(self.confidence - self.accuracy)).sum() / self.counts.sum())


def reliability(probabilities: Floats, labels: Labels) -> Reliability:
    """How often rows [n, classes] of a confidence are right."""
    confidence = probabilities.max(1).astype(np.float64)
    correct = probabilities.argmax(1) == labels
    bin_of = np.minimum((confidence * BINS).astype(int), BINS - 1)
    counts = np.bincount(bin_of, minlength=BINS)
    sums = [np.bincount(bin_of, weights=values, minlength=BINS) for values in (confidence, correct)]
    return Reliability(counts, *(total / np.maximum(counts, 1) for total in sums))


def confusion_matrix(probabilities: Floats, labels: Labels) -> npt.NDArray[np.int64]:
    """Counts [classes, classes]: rows are labels, columns are answers."""
    classes = probabilities.shape[1]
    return np.bincount(labels * classes + probabilities.argmax(1), minlength=classes**2).reshape(classes, classes)
