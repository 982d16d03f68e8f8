"""The picture that a server of this network is asked most: a PNG of 32x32 RGB pixels, and nothing else in the file.

Pillow's decoder makes its pixels; what `Image.open` and `load` look for in vain there takes as long again. Whatever is
otherwise, damage too, is none of these, and left to them.
"""

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from PIL import Image

from cifar_models.cifar10 import IMAGE_SIZE
from cifar_models.picture import Pixels

_SIZE = (IMAGE_SIZE, IMAGE_SIZE)
_MOST = 64 * 1024  # bytes, which Pillow hands its decoder at once; the pixels themselves have 3,104


def chunk(kind: bytes, data: bytes) -> bytes:
    """A piece of a PNG (W3C, section 5.3)."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


_START = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", *_SIZE, 8, 2, 0, 0, 0))
_END = chunk(b"IEND", b"")
_BEFORE, _BEHIND = len(_START) + 8, len(_END) + 4  # the pixels, which have a length and a name, and a checksum


@dataclass(frozen=True, slots=True)
class PlainPng:
    """Such a picture, not decoded yet."""

    size: ClassVar[tuple[int, int]] = _SIZE
    info: ClassVar[Mapping[str, object]] = {}  # as of a picture of Pillow's

    file: bytes

    def decode(self) -> Pixels | None:
        """uint8 [32, 32, 3]; None when they are damaged."""
        try:
            # On a black image of its own: rows that are missing at the end are no error, and stay as they were.
            image = Image.frombytes("RGB", _SIZE, self.file[_BEFORE:-_BEHIND], "zip", "RGB")
        except ValueError:
            return None
        return np.asarray(image)


def read_plain(file: bytes) -> PlainPng | None:
    """None when `file` is anything else, also when its pixels are in several pieces."""
    if not file.startswith(_START) or len(file) > _MOST:
        return None
    pixels = file[_BEFORE:-_BEHIND]
    return PlainPng(file) if pixels and file == _START + chunk(b"IDAT", pixels) + _END else None
