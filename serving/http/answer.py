"""What goes back: predictions that are written already, errors and descriptions, all JSON."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import Response

from serving.errors import Refusal

_LONGEST_MESSAGE = 500  # characters; it repeats what was sent
_JSON = (b"content-type", b"application/json")


def json_response(content: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    body = json.dumps(content, separators=(",", ":")).encode()
    return Response(body, status, headers, media_type="application/json")


class Prediction(Response):
    """An answer that is JSON already, with its Server-Timing: Starlette would look at each header again, as text."""

    def __init__(self, body: bytes, timing: bytes) -> None:
        self.status_code, self.background, self.body = 200, None, body
        self.raw_headers = [(b"content-length", b"%d" % len(body)), _JSON, (b"server-timing", timing)]


def refusal_response(refusal: Refusal) -> Response:
    message = str(refusal)
    if len(message) > _LONGEST_MESSAGE:
        message = f"{message[:_LONGEST_MESSAGE]}…"
    error: dict[str, Any] = {"code": refusal.code, "message": message}
    if refusal.index is not None:
        error["index"] = refusal.index
    return json_response({"error": error}, status=refusal.status, headers=refusal.headers)


def bad_request(refusal: Refusal, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """All of the answer to what is no HTTP, and so never became a request; the connection ends with it."""
    response = refusal_response(refusal)
    lines = [*headers, *response.raw_headers, (b"connection", b"close")]
    head = b"".join(b"%b: %b\r\n" % line for line in lines)
    return b"HTTP/1.1 400 Bad Request\r\n" + head + b"\r\n" + response.body
