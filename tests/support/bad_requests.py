"""Requests that must be refused, and how."""

import io
import json
import zlib
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from bodies import BOUNDARY, FORM, JSON, RAW, Body, base64, document, encode, field, form, part, pictures, png, raw
from encoded import run_length_bmp
from PIL import Image

from cifar_models.picture import Pixels
from serving.settings import load_settings

MAX_BYTES = load_settings({}).max_bytes
MAX_IMAGES = load_settings({}).max_images


@dataclass(frozen=True, slots=True)
class Bad:
    """A request and the error that it gets; `index` is None where no image is at fault."""

    name: str
    body: Body
    status: int
    code: str
    index: int | None = None
    query: str = ""


GOOD = pictures(1)[0]
GOOD_PNG = encode(GOOD)
HALF_PNG = GOOD_PNG[: len(GOOD_PNG) // 2]  # which can be opened
HALF = base64(HALF_PNG)
NOPE = field("model", "nope")
GOOD_JPEG = encode(GOOD, "JPEG")
GOOD_GIF = encode(GOOD[:, :, 0], "GIF")
GIF_BLOCKS = 13 + 3 * (2 << (GOOD_GIF[10] & 7))  # after its header and its palette
REMARKS = b"!\xfe\x01a\0" * 200_000
EMPTY_CHUNK = bytes(4) + b"prVt" + zlib.crc32(b"prVt").to_bytes(4)
WIDE = np.zeros((48, 64, 3), np.uint8)
TEXT = b"This is no picture.\n"
JPEGS = ("JPEG", "MPO")
NOTE = b"\xff\xe1\x00\x0aExif\x00\x00II"


@cache
def wide_png(side: int) -> bytes:
    """A whole one-bit picture: small as a file, enormous in memory."""
    file = io.BytesIO()
    Image.new("1", (side, side)).save(file, "PNG")
    return file.getvalue()


def many_scans(count: int, kind: str) -> bytes:
    """A progressive JPEG that draws its pixels again and again, alone or as the first of two in a file (MPO)."""
    file, image = io.BytesIO(), Image.fromarray(GOOD)
    image.save(file, kind, progressive=True, **({"save_all": True, "append_images": [image]} if kind == "MPO" else {}))
    data = file.getvalue()
    end = data.index(b"\xff\xd9")
    return insert(data, end, data[data.rindex(b"\xff\xda", 0, end) : end] * count)


def insert(data: bytes, start: int, more: bytes) -> bytes:
    return data[:start] + more + data[start:]


def levels(change: Any, image: Pixels = GOOD) -> list[Any]:
    """The picture as lists, with `change` as its first level."""
    rows: list[Any] = image.tolist()
    rows[0][0][0] = change
    return rows


def ragged() -> list[Any]:
    rows: list[Any] = GOOD.tolist()
    rows[3] = rows[3][:-1]
    return rows


def among_good(bad: Any) -> Body:
    """JSON in which the second of three images is bad."""
    return document([base64(GOOD_PNG), bad, GOOD.tolist()])


def file_among_good(bad: bytes) -> Body:
    return form(part("images", GOOD_PNG), part("images", bad), part("image", GOOD_PNG))


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


PICTURES = [
    Bad("no bytes as png", Body(b"", "image/png"), 400, "unreadable", 0),
    Bad("text as png", Body(TEXT, "image/png"), 400, "unreadable", 0),
    Bad("truncated png", Body(HALF_PNG, "image/png"), 400, "unreadable", 0),
    Bad("truncated jpeg", Body(GOOD_JPEG[: len(GOOD_JPEG) // 2], "image/jpeg"), 400, "unreadable", 0),
    Bad("png header alone", Body(GOOD_PNG[:33], "image/png"), 400, "unreadable", 0),
    Bad("a format that is not taken", Body(encode(GOOD, "TIFF"), "image/png"), 400, "unreadable", 0),
    Bad("20,000x20,000 pixels", Body(wide_png(20_000), "image/png"), 413, "too_large", 0),
    Bad("the header of 20,000x20,000 pixels", Body(wide_png(20_000)[:64], "image/png"), 413, "too_large", 0),
    *(Bad(f"a {kind} of 200 scans", Body(many_scans(200, kind), "image/jpeg"), 400, "unreadable", 0) for kind in JPEGS),
    Bad("a jpeg of 20,000 notes", Body(insert(GOOD_JPEG, 2, NOTE * 20_000), "image/jpeg"), 400, "unreadable", 0),
    # Each piece costs a reader more than its bytes: minutes, were they all read.
    Bad("a png of 80,000 pieces", Body(insert(GOOD_PNG, 33, EMPTY_CHUNK * 80_000), "image/png"), 400, "unreadable", 0),
    Bad("a jpeg of padding", Body(insert(GOOD_JPEG, 2, b"\xff" * 1_000_000), "image/jpeg"), 400, "unreadable", 0),
    Bad(
        "a gif of remarks",
        Body(insert(GOOD_GIF, GIF_BLOCKS, REMARKS), "image/gif"),
        400,
        "unreadable",
        0,
    ),
    Bad("a bmp of long runs", Body(run_length_bmp(1000), "image/bmp"), 422, "unacceptable", 0),
    Bad("strict and 64x48", png(WIDE), 422, "unacceptable", 0, "strict=true"),
]
FORMS = [
    Bad("no bytes as form", Body(b"", FORM), 400, "unreadable"),
    Bad("a form of nothing", form(), 422, "unacceptable"),
    Bad("a form of options alone", form(field("top_k", "1")), 422, "unacceptable"),
    Bad("a file of no bytes", file_among_good(b""), 400, "unreadable", 1),
    Bad("a text file named .png", file_among_good(TEXT), 400, "unreadable", 1),
    Bad("a truncated file", file_among_good(GOOD_PNG[:-40]), 400, "unreadable", 1),
    Bad("a file of 20,000x20,000 pixels", file_among_good(wide_png(20_000)), 413, "too_large", 1),
    Bad("small files of many pixels", form(*[part("images", wide_png(3_000))] * 3), 413, "too_large"),
    Bad("too many files", form(*[part("images", GOOD_PNG)] * (MAX_IMAGES + 1)), 413, "too_large"),
    Bad("far too many fields", form(*[field("top_k", "1")] * (2 * MAX_IMAGES)), 413, "too_large"),
    Bad("a field of a million headers", form(b"--a-boundary\r\n" + b"a:b\r\n" * 1_000_000), 400, "unreadable"),
    Bad("a field of a long header", form(part("images" + ";" * 100_000, GOOD_PNG)), 400, "unreadable"),
    Bad("a field of many options", form(part("images" + '"; a=";' * 400, GOOD_PNG)), 400, "unreadable"),
    Bad("a content type of many options", Body(GOOD_PNG, FORM + ";" * 2000), 400, "unreadable"),
    Bad("an unknown field", form(part("images", GOOD_PNG), field("colour", "red")), 422, "unacceptable"),
    Bad("a file under another name", form(part("picture", GOOD_PNG)), 422, "unacceptable"),
    Bad("no boundary", Body(form(part("images", GOOD_PNG)).content, "multipart/form-data"), 400, "unreadable"),
    Bad("another boundary", Body(form(part("images", GOOD_PNG)).content, FORM + "2"), 400, "unreadable"),
    Bad("cut off in a file", Body(part("images", GOOD_PNG)[:-20], FORM), 400, "unreadable"),
    Bad(
        "cut off in the boundary",
        Body(form(part("images", GOOD_PNG)).content[: -len(BOUNDARY)], FORM),
        400,
        "unreadable",
    ),
    Bad("text as form", Body(TEXT, FORM), 400, "unreadable"),
]
DOCUMENTS = [
    Bad("no bytes as json", Body(b"", JSON), 400, "unreadable"),
    Bad("not json", Body(b'{"images": [', JSON), 400, "unreadable"),
    Bad("not utf-8", Body(b'{"images": ["\xff"]}', JSON), 400, "unreadable"),
    Bad("json and no object", Body(json.dumps([GOOD.tolist()]).encode(), JSON), 422, "unacceptable"),
    Bad("no images", Body(b"{}", JSON), 422, "unacceptable"),
    Bad("images that are no list", Body(b'{"images": "abc"}', JSON), 422, "unacceptable"),
    Bad("an empty list", document([]), 422, "unacceptable"),
    Bad("too many images", document([0] * (MAX_IMAGES + 1)), 413, "too_large"),
    Bad("nested too deep for a parser", Body(b'{"images": ' + nested(100_000) + b"}", JSON), 400, "unreadable"),
    Bad("nested too deep for an image", Body(b'{"images": ' + nested(100) + b"}", JSON), 422, "unacceptable", 0),
    Bad("an integer of 5000 digits", Body(b'{"images": [' + b"9" * 5000 + b"]}", JSON), 400, "unreadable"),
    Bad("a number as image", among_good(3), 422, "unacceptable", 1),
    Bad("null as image", among_good(None), 422, "unacceptable", 1),
    Bad("an object as image", among_good({}), 422, "unacceptable", 1),
    Bad("not base64", among_good("@@@"), 400, "unreadable", 1),
    Bad("base64 of a text", among_good(base64(TEXT)), 400, "unreadable", 1),
    Bad("base64 of nothing", among_good(""), 400, "unreadable", 1),
    Bad("a level of 256", among_good(levels(256)), 422, "unacceptable", 1),
    Bad("a level of -1", among_good(levels(-1)), 422, "unacceptable", 1),
    Bad("a level of 10**30", among_good(levels(10**30)), 422, "unacceptable", 1),
    Bad("a level of 1.5", among_good(levels(1.5)), 422, "unacceptable", 1),
    Bad("a text as level", among_good(levels("1")), 422, "unacceptable", 1),
    Bad("true as every level", among_good([[[True] * 3] * 32] * 32), 422, "unacceptable", 1),
    Bad("an image of 300 KB", Body(b'{"images": [[' + b"0, " * 100_000 + b"0]]}", JSON), 422, "unacceptable", 0),
    # As long as a piece that is cut off for its length, and these are not: they end there.
    Bad("256 KiB that end in a text", Body(b'{"images": ["'.ljust(256 * 1024, b"A"), JSON), 400, "unreadable"),
    Bad("256 KiB of a list that ends", Body(b'{"images": [[0'.ljust(12 + 256 * 1024, b" "), JSON), 400, "unreadable"),
    Bad("images twice", Body(b'{"images": [], "images": []}', JSON), 422, "unacceptable"),
    Bad("more after the object", Body(b'{"images": []} {}', JSON), 400, "unreadable"),
    Bad("no comma", Body(b'{"images": ["" ""]}', JSON), 400, "unreadable"),
    Bad("a comma too many", Body(b'{"images": ["",]}', JSON), 400, "unreadable"),
    Bad("a name that is no text", Body(b'{1: "images"}', JSON), 400, "unreadable"),
    Bad("ragged lists", among_good(ragged()), 422, "unacceptable", 1),
    Bad("31 rows", among_good(GOOD.tolist()[:31]), 422, "unacceptable", 1),
    # NumPy would make room for as many texts of the longest one's length as there are: 24 TB.
    Bad("long texts as levels", among_good(["x" * 3_000_000, *[""] * 2_000_000]), 422, "unacceptable", 1),
]
PIXELS = [
    Bad("no bytes as pixels", Body(b"", RAW), 400, "unreadable"),
    Bad("a byte too few", Body(bytes(2 * 3072 - 1), RAW), 422, "unacceptable"),
    Bad("too many raw images", Body(bytes(3072 * (MAX_IMAGES + 1)), RAW), 413, "too_large"),
    Bad("one byte above the limit", Body(bytes(MAX_BYTES + 1), RAW), 413, "too_large"),
]
TYPES = [
    Bad("no content type", Body(GOOD_PNG, ""), 415, "unsupported_type"),
    Bad("text as content type", Body(GOOD_PNG, "text/plain"), 415, "unsupported_type"),
    Bad("half a content type", Body(GOOD_PNG, "png"), 415, "unsupported_type"),
    Bad("an url-encoded form", Body(b"images=1", "application/x-www-form-urlencoded"), 415, "unsupported_type"),
]
OPTIONS = [
    Bad("an unknown option", png(GOOD), 422, "unacceptable", query="colour=red"),
    Bad("an unknown option in json", document([GOOD.tolist()], colour="red"), 422, "unacceptable"),
    Bad("half a character as option in json", document([GOOD.tolist()], **{"\ud800": 1}), 422, "unacceptable"),
    Bad("half a character as model in json", document([GOOD.tolist()], model="\ud800"), 404, "unknown_model"),
    Bad("top_k 0", png(GOOD), 422, "unacceptable", query="top_k=0"),
    Bad("top_k twice", png(GOOD), 422, "unacceptable", query="top_k=1&top_k=2"),
    Bad("top_k twice in a form", form(part("images", GOOD_PNG), *[field("top_k", "1")] * 2), 422, "unacceptable"),
    Bad("top_k 11", png(GOOD), 422, "unacceptable", query="top_k=11"),
    Bad("top_k x", png(GOOD), 422, "unacceptable", query="top_k=x"),
    Bad("top_k true in json", document([GOOD.tolist()], top_k=True), 422, "unacceptable"),
    Bad("top_k 1.5 in json", document([GOOD.tolist()], top_k=1.5), 422, "unacceptable"),
    Bad("top_k a list in json", document([GOOD.tolist()], top_k=[1]), 422, "unacceptable"),
    Bad("strict perhaps in json", document([GOOD.tolist()], strict="perhaps"), 422, "unacceptable"),
    Bad("strict perhaps in a form", form(part("images", GOOD_PNG), field("strict", "?")), 422, "unacceptable"),
    Bad("a number as model in json", document([GOOD.tolist()], model=3), 422, "unacceptable"),
    Bad("an unknown model in json", document([GOOD.tolist()], model="nope"), 404, "unknown_model"),
    Bad("an unknown model in a form", form(part("images", GOOD_PNG), NOPE), 404, "unknown_model"),
    Bad("strict in json and 64x48", document([base64(encode(WIDE))], strict=True), 422, "unacceptable", 0),
    Bad("strict in a form and 64x48", form(part("images", encode(WIDE)), field("strict", "1")), 422, "unacceptable", 0),
    Bad("top_k -1 in json", document([GOOD.tolist()], top_k=-1), 422, "unacceptable"),
    Bad("top_k x in a form", form(part("images", GOOD_PNG), field("top_k", "x")), 422, "unacceptable"),
    Bad("strict perhaps", png(GOOD), 422, "unacceptable", query="strict=perhaps"),
    Bad("an unknown model", png(GOOD), 404, "unknown_model", query="model=nope"),
    # What no picture can change is said before it is looked at.
    Bad("an unknown model for no picture", Body(b"text", "image/png"), 404, "unknown_model", query="model=nope"),
    Bad("an unknown model for no picture in a form", form(part("images", b"text"), NOPE), 404, "unknown_model"),
    Bad("an unknown model for half a png in json", document([HALF], model="nope"), 404, "unknown_model"),
    Bad("an unknown model for 3071 bytes", Body(bytes(3071), RAW), 404, "unknown_model", query="model=nope"),
    Bad("top_k 11 for half a png", Body(HALF_PNG, "image/png"), 422, "unacceptable", query="top_k=11"),
    Bad("top_k 11 for no base64 in json", document(["?"], top_k=11), 422, "unacceptable"),
    Bad("a path as model", raw(GOOD[None]), 404, "unknown_model", query="model=../cifarnet"),
]
BAD_REQUESTS = [*PICTURES, *FORMS, *DOCUMENTS, *PIXELS, *TYPES, *OPTIONS]
