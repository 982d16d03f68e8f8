"""Encoded pictures and raw pixels to the arrays that an engine takes. Knows no HTTP."""

import base64
import io
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from itertools import islice
from time import monotonic
from typing import Any, TypeAlias

import numpy as np
from PIL import Image, UnidentifiedImageError

from cifar_models.cifar10 import IMAGE_SHAPE, IMAGE_SIZE
from cifar_models.picture import Pixels, to_pixels
from serving.decoding.plain_png import PlainPng, read_plain
from serving.decoding.png_notes import read_few_notes
from serving.errors import DeadlinePassed, TooLarge, Unacceptable, Unreadable

Picture: TypeAlias = Image.Image | PlainPng  # not decoded yet

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
IMAGE_BYTES = IMAGE_SIZE * IMAGE_SIZE * 3

_SMALL_FILE = 64 * 1024  # bytes; in so few nothing can be long
_MOST_READS, _BYTES_PER_READ = 20_000, 256  # a PNG takes four reads for each of its pieces, usually of 8 KB
_MOST_METADATA = 16 * 1024 * 1024  # bytes, of all pictures of a request
_JPEG = b"\xff\xd8"
# A JPEG may draw all its pixels again with every scan, for 30 bytes each; encoders make about ten. Such a header, of
# one to four colours and with the length of so many, hardly stands in what else a file holds, as a phone's short film.
_SCAN, _MOST_SCANS = re.compile(rb"\xff\xda\x00(?:\x08\x01|\x0a\x02|\x0c\x03|\x0e\x04)"), 100
# Pillow joins the notes of EXIF one to the other, each time all anew. Cameras write one.
_NOTE, _MOST_NOTES = re.compile(rb"(?s)\xff\xe1..Exif\x00\x00"), 200
# Pillow keeps 90 bytes for every three of a header of a frame, of which a picture has one, and one in its preview.
_FRAME, _MOST_FRAMES = re.compile(rb"(?s)\xff[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf]..\x08.{4}[\x01\x03\x04]"), 20
_LONGEST_MARK = 10  # bytes
_PARTS = (("scans", _SCAN, _MOST_SCANS), ("notes (EXIF)", _NOTE, _MOST_NOTES), ("frames", _FRAME, _MOST_FRAMES))
_STRIDE = 1024 * 1024  # bytes searched at once, in which no other thread runs
_RUN_LENGTHS, _MOST_RUN_LENGTH_PIXELS = (1, 2), 128 * 128  # of a BMP; Pillow decodes them in Python


def prepare_pillow() -> None:
    """Set Pillow up, in this whole process, to read what strangers send; a program of another purpose leaves it out."""
    # What Pillow notes about damaged data is for its users; the client is told, and a log is not for strangers to fill.
    warnings.filterwarnings("ignore", module="PIL")
    Image.MAX_IMAGE_PIXELS = None  # our own limit is checked at the same moment, and never only warns
    Image.init()  # or the first WebP waits for fifty imports, which fail when no file can be opened
    read_few_notes()


def open_picture(data: bytes, *, index: int, max_pixels: int, strict: bool = False) -> Picture:
    """Read an encoded picture up to its pixels, which stay as they are; `index` is its place, for the errors.

    Raises Unreadable (no such picture), TooLarge (more than `max_pixels`) and Unacceptable (a large BMP in run lengths
    and, when `strict`, what is not 32x32).
    """
    picture = read_plain(data) or open_with_pillow(data, index=index)
    check_size(picture, index=index, max_pixels=max_pixels, strict=strict)
    width, height = picture.size
    if picture.info.get("compression") in _RUN_LENGTHS and width * height > _MOST_RUN_LENGTH_PIXELS:
        raise Unacceptable(
            f"The picture is a BMP in run lengths with more than {_MOST_RUN_LENGTH_PIXELS} pixels; save it otherwise.",
            index=index,
        )
    return picture


def open_with_pillow(data: bytes, *, index: int) -> Image.Image:
    if not data:
        raise Unreadable("The picture is empty: 0 bytes.", index=index)
    if data.startswith(_JPEG):
        check_jpeg(data, index=index)
    with refusing(index):
        file = io.BytesIO(data) if len(data) <= _SMALL_FILE else CountedReads(data)
        return Image.open(file, formats=FORMATS)


def check_size(picture: Picture, *, index: int, max_pixels: int, strict: bool) -> None:
    """Raises TooLarge (more than `max_pixels`) and, when `strict`, Unacceptable (not 32x32)."""
    width, height = picture.size
    if width * height > max_pixels:
        raise TooLarge(f"The picture has {width}x{height} pixels; at most {max_pixels} are taken.", index=index)
    if strict and (width, height) != (IMAGE_SIZE, IMAGE_SIZE):
        raise Unacceptable(
            f"The picture is {width}x{height}; strict=true takes {IMAGE_SIZE}x{IMAGE_SIZE} only.", index=index
        )


def check_jpeg(data: bytes, *, index: int) -> None:
    """Raises Unreadable for a JPEG, or several in one file (MPO), of so many parts that reading it takes minutes."""
    for kind, mark, most in _PARTS:
        if sum(1 for _ in islice(find_marks(mark, data), most + 1)) > most:
            raise Unreadable(f"The picture is a JPEG of more than {most} {kind}; save it anew.", index=index)


