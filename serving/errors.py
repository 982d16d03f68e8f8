"""Every way in which a request can fail, with its status and its code.

Refusal
  Unreadable 400 · Unauthorized 401 · UnknownModel 404 · NotFound 404 · MethodNotAllowed 405 · TooLarge 413
  UnsupportedType 415 · Unacceptable 422 · QueueFull 429 · Busy 429 · EngineFailed 500 · NotReady 503
  DeadlinePassed 504
"""

from collections.abc import Mapping
from typing import ClassVar

_SOON = {"Retry-After": "1"}  # seconds


class Refusal(Exception):
    """A request that gets an error instead of predictions; `str()` is its message to the client."""

    status: ClassVar[int]
    code: ClassVar[str]
    headers: Mapping[str, str] = {}

    def __init__(self, message: str, *, index: int | None = None) -> None:
        super().__init__(message)
        self.index = index  # of the image at fault, from 0


class Unreadable(Refusal):
    status, code = 400, "unreadable"


class Unauthorized(Refusal):
    status, code, headers = 401, "unauthorized", {"WWW-Authenticate": 'Bearer realm="cifar"'}


class UnknownModel(Refusal):
    status, code = 404, "unknown_model"


class NotFound(Refusal):
    status, code = 404, "not_found"


class MethodNotAllowed(Refusal):
    status, code = 405, "method_not_allowed"

    def __init__(self, message: str, *, allow: str) -> None:
        super().__init__(message)
        self.headers = {"Allow": allow}


class TooLarge(Refusal):
    status, code = 413, "too_large"


class UnsupportedType(Refusal):
    status, code = 415, "unsupported_type"


class Unacceptable(Refusal):
    status, code = 422, "unacceptable"


class QueueFull(Refusal):
    status, code, headers = 429, "queue_full", _SOON


class Busy(Refusal):
    """The server holds as much of other requests as it may."""

    status, code, headers = 429, "busy", _SOON


class EngineFailed(Refusal):
    status, code = 500, "engine_failed"


class NotReady(Refusal):
    """`soon`: whether asking again may help; a bundle that failed its checks stays so until a restart."""

    status, code = 503, "not_ready"

    def __init__(self, message: str, *, soon: bool = True) -> None:
        super().__init__(message)
        self.headers = _SOON if soon else {}


class DeadlinePassed(Refusal):
    status, code = 504, "deadline_passed"
