"""How far an exported file may be from the reference, by its format, or on CUDA by its arithmetic."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cifar_models.calibration import Calibration
from export.comparison import Comparison


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

    def undecided(self, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
        """Whether an image's best two logits, of [n, classes], are so close that either may win: bool [n]."""
        if self.logit is None:
            return np.zeros(len(logits), bool)
        second, first = np.sort(logits, axis=1)[:, -2:].T
        return np.asarray(first - second <= self.logit)


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
