"""GET /docs.json as a judge of answers: is this status described, with this content type, headers and body?"""

from typing import Any

import httpx
from openapi_schema_validator import OAS31Validator

Description = dict[str, Any]


def resolve(part: Description, description: Description) -> Description:
    """What `part` refers to, or itself."""
    found: Any = description
    for name in part["$ref"].removeprefix("#/").split("/") if "$ref" in part else ():
        found = found[name]
    return found if "$ref" in part else part


def operation(description: Description, method: str, path: str) -> Description:
    found: Description = description["paths"][path][method]
    return found


def assert_described(response: httpx.Response, description: Description) -> None:
    """The answer is one of those that the document has for this path and method."""
    method, path = response.request.method.lower(), response.request.url.path
    known = operation(description, method, path)["responses"]
    assert str(response.status_code) in known, f"{method} {path}: {response.status_code} {response.text}"
    answer = resolve(known[str(response.status_code)], description)
    media_type = response.headers.get("content-type", "").partition(";")[0]
    assert media_type in answer.get("content", {"": None})
    for name, header in answer.get("headers", {}).items():
        assert name in response.headers or not resolve(header, description).get("required", False), name
    if media_type == "application/json":
        schema = {**answer["content"][media_type]["schema"], "components": description["components"]}
        errors = [error.message for error in OAS31Validator(schema).iter_errors(response.json())]
        assert errors == []
        if response.is_error:
            assert f"`{response.json()['error']['code']}`" in answer["description"]
