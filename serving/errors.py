"""Every way in which a request can fail, with its status and its code.

Refusal
  Unreadable 400 · Unauthorized 401 · UnknownModel 404 · NotFound 404 · MethodNotAllowed 405 · TooLarge 413
  UnsupportedType 415 · Unacceptable 422 · QueueFull 429 · Busy 429 · EngineFailed 500 · NotReady 503
  DeadlinePassed 504
"""

import math
from collections.abc import Mapping
from typing import ClassVar

_SOON = {"Retry-After": "1"}  # seconds


class Refusal(Exception):
    """A request that gets an error instead of predictions; `str()` is its message to the client.

    The docstring of a kind is its meaning in GET /docs.json.
    """

    status: ClassVar[int]
    code: ClassVar[str]
    headers: Mapping[str, str] = {}

    def __init__(self, message: str, *, index: int | None = None) -> None:
        super().__init__(message)
        self.index = index  # of the image at fault, from 0


class Unreadable(Refusal):
    """The data are no whole picture of a known format, or the JSON or the form is malformed."""

    status, code = 400, "unreadable"


class Unauthorized(Refusal):
    """The server wants a key, and this is none of its keys."""

    status, code, headers = 401, "unauthorized", {"WWW-Authenticate": 'Bearer realm="cifar"'}


class UnknownModel(Refusal):
    """There is no bundle of this name; see GET /models."""

    status, code = 404, "unknown_model"


class NotFound(Refusal):
    """There is nothing at this path."""

    status, code = 404, "not_found"


class MethodNotAllowed(Refusal):
    """The path answers another method, which `Allow` names."""

    status, code = 405, "method_not_allowed"

    def __init__(self, message: str, *, allow: str) -> None:
        super().__init__(message)
        self.headers = {"Allow": allow}


class TooLarge(Refusal):
    """More bytes, pixels or images than the server takes."""

    status, code = 413, "too_large"


class UnsupportedType(Refusal):
    """The content type is none of those that are taken, or the body is compressed."""

    status, code = 415, "unsupported_type"


class Unacceptable(Refusal):
    """An option or an image breaks a rule, which the message names."""

    status, code = 422, "unacceptable"


class QueueFull(Refusal):
    """Too much waits already, or the answer would come too late; ask again after `Retry-After` seconds."""

    status, code = 429, "queue_full"

    def __init__(self, message: str, *, seconds: float = 1.0) -> None:
        super().__init__(message)
        self.headers = {"Retry-After": str(max(1, math.ceil(seconds)))}  # then there will be room


class Busy(Refusal):
    """The server holds as much of other requests as it may, or as many connections."""

    status, code, headers = 429, "busy", _SOON


class EngineFailed(Refusal):
    """The server failed; its log says why."""

    status, code = 500, "engine_failed"


class NotReady(Refusal):
    """The server is starting or stopping, or a bundle failed its checks; see GET /models."""

    status, code = 503, "not_ready"

    def __init__(self, message: str, *, soon: bool = True) -> None:
        """`soon`: whether asking again may help; a bundle that failed its checks stays so until a restart."""
        super().__init__(message)
        self.headers = _SOON if soon else {}


class DeadlinePassed(Refusal):
    """The answer was not ready in time: ask later, or fewer images at a time."""

    status, code = 504, "deadline_passed"
