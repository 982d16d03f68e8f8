"""One picture of any kind to the pixels that a network takes: the one rule, for training and for requests."""

import struct

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from cifar_models.cifar10 import IMAGE_SIZE

Pixels = npt.NDArray[np.uint8]

_WHITE = (255, 255, 255, 255)
_RESAMPLING = Image.Resampling.BILINEAR  # Pillow widens the filter when it shrinks: antialiased


def to_pixels(picture: Image.Image, size: int = IMAGE_SIZE) -> Pixels:
    """Upright RGB pixels, uint8 [size, size, 3]: cropped to a centred square and resized if they are not that size.

    EXIF orientation is applied and alpha laid on white; grey, palette, CMYK and 16-bit pictures become RGB.

    Raises OSError (or another of Pillow's errors) when the picture's data cannot be read.
    """
    picture = to_rgb(upright(picture))
    if picture.size != (size, size):
        picture = ImageOps.fit(picture, (size, size), method=_RESAMPLING)
    return np.asarray(picture)


def upright(picture: Image.Image) -> Image.Image:
    try:
        # A PNG or BMP without EXIF is the common case, and asking Pillow to transpose it costs a copy.
        return ImageOps.exif_transpose(picture) if picture.getexif() else picture
    except (SyntaxError, ValueError, KeyError, TypeError, struct.error):  # a damaged note on a picture that is whole
        return picture


def to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):
        return sixteen_bit_to_rgb(picture)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, _WHITE), picture).convert("RGB")
    if picture.mode != "RGB":
        return picture.convert("RGB")
    picture.load()
    return picture


def sixteen_bit_to_rgb(picture: Image.Image) -> Image.Image:
    # Pillow's own conversion clips at 255, which turns nearly every 16-bit picture white.
    levels = np.asarray(picture).astype(np.uint32).clip(0, 65535)
    transparent = picture.info.get("transparency")
    if isinstance(transparent, int):
        levels[levels == transparent] = 65535
    return Image.fromarray((levels // 257).astype(np.uint8)).convert("RGB")
