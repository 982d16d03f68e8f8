"""HTTP responses to answers or to errors that name what the server said and the way out."""

from typing import TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from serving.answers import Error, Refused
from serving.client.errors import ClassifyError, Unavailable

T = TypeVar("T", bound=BaseModel)

_AGAIN = {429, 502, 503}  # 502: of a proxy whose server went away
_LATER = {*_AGAIN, 504}
_LONGEST_EXCERPT = 200  # characters of a body that is not ours
_LONGER = "retries=… and timeout=… of the client wait longer."
_BUSY = f"Ask later or fewer at a time; {_LONGER}"
_SLOW = "Ask later or fewer at a time; timeout=… of the client waits longer."
_LATE = "Ask later, or fewer at a time: batch_size=… of the client."  # the deadline is the server's own
_WAYS_OUT = {
    401: "Give the server's key: api_key=… of the client.",
    403: "Give a key that may do this: api_key=… of the client.",
    413: "Shrink the picture before it is sent.",
    504: _LATE,
} | dict.fromkeys(_AGAIN, _BUSY)
_ELSEWHERE = "Is the client's address that of this service?"


def read_body(response: httpx.Response, kind: type[T]) -> T:
    """The body of a response with status 200; raises ClassifyError for any other, and for a body of another kind."""
    if response.status_code != 200:
        raise refusal(response)
    try:
        return kind.model_validate_json(response.content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the body"
        raise bad_answer(response, f"{place}: {first['msg']}. It begins with {excerpt(response)!r}.") from error


def bad_answer(response: httpx.Response, message: str) -> ClassifyError:
    return ClassifyError(
        f"The answer cannot be used: {message}",
        code="bad_answer",
        status=response.status_code,
        subject=address(response),
        way_out=_ELSEWHERE,
    )


def refusal(response: httpx.Response, *, tried: str = "") -> ClassifyError:
    """The error that a response with another status than 200 means; `tried` says how often it was asked for."""
    status = response.status_code
    error = read_error(response)
    kind = Unavailable if status in _LATER else ClassifyError
    return kind(
        error.message,
        code=error.code,
        index=error.index,
        status=status,
        subject=f"{address(response)}{tried}",
        way_out=way_out(response, error.code),
    )


def may_pass(response: httpx.Response) -> bool:
    """Whether the same question may soon be answered. A bundle that failed does not become ready."""
    if response.status_code not in _AGAIN:
        return False
    return "Retry-After" in response.headers or read_error(response).code != "not_ready"


def way_out(response: httpx.Response, code: str) -> str:
    status = response.status_code
    if response.has_redirect_location:
        return f"It points to {shorten(response.headers['Location'])}. {_ELSEWHERE}"
    if code == "unknown_model":
        return "client.models() lists what can be asked for."
    if code == "not_ready" and not may_pass(response):
        return "client.models() says what failed."
    elsewhere = code in ("not_found", foreign_code(status))
    return _WAYS_OUT.get(status, _ELSEWHERE if elsewhere else "")


def is_too_large_together(response: httpx.Response) -> bool:
    """The request was too large, and no single image of it."""
    return response.status_code == 413 and read_error(response).index is None


def foreign_code(status: int) -> str:
    return f"http_{status}"


def read_error(response: httpx.Response) -> Error:
    try:
        return Refused.model_validate_json(response.content).error
    except ValidationError:  # of a proxy, or of another server
        said = f" {excerpt(response)!r}" if response.content else ""
        return Error(code=foreign_code(response.status_code), message=f"{response.reason_phrase}.{said}")


def excerpt(response: httpx.Response) -> str:
    return shorten(response.text)


def shorten(text: str) -> str:
    return text if len(text) <= _LONGEST_EXCERPT else f"{text[:_LONGEST_EXCERPT]}…"


def address(response: httpx.Response) -> str:
    return str(response.request.url.copy_with(query=None, userinfo=b""))


def unreachable(error: httpx.RequestError, *, tried: str = "") -> ClassifyError:
    """The error that the lack of a response means."""
    if isinstance(error, httpx.DecodingError):
        return ClassifyError(f"The answer cannot be decompressed: {error}.", code="bad_answer", way_out=_ELSEWHERE)
    is_slow = isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout)
    return Unavailable(
        f"No answer: {str(error) or type(error).__name__}.",
        code="timeout" if isinstance(error, httpx.TimeoutException) else "unreachable",
        subject=f"{error.request.url.copy_with(query=None, userinfo=b'')}{tried}",
        way_out=_SLOW if is_slow else f"Is the server running, and is this its address? {_LONGER}",
    )
