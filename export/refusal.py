"""Whether a file refuses what is no batch of pixels: an answer to it would be confident nonsense."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from export.runner import Runner


def share_answered(run: Runner) -> float:
    """Of the wrong inputs."""
    return float(np.mean([answered(run, images) for images in wrong_inputs()]))


def answered(run: Runner, images: npt.NDArray[np.generic]) -> bool:
    try:
        run(images)  # type: ignore[arg-type]  # that is what is tried
    except Exception:  # each format raises its own
        return False
    return True


def wrong_inputs() -> Iterator[npt.NDArray[np.generic]]:
    """What callers take for images: numbers of another type, another size, another layout."""
    pixels = np.zeros((2, 32, 32, 3), np.uint8)
    for dtype in (np.float32, np.float64, np.int8, np.int64):
        yield pixels.astype(dtype)
    yield pixels[0]  # no batch
    yield pixels.transpose(0, 3, 1, 2)  # as torch lays images out
    yield pixels[..., :1]  # grey
    yield np.zeros((2, 32, 32, 4), np.uint8)  # with an alpha channel
    yield pixels[:, :31]
    yield pixels[:, :, :31]
    yield np.zeros((2, 64, 64, 3), np.uint8)
