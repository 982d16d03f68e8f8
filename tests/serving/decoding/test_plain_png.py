"""The shortcut for plain PNG files gives what Pillow gives of them, and takes no other file."""

import struct
import zlib

import numpy as np
import pytest
from bodies import encode, pictures
from encoded import GREY, RGB, exif, frames, png_file, saved
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from cifar_models.picture import Pixels
from serving.decoding.pictures import decode_picture, open_picture, open_with_pillow
from serving.decoding.plain_png import chunk, read_plain
from serving.errors import Refusal

IMAGE = pictures(1)[0]
PICTURE = Image.fromarray(IMAGE)
LINE = 1 + 32 * 3  # bytes: the number of its filter and a row of pixels
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def header(*, side: int = 32, depth: int = 8, colour: int = RGB, interlaced: int = 0) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", side, 32, depth, colour, 0, 0, interlaced))


def file(*chunks: bytes) -> bytes:
    return SIGNATURE + b"".join(chunks) + chunk(b"IEND", b"")


def with_text() -> bytes:
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "nothing")
    return saved(PICTURE, pnginfo=text)


def both(data: bytes) -> tuple[Pixels | str, Pixels | str]:
    """What is made of the file, and what Pillow makes of it: pixels, or why there are none."""

    def outcome(opened_by: object) -> Pixels | str:
        try:
            if opened_by is open_picture:
                return decode_picture(open_picture(data, index=0, max_pixels=10**6), index=0)
            return decode_picture(open_with_pillow(data, index=0), index=0)
        except Refusal as refusal:
            return str(refusal)

    return outcome(open_picture), outcome(open_with_pillow)


@st.composite
def compressed(draw: st.DrawFn) -> bytes:
    """Rows of any bytes, each with one of the five filters, which is a picture; or with another number, or cut off."""
    rows = draw(st.lists(st.integers(0, 2**32 - 1), min_size=32, max_size=32))
    filters = draw(st.lists(st.sampled_from([0, 1, 2, 3, 4] * 20 + [5]), min_size=32, max_size=32))
    texts = [np.random.default_rng(seed).bytes(LINE - 1) for seed in rows]
    lines = b"".join(bytes([kind]) + text for kind, text in zip(filters, texts, strict=True))
    return zlib.compress(
        lines[: draw(st.sampled_from([len(lines)] * 5 + [len(lines) - LINE, 0]))], draw(st.integers(0, 9))
    )


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(compressed(), st.booleans(), st.integers(0, 3199))
def test_it_gives_the_pixels_or_the_refusal_that_pillow_gives(data: bytes, damaged: bool, place: int) -> None:
    """Of pixels that are sound, or damaged under the right checksum."""
    if damaged and place < len(data):
        data = data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :]
    plain = file(header(), chunk(b"IDAT", data))
    assert read_plain(plain) is not None
    ours, pillows = both(plain)
    assert np.array_equal(ours, pillows)


@pytest.mark.parametrize("level", range(10))
def test_what_pillow_writes_is_plain(level: int) -> None:
    plain = read_plain(saved(PICTURE, compress_level=level))
    assert plain is not None
    pixels = plain.decode()
    assert pixels is not None
    assert np.array_equal(pixels, IMAGE)


def test_rows_that_are_missing_show_nothing_of_another_picture() -> None:
    half = file(header(), chunk(b"IDAT", zlib.compress(bytes([0]) + b"\xff" * (LINE - 1))))
    both(encode(IMAGE))
    pixels, pillows = both(half)
    assert np.array_equal(pixels, pillows)
    assert np.array_equal(pixels, np.repeat(np.array([255] + [0] * 31, np.uint8), 96).reshape(32, 32, 3))


def test_a_picture_keeps_its_pixels_when_the_next_one_is_decoded() -> None:
    first, second = (read_plain(encode(image)) for image in pictures(2))
    assert first is not None
    assert second is not None
    pixels, others = first.decode(), second.decode()
    for decoded, image in zip((pixels, others), pictures(2), strict=True):
        assert decoded is not None
        assert np.array_equal(decoded, image)


DATA = chunk(b"IDAT", zlib.compress(bytes(32 * LINE)))
PLAIN = encode(IMAGE)
OTHERS = {
    "nothing": b"",
    "another size": encode(np.zeros((32, 33, 3), np.uint8)),
    "another size in its header": file(header(side=33), DATA),
    "grey": encode(IMAGE[:, :, 0]),
    "alpha": saved(PICTURE.convert("RGBA")),
    "a palette": saved(PICTURE.quantize(16)),
    "16 bits": png_file(IMAGE.astype(np.uint16) * 257, RGB, 16),
    "4 bits": png_file(IMAGE[:, :, 0] >> 4, GREY, 4),
    "a transparent colour": png_file(IMAGE, RGB, 8, (1, 2, 3)),
    "turned by its EXIF": saved(PICTURE, exif=exif(6)),
    "EXIF behind the pixels": file(header(), DATA, chunk(b"eXIf", exif(6).tobytes())),
    "a text": with_text(),
    "frames": frames(IMAGE, "PNG"),
    "interlaced": file(header(interlaced=1), DATA),
    "a wrong checksum": PLAIN[:-13] + bytes([PLAIN[-13] ^ 1]) + PLAIN[-12:],
    "something behind its end": PLAIN + b"\0",
    "no end": PLAIN[:-12],
    "no pixels": file(header()),
    "empty pixels": file(header(), chunk(b"IDAT", b"")),
    "pixels in two pieces, the second of which is their checksum": file(
        header(), chunk(b"IDAT", zlib.compress(bytes(LINE))[:-4]), chunk(b"IDAT", zlib.compress(bytes(LINE))[-4:])
    ),
    "more than there can be": file(header(), chunk(b"IDAT", zlib.compress(bytes(32 * LINE)) + bytes(2**16))),
    "a piece that reaches into the end": SIGNATURE + header() + b"\0\0\0\x10IDAT" + bytes(4) + chunk(b"IEND", b""),
    "a piece without a name": file(header(), b"\0\0\0\0"),
    "JPEG": encode(IMAGE, "JPEG"),
}


@pytest.mark.parametrize("data", OTHERS.values(), ids=OTHERS)
def test_any_other_file_is_left_to_pillow(data: bytes) -> None:
    assert read_plain(data) is None
    ours, pillows = both(data)
    assert np.array_equal(ours, pillows)
