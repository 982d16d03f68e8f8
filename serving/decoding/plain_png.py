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
_NUMBER = struct.Struct(">I")


def chunk(kind: bytes, data: bytes) -> bytes:
    """A piece of a PNG (W3C, section 5.3)."""
    return _NUMBER.pack(len(data)) + kind + data + _NUMBER.pack(zlib.crc32(kind + data))


_START = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", *_SIZE, 8, 2, 0, 0, 0))
_END = chunk(b"IEND", b"")


@dataclass(frozen=True, slots=True)
class PlainPng:
    """Such a picture, not decoded yet."""

    size: ClassVar[tuple[int, int]] = _SIZE
    info: ClassVar[Mapping[str, object]] = {}  # as of a picture of Pillow's

    file: bytes
    compressed: bytes  # its pixels

    def decode(self) -> Pixels | None:
        """uint8 [32, 32, 3]; None when they are damaged."""
        try:
            # On a black image of its own: rows that are missing at the end are no error, and stay as they were.
            return np.asarray(Image.frombytes("RGB", _SIZE, self.compressed, "zip", "RGB"))
        except ValueError:
            return None


def read_plain(file: bytes) -> PlainPng | None:
    """None when `file` is anything else."""
    if not file.startswith(_START) or not file.endswith(_END):
        return None
    place, last, pieces = len(_START), len(file) - len(_END), []
    while place < last:
        end = place + 8 + int.from_bytes(file[place : place + 4])
        if file[place + 4 : place + 8] != b"IDAT" or file[end : end + 4] != _NUMBER.pack(
            zlib.crc32(file[place + 4 : end])
        ):
            return None
        pieces.append(file[place + 8 : end])
        place = end + 4
    return PlainPng(file, b"".join(pieces)) if place == last else None
