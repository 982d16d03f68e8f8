"""Whether a file says the same of an image however it is asked: in any batch, layout, number of threads, and twice."""

from collections.abc import Iterator, Sequence

import numpy as np

from cifar_models.picture import Pixels
from export.comparison import Comparison
from export.golden import extreme_images
from export.runner import Outputs, Runner

# Edges of vector widths, and what a server gathers: any number up to its limit, 64 if nobody changed it. One is larger
# than those in which all images are asked about.
BATCHES = (0, 1, 2, 3, 4, 7, 8, 16, 32, 33, 64, 128, 256)
_FEW = 33


def compare_with_itself(
    run: Runner, threaded: Sequence[Runner], images: Pixels, expected: Outputs, *, batches: Sequence[int]
) -> dict[Comparison, float]:
    """How far outputs are from those `expected` of the same images [n, 32, 32, 3] in large batches.

    Of probabilities, and of logits over the largest of them if that is above 1: large ones differ by more in their
    last digits.

    `threaded` runs the same file with other numbers of threads.

    Raises ValueError when an output has another shape or type, and what the file's library raises when it cannot run
    a batch.
    """
    few, rows = resized(images, expected, min(_FEW, max(batches)))
    found = {
        Comparison.BATCH_SIZES: [difference(run, *resized(images, expected, size)) for size in batches],
        Comparison.NEIGHBOURS: [difference(run, with_neighbours(few), rows)],
        Comparison.LAYOUTS: [difference(run, layout, rows) for layout in layouts(few)],
        Comparison.RUNS: [difference(run, few, rows) for _ in range(2)],
    }
    if threaded:
        found[Comparison.THREADS] = [difference(runner, few, rows) for runner in threaded]
    return {name: float(np.max(values)) for name, values in found.items()}


def resized(images: Pixels, expected: Outputs, size: int) -> tuple[Pixels, Outputs]:
    """The first `size` images and their outputs, over again if there are fewer."""
    logits, probabilities = (np.resize(output, (size, output.shape[1])) for output in expected)
    return np.resize(images, (size, *images.shape[1:])), (logits, probabilities)


def difference(run: Runner, images: Pixels, expected: Outputs) -> float:
    """The largest between the outputs of the first images of a batch and those expected, probabilities or logits."""
    found = run(images)
    shape = (len(images), expected[0].shape[1])
    for output in found:
        if output.shape != shape or output.dtype != np.float32:
            raise ValueError(f"an output {output.dtype} {output.shape} for a batch of {len(images)}")
    logits, probabilities = (
        np.abs(one[: len(other)] - other).max(initial=0) for one, other in zip(found, expected, strict=True)
    )
    scale = max(1.0, float(np.abs(expected[0]).max(initial=0)))
    return float(np.max([logits / scale, probabilities]))  # not Python's max: NaN must come through


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
