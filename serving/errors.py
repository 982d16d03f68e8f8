"""Every way in which a request can fail, with its status and its code.

Refusal
  Unreadable 400 · UnknownModel 404 · NotFound 404 · MethodNotAllowed 405 · TooLarge 413 · UnsupportedType 415
  Unacceptable 422 · QueueFull 429 · EngineFailed 500 · NotReady 503 · DeadlinePassed 504
"""

import math
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
    status, code = 429, "queue_full"

    def __init__(self, message: str, *, seconds: float) -> None:
        """`seconds` from now there will be room."""
        super().__init__(message)
        self.headers = {"Retry-After": str(max(1, math.ceil(seconds)))}


class EngineFailed(Refusal):
    status, code = 500, "engine_failed"


class NotReady(Refusal):
    status, code, headers = 503, "not_ready", _SOON


class DeadlinePassed(Refusal):
    status, code = 504, "deadline_passed"
