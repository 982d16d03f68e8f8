"""Images for measuring what a step costs, which does not depend on what they show."""

import numpy as np

from cifar_models.cifar10 import IMAGE_SHAPE, LABELS
from cifar_models.dataset import ImageSet


def random_images(count: int) -> ImageSet:
    """The same every time, with as many of each label as of the others, to within one."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, *IMAGE_SHAPE), np.uint8)
    return ImageSet(pixels, np.arange(count) % len(LABELS), LABELS)