def find_marks(mark: re.Pattern[bytes], data: bytes) -> Iterator[re.Match[bytes]]:
    for start in range(0, len(data), _STRIDE):
        yield from mark.finditer(data, start, start + _STRIDE + _LONGEST_MARK - 1)


class CountedReads(io.BytesIO):
    """A file that ends the reading of a picture in millions of tiny pieces, each of which costs more than its bytes."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._left = _MOST_READS + len(data) // _BYTES_PER_READ

    def read(self, size: int | None = -1, /) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise ValueError("it consists of too many pieces")
        return super().read(size)


class Allowance:
    """What the pictures of a request may take together: time, and bytes of texts and profiles.

    Of those a few bytes of a PNG may hold a megabyte, compressed. They stand before its pixels, or after them.
    """

    def __init__(self, seconds: float) -> None:
        self._end = monotonic() + seconds
        self._metadata = 0

    def take(self, metadata: int) -> None:
        """For a picture with so many bytes of them. Raises TooLarge and DeadlinePassed."""
        self._metadata += metadata
        if self._metadata > _MOST_METADATA:
            raise TooLarge(
                f"The texts and profiles in the pictures have more than {_MOST_METADATA} bytes together; remove them."
            )
        if monotonic() > self._end:
            raise DeadlinePassed("The pictures could not be decoded before the deadline.")


def size_of(info: Mapping[Any, Any]) -> int:
    """Bytes of all texts, about."""
    return sum(len(value) for value in info.values() if isinstance(value, str | bytes))


def decode_picture(picture: Picture, *, index: int) -> Pixels:
    """The pixels of an opened picture, uint8 [32, 32, 3], and its end; Unreadable when its data are damaged."""
    if isinstance(picture, PlainPng):
        pixels = picture.decode()
        if pixels is not None:
            return pixels
        picture = open_with_pillow(picture.file, index=index)  # which says what is wrong with it
    with closing(picture):  # `with picture` would close the file and keep the bitmap
        return look_at(picture, index=index)


def look_at(picture: Image.Image, *, index: int) -> Pixels:
    """The pixels of an opened picture, uint8 [32, 32, 3]; Unreadable when its data are damaged."""
    with refusing(index):
        return to_pixels(picture)


@contextmanager
def refusing(index: int) -> Iterator[None]:
    """Turn whatever a decoder raises into Unreadable: fed with damaged data it raises nearly anything but MemoryError.

    TooLarge where Pillow has a limit of its own, and raises that.
    """
    try:
        yield
    except UnidentifiedImageError as error:
        raise Unreadable(f"The data are no {', '.join(FORMATS)} picture.", index=index) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:  # where Pillow is not prepared
        raise TooLarge(f"The picture has more pixels than Pillow takes here: {error}", index=index) from error
    except MemoryError:  # is the server's trouble, and not the picture's; of WebP and progressive JPEG not always known
        raise
    except Exception as error:
        raise Unreadable(f"The picture is damaged: {error}.", index=index) from error


def decode_base64(text: str, *, index: int) -> bytes:
    """The bytes of a base64 text, in one line or, as `base64 FILE` writes it, in several; raises Unreadable."""
    try:
        return base64.b64decode(text.replace("\r", "").replace("\n", ""), validate=True)
    except ValueError as error:
        way_out = "of a data URL send what follows its comma"
        raise Unreadable(f"The text is not base64 ({error}); {way_out}.", index=index) from error


def decode_levels(levels: list[Any], *, index: int) -> Pixels:
    """One image of nested lists, 32x32x3 integers from 0 to 255, to uint8 [32, 32, 3]; raises Unacceptable."""
    # Looked at level by level: NumPy would first make room for whatever was sent.
    pixels = [pixel for row in sublists(levels, *IMAGE_SHAPE[:2]) for pixel in row]
    flat = [level for pixel in sublists(pixels, len(pixels), IMAGE_SHAPE[2]) for level in pixel]
    if len(flat) != IMAGE_BYTES or not all(type(level) is int for level in flat):
        raise Unacceptable("An image given as lists must be 32 rows of 32 pixels of 3 integers.", index=index)
    try:
        return np.frombuffer(bytes(flat), np.uint8).reshape(IMAGE_SHAPE)
    except ValueError as error:
        raise Unacceptable("The levels of an image must be 0 to 255.", index=index) from error


def sublists(values: list[Any], count: int, length: int) -> list[list[Any]]:
    """`values` if it is `count` lists of `length`, else nothing."""
    right = len(values) == count and all(isinstance(value, list) and len(value) == length for value in values)
    return values if right else []


def decode_raw(data: bytes) -> Pixels:
    """Raw pixels, uint8 NHWC RGB, to uint8 [n, 32, 32, 3] that shares their memory; raises Unreadable, Unacceptable."""
    if not data:
        raise Unreadable("The body is empty: 0 bytes.")
    if len(data) % IMAGE_BYTES:
        raise Unacceptable(f"Raw pixels come in {IMAGE_BYTES} bytes per image (32x32x3), got {len(data)} bytes.")
    return np.frombuffer(data, np.uint8).reshape(-1, *IMAGE_SHAPE)
