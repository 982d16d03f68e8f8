"""GET /docs: the document as one page, made here so that it needs no script, no build and no other host."""

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from serving.description.answers import REFUSED
from serving.description.document import describe
from serving.description.outline import field_list, prose, resolve
from serving.description.samples import ADDRESS
from serving.settings import Settings

_TEMPLATE = Path(__file__).parent.parent / "page" / "docs.html"


@cache
def render(settings: Settings) -> str:
    """The page as HTML."""
    document = describe(settings)
    operations = [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    parts = {
        "introduction": paragraphs(document["info"]["description"]),
        "contents": contents(operations),
        "operations": "".join(section(*each, document) for each in operations),
        "address": ADDRESS,
    }
    return re.sub(r"<!-- (\w+) -->", lambda found: parts[found[1]], _TEMPLATE.read_text())


def contents(operations: Iterable[tuple[str, str, Mapping[str, Any]]]) -> str:
    items = (
        f'<li><a href="#{operation["operationId"]}"><b>{method.upper()}</b> <code>{escape(path)}</code></a></li>'
        for path, method, operation in operations
    )
    return f"<ul>{''.join(items)}</ul>"


def section(path: str, method: str, operation: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    name = operation["operationId"]
    body = operation.get("requestBody")
    return (
        f'<section id="{name}" aria-labelledby="{name}-title">'
        f'<h2 id="{name}-title"><b>{method.upper()}</b> <code>{escape(path)}</code></h2>'
        f"<p>{prose(operation['summary'])}.</p>"
        + (paragraphs(operation["description"]) if "description" in operation else "")
        + "".join(sample(each, path) for each in operation["x-codeSamples"])
        + (parameters(operation["parameters"]) if "parameters" in operation else "")
        + (bodies(body, document) if body else "")
        + answers(operation["responses"], document)
        + "</section>"
    )


def sample(each: Mapping[str, str], path: str) -> str:
    label = escape(each["label"])
    return (
        f'<div class="sample"><p>{label}</p>'
        f'<button hidden aria-label="Copy the command for {escape(path)}, {label}">Copy</button>'
        f'<pre tabindex="0"><code>{escape(each["source"], quote=False)}</code></pre></div>'
    )


def parameters(found: Iterable[Mapping[str, Any]]) -> str:
    properties = {each["name"]: {**each["schema"], "description": each["description"]} for each in found}
    return f"<h3>In the query</h3>{field_list({'properties': properties}, {})}"


def bodies(body: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    """Content types that take the same stand together."""
    groups: dict[str, list[str]] = {}
    for media_type, content in body["content"].items():
        groups.setdefault(json.dumps(content["schema"]), []).append(media_type)
    items = "".join(
        f"<dt>{', '.join(f'<code>{escape(kind)}</code>' for kind in kinds)}</dt>"
        f"<dd>{described(json.loads(schema), document)}</dd>"
        for schema, kinds in groups.items()
    )
    return f"<h3>Body</h3>{paragraphs(body['description'])}<dl>{items}</dl>"


def answers(responses: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    items = "".join(f"<dt><b>{status}</b></dt><dd>{answer(each, document)}</dd>" for status, each in responses.items())
    return f"<h3>Answers</h3><dl>{items}</dl>"


def answer(response: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    found = resolve(response, document)
    content = found.get("content", {})
    names = ", ".join(f"<code>{escape(name)}</code>" for name in found.get("headers", {}))
    notes = [
        *(f"<code>{escape(media_type)}</code>" for media_type in content),
        *([f"headers {names}"] if names else []),
    ]
    note = f'{prose(found["description"])} <span class="type">{"; ".join(notes)}</span>'
    return note + "".join(body(each, document) for each in content.values())


def body(content: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    """The fields of an answer's body and an example, where the document has them; errors are in its introduction."""
    schema = content["schema"]
    details = described({**schema, "description": ""}, document) if "$ref" in schema and schema != REFUSED else ""
    example = json.dumps(content["example"], indent=1) if "example" in content else ""
    return (f"<details><summary>Its fields</summary>{details}</details>" if details else "") + (
        f'<pre tabindex="0"><code>{escape(example, quote=False)}</code></pre>' if example else ""
    )


def described(schema: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    return prose(schema.get("description", "")) + field_list(schema, document)


def paragraphs(text: str) -> str:
    return "".join(f"<p>{prose(paragraph)}</p>" for paragraph in text.split("\n\n"))
