"""Damage done to images, to see what a network still recognises.

These corruptions are ours. They are not CIFAR-10-C (Hendrycks and Dietterich 2019), though some have the same names:
strengths, seeds and arithmetic differ, and no figure of one can be compared with one of the other.

Every corruption takes images uint8 [n, 32, 32, 3] and gives as many. The same images get the same bytes, and what an
image becomes depends on its place among them, not on those after it.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from cifar_models.cifar10 import IMAGE_SIZE
from cifar_models.picture import Pixels

_SEED = 20261122

Corrupt = Callable[[Pixels, float], Pixels]


def noise(images: Pixels, deviation: float) -> Pixels:
    """Gaussian noise of that standard deviation, in levels, on each channel of each pixel."""
    noisy = generator().standard_normal(images.shape, np.float32)
    noisy *= deviation
    noisy += images
    return to_levels(noisy)


def blur(images: Pixels, radius: float) -> Pixels:
    """A Gaussian of that standard deviation, in pixels, as Pillow computes it."""
    kernel = ImageFilter.GaussianBlur(radius)
    return each(images, lambda picture: picture.filter(kernel))


def contrast(images: Pixels, share: float) -> Pixels:
    """Only this share of every level's distance from the image's mean, channel by channel."""
    mean = images.mean((1, 2), keepdims=True, dtype=np.float32)
    return to_levels(mean + np.float32(share) * (images - mean))


def jpeg(images: Pixels, quality: float) -> Pixels:
    """Stored as a JPEG of that quality, with its chroma halved, and read again."""

    def recompress(picture: Image.Image) -> Image.Image:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=int(quality), subsampling="4:2:0")
        return Image.open(buffer)

    return each(images, recompress)


def pixelate(images: Pixels, size: float) -> Pixels:
    """Shrunk to so many pixels a side by averaging, and enlarged again to squares of one colour."""
    small, large = (int(size), int(size)), (IMAGE_SIZE, IMAGE_SIZE)
    return each(
        images, lambda picture: picture.resize(small, Image.Resampling.BOX).resize(large, Image.Resampling.NEAREST)
    )


def shift(images: Pixels, pixels: float) -> Pixels:
    """Moved by so many pixels along both axes, to one of four corners; the edge is repeated."""
    by = int(pixels)
    padded = np.pad(images, ((0, 0), (by, by), (by, by), (0, 0)), "edge")
    corners = generator().integers(0, 2, (len(images), 2))
    shifted = np.empty_like(images)
    for corner in ((0, 0), (0, 1), (1, 0), (1, 1)):
        chosen = (corners == corner).all(1)
        top, left = (2 * by * side for side in corner)
        shifted[chosen] = padded[chosen, top : top + IMAGE_SIZE, left : left + IMAGE_SIZE]
    return shifted


@dataclass(frozen=True, slots=True)
class Corruption:
    """A kind of damage at three severities, the mildest first."""

    apply: Corrupt
    severities: tuple[float, float, float]
    unit: str


CORRUPTIONS: dict[str, Corruption] = {
    "noise": Corruption(noise, (4, 8, 16), "levels, standard deviation"),
    "blur": Corruption(blur, (0.6, 1.0, 1.6), "pixels, standard deviation"),
    "contrast": Corruption(contrast, (0.6, 0.35, 0.15), "of the contrast"),
    "jpeg": Corruption(jpeg, (50, 25, 10), "quality"),
    "pixelate": Corruption(pixelate, (22, 16, 11), "pixels a side"),
    "shift": Corruption(shift, (2, 4, 8), "pixels along both axes"),
}


def generator() -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(_SEED))


def to_levels(values: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Pixels:
    return values.round().clip(0, 255).astype(np.uint8)


def each(images: Pixels, change: Callable[[Image.Image], Image.Image]) -> Pixels:
    changed = np.empty_like(images)
    for index, pixels in enumerate(images):
        changed[index] = np.asarray(change(Image.fromarray(pixels)))
    return changed
