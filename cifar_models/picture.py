"""One picture of any kind to the pixels that a network takes: the one rule, for training and for requests."""

import struct

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps

from cifar_models.cifar10 import IMAGE_SIZE
from cifar_models.colour_key import scale_colour_key

Pixels = npt.NDArray[np.uint8]

_SIZE = (IMAGE_SIZE, IMAGE_SIZE)
_WHITE = (255, 255, 255, 255)
_STRIP_PIXELS = 1024 * 1024
_UPRIGHT = {  # by EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_RESAMPLING = Image.Resampling.BILINEAR  # Pillow widens the filter when it shrinks: antialiased


def to_pixels(picture: Image.Image) -> Pixels:
    """Upright RGB pixels, uint8 [32, 32, 3]: cropped to a centred square and resized if they are not that size.

    EXIF orientation is applied and alpha laid on white; grey, palette, CMYK and 16-bit pictures become RGB.

    Raises OSError (or another of Pillow's errors) when the picture's data cannot be read.
    """
    scale_colour_key(picture)
    picture = to_rgb(upright(picture))
    if picture.size != _SIZE:
        picture = ImageOps.fit(picture, _SIZE, method=_RESAMPLING)
    return np.asarray(picture)


def upright(picture: Image.Image) -> Image.Image:
    """As `ImageOps.exif_transpose`, which also writes all EXIF anew, for nobody: of thousands of tags in a second."""
    try:
        method = _UPRIGHT.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
        return picture if method is None else picture.transpose(method)
    except (SyntaxError, ValueError, KeyError, TypeError, struct.error):  # a damaged note on a picture that is whole
        return picture


def to_rgb(picture: Image.Image) -> Image.Image:
    """RGB on white. A large picture is converted in strips, as the steps between would take 12 bytes a pixel more."""
    rows = max(1, _STRIP_PIXELS // max(1, picture.width))
    if picture.height <= rows or (picture.mode == "RGB" and not picture.has_transparency_data):
        return strip_to_rgb(picture)
    rgb = Image.new("RGB", picture.size)
    for top in range(0, picture.height, rows):
        box = (0, top, picture.width, min(top + rows, picture.height))
        rgb.paste(strip_to_rgb(picture.crop(box)), box)
    return rgb


def strip_to_rgb(picture: Image.Image) -> Image.Image:
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
