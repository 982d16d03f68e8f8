"""A name for each request, to find it again in the log: the client's own if it is sane, else one of ours."""

import re
from collections.abc import Iterable
from itertools import count
from secrets import token_hex

HEADER = b"x-request-id"

# Visible ASCII: no space, no control character, nothing that a log or a header would have to escape at length.
_SANE = re.compile(rb"[!-~]{1,128}")


_PREFIX = token_hex(4).encode() + b"-"  # tells workers apart
_NUMBERS = count(1)  # cheaper than a uuid for each


def choose_id(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    for name, value in headers:
        if name == HEADER and _SANE.fullmatch(value):
            return value
    return _PREFIX + b"%x" % next(_NUMBERS)
