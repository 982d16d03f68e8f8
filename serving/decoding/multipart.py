"""multipart/form-data in memory (RFC 7578; RFC 2046, section 5.1): a bounded body that is there as a whole."""

import re
from dataclasses import dataclass
from functools import lru_cache

from python_multipart.multipart import parse_options_header

from serving.errors import TooLarge, Unreadable

_MOST_HEADERS = 8 * 1024  # bytes, of one part; what is there takes many times its size
_USUAL_HEADER = 256  # bytes; longer ones are not remembered
_MOST_OPTIONS = 2048  # bytes of a header that is taken apart: of more the time is the square; a long name has half
_FOLD = re.compile(rb"\r\n[ \t]+")  # a header that goes on in the next line


@dataclass(frozen=True, slots=True)
class Part:
    """One field of a form."""

    name: str
    data: bytes


def parse_form(body: bytes, content_type: str, *, max_parts: int) -> list[Part]:
    """The parts of a multipart/form-data body, in order. Raises Unreadable, or TooLarge for more than `max_parts`.

    What stands before the first boundary and after the last one means nothing.
    """
    boundary = parameter(content_type, b"boundary")
    if not boundary:
        raise Unreadable("The Content-Type names no boundary: multipart/form-data; boundary=…")
    delimiter = b"\r\n--" + boundary
    # The first one needs no line before it.
    found = -2 if body.startswith(delimiter[2:]) else find(body, delimiter, 0)
    parts: list[Part] = []
    while not body.startswith(b"--", found + len(delimiter)):
        if len(parts) == max_parts:
            raise TooLarge(f"The form has more than {max_parts} fields.")
        part, found = parse_part(body, found + len(delimiter), delimiter)
        parts.append(part)
    return parts


def parse_part(body: bytes, start: int, delimiter: bytes) -> tuple[Part, int]:
    """The part whose delimiter ends at `start`, and where the next delimiter begins. Raises Unreadable."""
    end = body.find(b"\r\n\r\n", start, start + _MOST_HEADERS)
    if end < 0:
        raise Unreadable(f"The form is cut off, or a part of it has more than {_MOST_HEADERS} bytes of headers.")
    following = find(body, delimiter, end + 2)  # a part may end with its headers
    padding, *headers = _FOLD.sub(b" ", body[start:end]).split(b"\r\n")
    if padding.strip(b" \t"):
        raise Unreadable(f"The body is not valid multipart/form-data: {padding[:20]!r} follows a boundary.")
    name = b""
    for header in headers:
        key, colon, value = header.partition(b":")
        if not colon:
            raise Unreadable(f"The body is not valid multipart/form-data: {header[:20]!r} is no header.")
        if key.lower() == b"content-disposition":
            name = parameter(value.decode("latin-1"), b"name")
    return Part(name.decode("utf-8", "replace"), body[end + 4 : following]), following


def find(body: bytes, piece: bytes, start: int) -> int:
    found = body.find(piece, start)
    if found < 0:
        raise Unreadable("The form is cut off: its closing boundary is missing.")
    return found


def parameter(header: str, name: bytes) -> bytes:
    """What `header` says of `name`, or nothing. Raises Unreadable for one that is too long."""
    if len(header) > _MOST_OPTIONS:
        raise Unreadable(f"A header that describes the form has more than {_MOST_OPTIONS} bytes.")
    parse = remembered if len(header) <= _USUAL_HEADER else parse_options_header
    return parse(header)[1].get(name, b"")


@lru_cache(maxsize=256)  # clients say the same again and again
def remembered(header: str) -> tuple[bytes, dict[bytes, bytes]]:
    return parse_options_header(header)
