"""Everything that the clients raise.

ClassifyError         the server refused, or what answered is not this service
  BadInput            a ValueError: what was given cannot be sent; seen on this side
  Unavailable         not now: no connection, too busy or not ready, also at the last attempt
"""

import math
from numbers import Integral, Real


class ClassifyError(Exception):
    """There is no answer. `str()` is one line: what was asked, what the server said, and the way out."""

    def __init__(
        self,
        message: str,
        *,
        code: str = "error",  # as pickle makes one of its message alone, and fills in the rest
        index: int | None = None,
        status: int | None = None,
        subject: str = "",
        way_out: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message  # the server's own words, where it said some
        # The server's, such as "unreadable"; of another one that answered, "http_502" and the like; of this side,
        # "bad_input", "bad_answer", "mixed_models", "timeout" or "unreachable".
        self.code = code
        self.index = index  # of the image at fault among all that were given, from 0
        self.status = status  # of HTTP; None: no answer came
        self._subject = subject
        self._way_out = way_out

    def locate(self, index: int, name: str) -> None:
        """Say which of all images is at fault; the server knows its place in one request only."""
        self.index = index
        self._subject = name

    def __str__(self) -> str:
        subject = f"{self._subject}: " if self._subject else ""
        way_out = f" {self._way_out}" if self._way_out else ""
        status = "" if self.status is None else f" [HTTP {self.status}, {self.code}]"
        return f"{subject}{self.message}{way_out}{status}"


class BadInput(ClassifyError, ValueError):
    """What was given cannot be sent: the value, the rule and the way out."""

    def __init__(self, message: str, *, index: int | None = None) -> None:
        super().__init__(message, code="bad_input", index=index)


class Unavailable(ClassifyError):
    """The server cannot be reached, is too busy or not ready; the same question may be answered later."""


def check_range(
    name: str, value: float, minimum: float, maximum: float = math.inf, *, kind: type[Real] | type[Integral] = Integral
) -> None:
    if not (isinstance(value, kind) and minimum <= value <= maximum):
        what = "whole number" if kind is Integral else "number"
        end = f" and at most {maximum}" if maximum < math.inf else ""
        raise BadInput(f"{name}={value!r} cannot be used; it must be a {what} of at least {minimum}{end}.")
