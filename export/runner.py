"""An exported file, run: on which device, in which arithmetic, and what it gives."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from cifar_models.manifest import Arithmetic
from cifar_models.picture import Pixels

Outputs = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]  # logits and probabilities, [n, classes]

_BATCH = 128


@dataclass(frozen=True, slots=True)
class Target:
    """Where a file is run. `arithmetic` is of CUDA alone: a CPU computes in what the file says."""

    device: Literal["cpu", "cuda"] = "cpu"
    threads: int | None = None  # of the CPU; none: as many as the library likes
    arithmetic: Arithmetic = "fp32"


CPU = Target()


@dataclass(frozen=True, slots=True)
class Runner:
    """A loaded file: images uint8 [n, 32, 32, 3] to logits and probabilities."""

    compute: Callable[[Pixels], Outputs]
    provider: str  # what computes, as it says itself

    def __call__(self, images: Pixels) -> Outputs:
        return self.compute(images)

    def in_batches(self, images: Pixels) -> Outputs:
        """The outputs of many images, some at a time."""
        parts = [self(images[start : start + _BATCH]) for start in range(0, max(1, len(images)), _BATCH)]
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
