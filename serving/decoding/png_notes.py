"""Which of a PNG's texts and profiles Pillow reads: of a kilobyte each, they may unpack to a megabyte.

A thousand of them fit into a small request, before the pixels or after them. So only those texts are read that may say
which side is up, and no profile, of which nothing is made.
"""

from collections.abc import Callable
from typing import Any

from PIL import ImageFile, PngImagePlugin

_READ = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")
_LONGEST = max(map(len, _READ))

Chunk = Callable[[Any, int, int], bytes]  # of PngStream: reads what stands at a place, and returns it for its checksum


def read_few_notes() -> None:
    """Have Pillow, in this process, pass over all but a few."""
    PngImagePlugin.MAX_TEXT_MEMORY = 4 * 1024 * 1024  # of one picture; Pillow's own limit is 64 MB
    stream: Any = PngImagePlugin.PngStream
    stream.chunk_iCCP = skip
    for name in ("chunk_tEXt", "chunk_zTXt", "chunk_iTXt"):
        setattr(stream, name, reading_few(getattr(stream, name)))


def skip(stream: Any, place: int, length: int) -> bytes:
    return ImageFile._safe_read(stream.fp, length)


def reading_few(read: Chunk) -> Chunk:
    def chunk(stream: Any, place: int, length: int) -> bytes:
        start: bytes = stream.fp.read(min(length, _LONGEST))
        stream.fp.seek(place)
        return (read if start.startswith(_READ) else skip)(stream, place, length)

    return chunk
