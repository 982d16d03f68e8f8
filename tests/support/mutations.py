"""Inputs mutated from valid ones: pictures, JSON, forms, whole requests and what goes over the wire."""

import json

import numpy as np
from bodies import BOUNDARY, FORM, JSON, RAW, Body, base64, encode, field, form, part, pictures
from encoded import GREY, RGB, exif, frames, png_file, saved
from hypothesis import strategies as st
from PIL import Image
from wire import post_head

IMAGE = pictures(1)[0]
PICTURE = Image.fromarray(IMAGE)
WHOLE = [
    encode(IMAGE),
    encode(np.zeros((40, 200, 3), np.uint8)),
    saved(PICTURE.quantize(16), transparency=3),
    saved(PICTURE, exif=exif(6), icc_profile=b"profile" * 50),
    png_file(IMAGE.astype(np.uint16) * 257, RGB, 16, (1, 2, 3)),
    png_file(IMAGE[:, :, 0] >> 4, GREY, 4, (5,)),
    frames(IMAGE, "PNG"),
    encode(IMAGE, "JPEG"),
    saved(PICTURE, "JPEG", progressive=True, exif=exif(3), comment=b"comment"),
    saved(PICTURE.convert("CMYK"), "JPEG"),
    saved(PICTURE, "MPO", save_all=True, append_images=[PICTURE]),
    encode(IMAGE, "WEBP"),
    saved(PICTURE, "WEBP", exif=exif(8)),
    frames(IMAGE, "WEBP"),
    saved(PICTURE, "GIF", save_all=True, append_images=[PICTURE], comment=b"comment"),
    encode(IMAGE, "BMP"),
    saved(PICTURE.quantize(16), "BMP"),
]
NUMBERS = [bytes(4), b"\xff" * 4, b"\x7f\xff\xff\xff", b"\x80\0\0\0", (2**31 - 12).to_bytes(4, "little")]
TOKENS = [
    b"\xff\xda",
    b"\xff\xe1\0\x0aExif\0\0",
    b"\xff\xda\0\x08\x01",
    b"IDAT",
    b"tRNS",
    b"eXIf",
    b"RIFF",
    b"VP8X",
    b"ANMF",
    b"!\xfe\x03abc\0",
]
SYNTAX = [
    b"[",
    b"]",
    b"{",
    b"}",
    b",",
    b":",
    b'"',
    b"\\",
    b"\\ud800",
    b"null",
    b"1e999",
    b"-",
    b"NaN",
    b"\xff",
    b"\xf0",
]
LINES = [
    b"\r\n",
    b"--",
    BOUNDARY.encode(),
    b"\r\n--" + BOUNDARY.encode(),
    b"Content-Disposition: form-data; name=",
    b'"',
]


@st.composite
def mutated(draw: st.DrawFn, wholes: list[bytes], pieces: list[bytes]) -> bytes:
    """A valid input in which up to eight pieces are replaced, inserted, removed or repeated."""
    data = bytearray(draw(st.sampled_from(wholes)))
    for _ in range(draw(st.integers(0, 8))):
        start = draw(st.integers(0, len(data)))
        if draw(st.booleans()):
            start = min(start, 100)  # headers are where the decisions are
        length = draw(st.sampled_from([0, 0, 1, 1, 2, 4, 100, 10_000]))
        kind = draw(st.integers(0, 3))
        if kind == 0:
            data[start : start + length] = draw(st.binary(max_size=8))
        elif kind == 1:
            piece = draw(st.sampled_from(pieces))
            data[start : start + draw(st.sampled_from([0, len(piece)]))] = piece
        elif kind == 2:
            data[start : start + length] = data[start : start + length] * draw(st.integers(0, 3))
        else:
            del data[start + length * 50 :]
    return bytes(data)


PICTURES = mutated(WHOLE, [*NUMBERS, *TOKENS])


LEAVES = st.none() | st.booleans() | st.integers(-300, 300) | st.floats() | st.text(max_size=5)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=20,
)
NAMES = st.sampled_from(["images", "model", "top_k", "strict"])
DOCUMENTS = [
    json.dumps({"images": [base64(encode(IMAGE)), IMAGE.tolist()], "top_k": 3, "strict": False}).encode(),
    json.dumps({"model": "cifarnet", "images": ["", [], [[[1, 2, 3]]]]}, indent=1).encode(),
]
TEXTS = st.one_of(
    mutated(DOCUMENTS, SYNTAX),
    st.dictionaries(NAMES, VALUES, max_size=4).map(lambda members: json.dumps(members).encode()),
    VALUES.map(lambda value: json.dumps(value).encode()),
)


WHOLE_FORMS = [
    form(part("images", encode(IMAGE)), part("image", encode(IMAGE, "JPEG")), field("top_k", "3")).content,
    b"preamble\r\n" + form(field("model", "cifarnet"), part("images", b"")).content + b"epilogue",
]
FORMS = mutated(WHOLE_FORMS, LINES)


TYPES = ["image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp", "text/plain", ""]
BODIES = st.one_of(
    st.builds(Body, PICTURES, st.sampled_from(TYPES)),
    st.builds(Body, TEXTS, st.just(JSON)),
    st.builds(Body, FORMS, st.sampled_from([FORM, FORM, "multipart/form-data", 'multipart/form-data; boundary="'])),
    st.builds(Body, st.binary(max_size=4000), st.sampled_from([RAW, JSON, FORM, *TYPES])),
    st.builds(lambda data: form(part("images", data), part("images", encode(IMAGE))), PICTURES),
    st.builds(lambda data: Body(json.dumps({"images": [base64(data)]}).encode(), JSON), PICTURES),
)
QUERIES: st.SearchStrategy[dict[str, str]] = st.dictionaries(
    NAMES | st.text(max_size=5), LEAVES.map(str), max_size=2
) | st.just({})


HEADS = [
    post_head(3072) + bytes(3072),
    b"POST /classify?top_k=3 HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n"
    b"Content-Type: image/png\r\nExpect: 100-continue\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
    b"GET /livez HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
]
TRANSFER = [
    b"\r\n",
    b"\n",
    b"\0",
    b" ",
    b":",
    b"%00",
    b"%ff",
    b"//",
    b"HTTP/9.9",
    b"Content-Length: -1\r\n",
    b"ffffffff\r\n",
]
