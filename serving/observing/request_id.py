"""A name for each request, to find it again in the log: the client's own if it is sane, else one of ours."""

import re
from collections.abc import Iterable
from itertools import count
from secrets import token_hex

HEADER = b"x-request-id"

# Visible ASCII: no space, no control character, nothing that a log or a header would have to escape at length.
_SANE = re.compile(rb"[!-~]{1,128}")


class RequestIds:
    """Names requests. Ours are a random prefix, which tells workers apart, and a number: cheaper than a uuid."""

    def __init__(self) -> None:
        self._prefix = token_hex(4).encode() + b"-"
        self._numbers = count(1)

    def choose(self, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        for name, value in headers:
            if name == HEADER and _SANE.fullmatch(value):
                return value
        return self._prefix + b"%x" % next(self._numbers)
