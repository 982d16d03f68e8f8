"""Pictures of every kind, as files."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from cifar_models.picture import Pixels

GREY, RGB = 0, 2  # colour types of a PNG
ORIENTATION = 0x0112


def saved(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    return tags


def png_file(samples: npt.NDArray[Any], colour: int, depth: int, key: tuple[int, ...] = ()) -> bytes:
    """A PNG of samples [height, width, ...] of 2, 4, 8 or 16 bits: Pillow does not write all kinds."""
    height, width = samples.shape[:2]
    rows = samples.reshape(height, -1)
    if depth < 8:
        together = rows.reshape(height, -1, 8 // depth) << np.arange(8 - depth, -1, -depth)
        lines = together.sum(axis=2).astype(np.uint8)
    else:
        lines = rows.astype(">u2" if depth == 16 else np.uint8)
    data = b"".join(b"\0" + line.tobytes() for line in lines)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))]
    chunks += [(b"tRNS", struct.pack(f">{len(key)}H", *key))] if key else []
    chunks += [(b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def run_length_bmp(side: int) -> bytes:
    """A black BMP in run lengths, a hundredth of its pixels in bytes."""
    row = b"".join(bytes([min(255, side - start), 0]) for start in range(0, side, 255)) + b"\0\0"
    data = row * side + b"\0\1"
    header = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(data), 0, 0, 256, 0) + bytes(4 * 256)
    return struct.pack("<2sIHHI", b"BM", 14 + len(header) + len(data), 0, 0, 14 + len(header)) + header + data


def frames(image: Pixels, kind: str) -> bytes:
    """An animation that shows the image first, and then its opposite."""
    first, second = Image.fromarray(image), Image.fromarray(255 - image)
    return saved(first, kind, save_all=True, append_images=[second], duration=100, loop=0, lossless=True)
