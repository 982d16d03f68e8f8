"""What comes back: answers, and the errors, which are the classes of `serving.errors` and nothing else."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from serving.decoding.media_types import JSON
from serving.description.schemas import refer_to
from serving.errors import MethodNotAllowed, NotFound, Refusal

# Of a path or a method that the document does not have, so no operation of it can answer these.
_OUTSIDE = (NotFound, MethodNotAllowed)
# Of who asks, and in what, or of us. The others are of what a body holds, and only POST /classify reads one.
_OF_ANY_REQUEST = {400, 401, 500}

HEADERS = {
    "Retry-After": {
        "description": "Seconds to wait before asking again, where that may help.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "Allow": {
        "description": "The methods that the path answers.",
        "required": True,
        "schema": {"type": "string"},
    },
    "WWW-Authenticate": {
        "description": "The scheme in which the key must be sent.",
        "required": True,
        "schema": {"type": "string"},
    },
    "Server-Timing": {
        "description": (
            "What the time went to, in milliseconds: `receive`, `decode`, `queue`, `inference`, `total`. `batch` is "
            "how many images, others' included, were in the largest batch that held some of the request's."
        ),
        "schema": {"type": "string"},
    },
    "ETag": {
        "description": "What `If-None-Match` may name when it is asked for again.",
        "required": True,
        "schema": {"type": "string"},
    },
    "X-Request-ID": {
        "description": "The request's name in the server's log: as it was sent in this header, or else made here.",
        "required": True,
        "schema": {"type": "string"},
    },
}
_OF_ALL = ("X-Request-ID",)
# The codes stand in the descriptions: an enumeration would make a type of each status, which reads no newer code.
REFUSED = refer_to("Refused")


def all_refusals() -> list[type[Refusal]]:
    return sorted(Refusal.__subclasses__(), key=lambda kind: kind.status)


def refusals_with_body() -> list[type[Refusal]]:
    return [kind for kind in all_refusals() if kind not in _OUTSIDE]


def refusals_without_body() -> list[type[Refusal]]:
    return [kind for kind in refusals_with_body() if kind.status in _OF_ANY_REQUEST]


def shared_errors() -> dict[str, Any]:
    """One for each refusal, by its class's name."""
    return {kind.__name__: error([kind]) for kind in all_refusals()}


def answer(
    description: str,
    media_type: str,
    schema: dict[str, Any] | None = None,
    *,
    names: Sequence[str] = (),
    **more: Any,
) -> dict[str, Any]:
    """An answer that is no error; a text if no schema is given. `names` are its own headers."""
    content = {"schema": schema or {"type": "string"}, **more}
    return {"description": description, "headers": headers([*_OF_ALL, *names]), "content": {media_type: content}}


def unchanged() -> dict[str, Any]:
    """304, which has no content."""
    return {"description": "It is what `If-None-Match` names.", "headers": headers([*_OF_ALL, "ETag"])}


def errors(kinds: Iterable[type[Refusal]]) -> dict[str, Any]:
    """The answers by their status."""
    by_status = groupby(sorted(kinds, key=lambda kind: kind.status), key=lambda kind: kind.status)
    return {str(status): one_or_merged(list(group)) for status, group in by_status}


def one_or_merged(kinds: Sequence[type[Refusal]]) -> dict[str, Any]:
    return {"$ref": f"#/components/responses/{kinds[0].__name__}"} if len(kinds) == 1 else error(kinds)


def error(kinds: Sequence[type[Refusal]]) -> dict[str, Any]:
    names = [name for kind in kinds for name in headers_of(kind)]
    return {
        "description": " ".join(f"`{kind.code}`: {meaning(kind)}" for kind in kinds),
        "headers": headers([*_OF_ALL, *names]),
        "content": {JSON: {"schema": REFUSED}},
    }


def meaning(kind: type[Refusal]) -> str:
    return " ".join((kind.__doc__ or "").split())


def headers_of(kind: type[Refusal]) -> list[str]:
    example = kind("", allow="") if issubclass(kind, MethodNotAllowed) else kind("")
    return list(example.headers)


def headers(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
