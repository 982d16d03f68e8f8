"""Whether a file says the same of an image however it is asked: in any batch, layout, number of threads, and twice."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from cifar_models.manifest import Check
from cifar_models.picture import Pixels
from export.golden import extreme_images
from export.runner import Runner

# Edges of vector widths, and what a server gathers: any number up to its limit, 64 if nobody changed it.
_BATCHES = (0, 1, 2, 3, 7, 16, 33, 64, 128)
_FEW = 33

Logits = npt.NDArray[np.float32]


def check_stability(
    run: Runner, threaded: Sequence[Runner], images: Pixels, expected: Logits, allowed: float | None
) -> list[Check]:
    """Compare logits with those `expected` of the same images [n, 32, 32, 3] in large batches.

    `threaded` runs the same file with other numbers of threads.

    Raises ValueError when an output has another shape, and what the file's library raises when it cannot run a batch.
    """
    few, rows = resized(images, expected, _FEW)
    found = {
        "batch sizes": [difference(run, *resized(images, expected, size)) for size in _BATCHES],
        "neighbours": [difference(run, with_neighbours(few), rows)],
        "memory layouts": [difference(run, layout, rows) for layout in layouts(few)],
        "runs": [difference(run, few, rows) for _ in range(2)],
    }
    if threaded:
        found["thread counts"] = [difference(runner, few, rows) for runner in threaded]
    return [Check(name=name, difference=float(np.max(values)), allowed=allowed) for name, values in found.items()]


def resized(images: Pixels, expected: Logits, size: int) -> tuple[Pixels, Logits]:
    """The first `size` images and their logits, over again if there are fewer."""
    return np.resize(images, (size, *images.shape[1:])), np.resize(expected, (size, expected.shape[1]))


def difference(run: Runner, images: Pixels, expected: Logits) -> float:
    """Between the logits of the first images of a batch and those expected."""
    logits, probabilities = run(images)
    if logits.shape != probabilities.shape or logits.shape != (len(images), expected.shape[1]):
        raise ValueError(f"outputs {logits.shape} and {probabilities.shape} for a batch of {len(images)}")
    return float(np.abs(logits[: len(expected)] - expected).max(initial=0))


def with_neighbours(images: Pixels) -> Pixels:
    """The images, followed by others that would show in them if they could."""
    return np.concatenate([images, extreme_images()])


def layouts(images: Pixels) -> Iterator[Pixels]:
    """The same images, as arrays that callers have: sliced, flipped, transposed, read-only."""
    yield np.repeat(images, 2, axis=0)[::2]
    yield np.ascontiguousarray(images[:, ::-1])[:, ::-1]
    yield np.ascontiguousarray(images.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
    yield np.asfortranarray(images)
    frozen = images.copy()
    frozen.flags.writeable = False
    yield frozen
