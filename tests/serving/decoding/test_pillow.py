"""Pillow is a whole process's: a server sets it up for strangers' pictures, and whoever imports a decoder does not."""

import struct
import subprocess
import sys
import warnings
from typing import Literal

import numpy as np
import pytest
from bodies import pictures
from conftest import ROOT
from encoded import saved
from PIL import Image, PngImagePlugin

from serving.decoding.pictures import decode_picture, open_picture
from serving.decoding.plain_png import chunk
from serving.errors import TooLarge

PILLOWS_LIMIT = 1024 * 1024 * 1024 // 4 // 3  # pixels, from which it warns; from twice as many on it raises

STATE = """
import warnings
from PIL import Image, PngImagePlugin

def state():
    stream = vars(PngImagePlugin.PngStream)
    reads = [stream.get(f"chunk_{name}") for name in ("iCCP", "tEXt", "zTXt", "iTXt")]
    ignored = [item for item in warnings.filters if "PIL" in str(item[3])]
    return Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK, reads, ignored

before = state()
"""
IMPORTING = "import serving.decoding.document, serving.decoding.pictures, service\nassert state() == before"
# Twice, then what is no picture, for which all decoders are tried, and then a picture whose text says that it is upside
# down, from the standard input.
PREPARING = """
import contextlib, sys
from serving.decoding.pictures import decode_picture, open_picture, prepare_pillow
from serving.errors import Unreadable
prepare_pillow()
prepare_pillow()
assert all(new != old for new, old in zip(state(), before))
loaded = set(sys.modules)
with contextlib.suppress(Unreadable):
    open_picture(b"no picture", index=0, max_pixels=1024)
picture = open_picture(sys.stdin.buffer.read(), index=0, max_pixels=1024)
sys.stdout.buffer.write(decode_picture(picture, index=0).tobytes())
assert set(sys.modules) == loaded
"""


def run(program: str, data: bytes = b"") -> bytes:
    return subprocess.run([sys.executable, "-c", STATE + program], cwd=ROOT, check=True, input=data, stdout=-1).stdout


def of_size(side: int) -> bytes:
    """A PNG of so many pixels both ways, of which none are there: it is opened, and not decoded."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def test_importing_the_decoders_or_the_service_changes_nothing_of_pillow() -> None:
    run(IMPORTING)


def test_once_prepared_it_still_reads_which_side_is_up_and_imports_nothing_more() -> None:
    notes = PngImagePlugin.PngInfo()
    notes.add_itxt("XML:com.adobe.xmp", '<rdf:Description tiff:Orientation="3"/>')
    image = pictures(1)[0]
    data = saved(Image.fromarray(np.ascontiguousarray(image[::-1, ::-1])), pnginfo=notes)
    assert run(PREPARING, data) == image.tobytes()
    assert np.array_equal(decode_picture(open_picture(data, index=0, max_pixels=1024), index=0), image)


@pytest.mark.parametrize("side", [9_000, 10_000, 20_000])  # below Pillow's limit, where it warns, and where it raises
@pytest.mark.parametrize("action", ["ignore", "error"])
def test_a_picture_of_too_many_pixels_is_too_large_where_pillow_has_its_own_limit(
    monkeypatch: pytest.MonkeyPatch, side: int, action: Literal["ignore", "error"]
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", PILLOWS_LIMIT)
    warnings.simplefilter(action, Image.DecompressionBombWarning)  # pytest forgets it after the test
    with pytest.raises(TooLarge, match="pixels"):
        open_picture(of_size(side), index=0, max_pixels=16_000_000)


def test_a_lack_of_memory_is_not_called_damage_of_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sent it would not send it again, as after the 500 that it is."""

    def load() -> None:
        raise MemoryError

    picture = open_picture(saved(Image.new("RGB", (33, 33))), index=0, max_pixels=2000)
    assert isinstance(picture, Image.Image)
    monkeypatch.setattr(picture, "load", load)
    with pytest.raises(MemoryError):
        decode_picture(picture, index=0)
