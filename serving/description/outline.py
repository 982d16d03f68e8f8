"""JSON Schema as a list of fields that people can read."""

import re
from collections.abc import Mapping
from html import escape
from typing import Any

Schema = Mapping[str, Any]


def resolve(part: Schema, document: Schema) -> Schema:
    """What `part` refers to within the document; itself if it does not."""
    if "$ref" not in part:
        return part
    found: Any = document
    for name in part["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    return resolve(found, document)


def field_list(schema: Schema, document: Schema) -> str:
    """The properties of an object, or of those in a list, as a <dl>; nothing for what has none."""
    found = resolve(schema, document)
    while found.get("type") == "array" and "items" in found:
        found = resolve(found["items"], document)
    required = found.get("required", ())
    items = "".join(
        field(name, value, name in required, document) for name, value in found.get("properties", {}).items()
    )
    return f"<dl>{items}</dl>" if items else ""


def field(name: str, schema: Schema, required: bool, document: Schema) -> str:
    inner = field_list(schema, document)
    text = schema.get("description") or resolve(schema, document).get("description", "")
    note = f"{'required, ' if required else ''}{type_name(schema, document)}"
    return f'<dt><code>{escape(name)}</code> <span class="type">{escape(note)}</span></dt><dd>{prose(text)}{inner}</dd>'


def prose(text: str) -> str:
    """The document's texts know one mark of Markdown: code between backticks."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(" ".join(text.split()), quote=False))


def type_name(schema: Schema, document: Schema) -> str:
    """Such as "array of 1 to 1,024 items: string or array"."""
    found = resolve(schema, document)
    if "anyOf" in found and "type" not in found:
        return " or ".join(dict.fromkeys(type_name(each, document) for each in found["anyOf"]))
    if "const" in found:
        return f"always {found['const']}"
    if "enum" in found:
        return "one of " + ", ".join(map(str, found["enum"]))
    kind = "file" if found.get("format") == "binary" else str(found.get("type", "anything"))
    items = f": {type_name(found['items'], document)}" if "items" in found else ""
    return f"{kind}{limits(found)}{items}"


def limits(schema: Schema) -> str:
    """The bounds of a number, or of how many items a list may have; those of bytes stand in the texts."""
    if "minItems" in schema or "maxItems" in schema:
        return f" of {span(schema.get('minItems'), schema.get('maxItems'))}"
    found = span(schema.get("minimum"), schema.get("maximum"))
    return f" {found}" if found else ""


def span(least: float | None, most: float | None) -> str:
    if least == most:
        return "" if least is None else f"{least:,}"
    if most is None:
        return f"{least:,} or more"
    return f"at most {most:,}" if least is None else f"{least:,} to {most:,}"
