"""Images made by a formula, the same for ever, for the check that a server makes before it answers."""

import numpy as np

from cifar_models.cifar10 import IMAGE_SHAPE, IMAGE_SIZE
from cifar_models.picture import Pixels

_SEED = 20261121
_SMOOTH = 24  # images of soft colours


def golden_images() -> Pixels:
    """uint8 [32, 32, 32, 3]: soft random colours of growing detail, and the extremes that find wrong arithmetic."""
    return np.concatenate([smooth_images(_SMOOTH), extreme_images()])


def smooth_images(count: int) -> Pixels:
    """Sums of a few random waves in each colour: as smooth as photographs, so that networks answer with confidence."""
    generator = np.random.Generator(np.random.PCG64(_SEED))
    y, x = np.mgrid[0:IMAGE_SIZE, 0:IMAGE_SIZE] / IMAGE_SIZE
    images = np.empty((count, *IMAGE_SHAPE), np.uint8)
    for index in range(count):
        detail = 1 + index / 4
        waves = generator.normal(0, detail, (4, 3, 2, 1, 1))
        phases = generator.uniform(0, 2 * np.pi, (4, 3, 1, 1))
        level = np.sin(2 * np.pi * (waves[:, :, 0] * y + waves[:, :, 1] * x) + phases).mean(0)
        images[index] = np.round(255 * (level + 1) / 2).transpose(1, 2, 0)
    return images


def extreme_images() -> Pixels:
    """uint8 [8, 32, 32, 3]: black, white, pure red, green and blue, a checkerboard, noise, and one lit pixel."""
    images = np.zeros((8, *IMAGE_SHAPE), np.uint8)
    images[1] = 255
    for channel in range(3):
        images[2 + channel, :, :, channel] = 255
    images[5, ::2, ::2] = images[5, 1::2, 1::2] = 255
    images[6] = np.random.Generator(np.random.PCG64(_SEED)).integers(0, 256, images[6].shape)
    images[7, 16, 16] = 255
    return images
