"""Which of a PNG's texts and profiles Pillow reads: of a kilobyte each, they may unpack to a megabyte.

A thousand of them fit into a small request, before the pixels or behind them. So only those texts are read that may say
which side is up, the first of each kind and none that is long, and no profile, of which nothing is made.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from PIL import ImageFile, PngImagePlugin

_READ = {b"exif", b"Raw profile type exif", b"XML:com.adobe.xmp"}  # keywords
_LONGEST = max(map(len, _READ)) + 1
_MOST = 144 * 1024  # bytes of a text, packed or not: as much as the longest EXIF of a JPEG has in hexadecimal digits

Chunk = Callable[[Any, int, int], bytes]  # of PngStream: reads what stands at a place, and returns it for its checksum


@cache  # done twice, each text would be known already when it is read
def read_few_notes() -> None:
    """Have Pillow, in this process, pass over all but a few."""
    PngImagePlugin.MAX_TEXT_CHUNK = _MOST
    stream: Any = PngImagePlugin.PngStream
    stream.chunk_iCCP = skip
    for name in ("chunk_tEXt", "chunk_zTXt", "chunk_iTXt"):
        setattr(stream, name, reading_few(getattr(stream, name)))


def skip(stream: Any, place: int, length: int) -> bytes:
    return ImageFile._safe_read(stream.fp, length)


def reading_few(read: Chunk) -> Chunk:
    def chunk(stream: Any, place: int, length: int) -> bytes:
        keyword, _, _ = stream.fp.read(min(length, _LONGEST)).partition(b"\0")
        stream.fp.seek(place)
        known = vars(stream).setdefault("known_notes", set())
        if keyword in _READ - known and length <= _MOST:
            known.add(keyword)
            try:
                return read(stream, place, length)
            except ValueError:  # it unpacks to more than that
                stream.fp.seek(place)
        return skip(stream, place, length)

    return chunk
