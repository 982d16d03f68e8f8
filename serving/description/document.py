"""GET /docs.json: the OpenAPI 3.1 document of the running server.

BentoML's own describes the one kind of body that its client sends, and errors that are BentoML's.
"""

from functools import cache
from typing import Any

from serving import __version__
from serving.decoding.media_types import JSON
from serving.description.answers import (
    HEADERS,
    answer,
    errors,
    refusals_with_body,
    refusals_without_body,
    shared_errors,
    unchanged,
)
from serving.description.bodies import request_body
from serving.description.samples import classify_samples, get_samples, with_key
from serving.description.schemas import option_schemas, refer_to, shared_schemas
from serving.settings import Settings

HTML = "text/html"
TEXT = "text/plain"

_INTRODUCTION = """\
Classifies 32x32 images into labels: those of CIFAR-10, or those of the bundle that is asked.

A request is answered whole or refused whole, and touches no other. What is refused gets
`{"error": {"code": "…", "message": "…", "index": 0}}`, with the `index` of the image at fault where one is. A path that
this document does not have gets 404 `not_found`, unless it is of the page's own files; a method that a path does not
have gets 405; a preflight is answered where pages of other hosts may ask. Every `GET` may be a `HEAD`. Newer servers
may add fields; ignore those that you do not know."""

_KEY = "This server wants its key: `Authorization: Bearer …`. The commands take it from the variable `API_KEY`."

_EXAMPLE = {
    "model": {"name": "cifarnet", "version": "6fea8981ed4d", "engine": "onnxruntime-cpu-int8"},
    "predictions": [
        {
            "label": "ship",
            "index": 8,
            "probability": 0.886720,
            "confident": False,
            "probabilities": {"ship": 0.886720, "airplane": 0.040017, "bird": 0.020844},
        }
    ],
}


@cache
def describe(settings: Settings) -> dict[str, Any]:
    """The document; nobody may change it."""
    paths = {"/classify": {"post": classify(settings)}}
    for path, found in (pages() | health()).items():
        paths[path] = {"get": found | {"x-codeSamples": get_samples(path)}}
    if settings.wants_key:
        paths = {path: {method: guarded(found) for method, found in each.items()} for path, each in paths.items()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Image classifier",
            "version": "1",  # of the API: it stays while requests and answers mean what they did
            "x-release": __version__,
            "summary": "Pictures to labels and their probabilities.",
            "description": f"{_INTRODUCTION}\n\n{_KEY}" if settings.wants_key else _INTRODUCTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"bearer": []}] if settings.wants_key else [{}, {"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": shared_schemas(),
            "responses": shared_errors(),
            "headers": HEADERS,
            "securitySchemes": {"bearer": bearer()},
        },
    }


def guarded(operation: dict[str, Any]) -> dict[str, Any]:
    """An operation of a server that wants a key, with commands that send it where it is wanted."""
    if operation.get("security") == []:
        return operation
    return {**operation, "x-codeSamples": [with_key(each) for each in operation["x-codeSamples"]]}


def classify(settings: Settings) -> dict[str, Any]:
    return {
        "operationId": "classify",
        "summary": "Classify one or more pictures",
        "description": (
            f"Answers within {settings.timeout:g} seconds of the end of the request's header, or not at all (504). "
            f"{settings.max_queue:,} images may wait; what comes then is refused at once (429)."
        ),
        "parameters": [
            {"name": name, "in": "query", "description": schema["description"], "schema": bare(schema)}
            for name, schema in option_schemas().items()
        ],
        "requestBody": request_body(settings),
        "responses": {
            "200": answer(
                "Predictions in the order of the images.",
                JSON,
                refer_to("Answer"),
                names=["Server-Timing"],
                example=_EXAMPLE,
            ),
            **errors(refusals_with_body()),
        },
        "x-codeSamples": classify_samples(),
    }


def bare(schema: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name != "description"}


def pages() -> dict[str, Any]:
    """The paths of ours without a body."""
    any_object = {"type": "object"}
    bundles = answer("The bundles, and those that failed with the reason.", JSON, refer_to("Models"))
    html = answer("The page.", HTML, names=["ETag"])
    others = {"304": unchanged(), **errors(refusals_without_body())}
    del others["401"]  # it needs no key: it asks its user for one
    return {
        "/models": get("models", "List the bundles with their manifests", bundles),
        "/": get("page", "The page that classifies pictures in a browser", html, others, security=[]),
        "/docs": get("reference", "This description, for people", answer("The page.", HTML)),
        "/docs.json": get("description", "This description, for programs", answer("OpenAPI 3.1.", JSON, any_object)),
        "/metrics": get("metrics", "Figures for Prometheus", answer("Its text format.", TEXT)),
        "/schema.json": get("schema", "What BentoML's own client reads", answer("The schema.", JSON, any_object)),
    }


def health() -> dict[str, Any]:
    """The paths that BentoML answers, with no key and no error object."""
    lives, ready = answer("It does.", TEXT), answer("It may.", TEXT)
    others = {"503": answer("It may not: it is starting, stopping, or its bundle failed.", TEXT)}
    return {
        "/livez": get("livez", "Whether the process lives", lives, {}, security=[]),
        "/readyz": get("readyz", "Whether the server may be asked", ready, others, security=[]),
        "/healthz": get("healthz", "The same as /livez", lives, {}, security=[]),
    }


def get(
    name: str, summary: str, found: dict[str, Any], others: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """An operation without a body, answered by what is `found` or, by their status, others: our errors if not given."""
    others = errors(refusals_without_body()) if others is None else others
    return {
        "operationId": name,
        "summary": summary,
        "responses": dict(sorted({"200": found, **others}.items())),
        **more,
    }


def bearer() -> dict[str, Any]:
    return {
        "type": "http",
        "scheme": "bearer",
        "description": "`Authorization: Bearer …`, where the operator, or a proxy, wants a key.",
    }
