"""The schemas that the document's parts refer to: JSON Schema 2020-12, made by pydantic from the code's own models."""

from typing import Any

from pydantic.json_schema import models_json_schema

from cifar_models.manifest import Manifest
from serving.answers import Answer, Models, Refused
from serving.decoding.options import Options

_PLACE = "#/components/schemas/"


def shared_schemas() -> dict[str, Any]:
    """Every answer's schema by its name, with those that it refers to."""
    _, made = models_json_schema(
        [(model, "serialization") for model in (Answer, Models, Refused, Manifest)], ref_template=_PLACE + "{model}"
    )
    schemas: dict[str, Any] = without_titles(made["$defs"])
    for model, absent in (("Error", "index"), ("Prediction", "confident"), ("Prediction", "pixels")):
        properties = schemas[model]["properties"]
        properties[absent] = without_null(properties[absent])
    manifest = schemas["ServedModel"]["properties"]["manifest"]  # any object, for clients older than the server
    schemas["ServedModel"]["properties"]["manifest"] = refer_to("Manifest") | {"description": manifest["description"]}
    # Generated clients try an item with every place's type, of which a constant fits one alone.
    shape = schemas["Input"]["properties"]["shape"]
    shape["prefixItems"] = [{"type": place["type"]} for place in shape["prefixItems"]]
    return schemas


def refer_to(name: str) -> dict[str, Any]:
    return {"$ref": _PLACE + name}


def option_schemas() -> dict[str, dict[str, Any]]:
    """The schema of each of a request's options, by name."""
    properties: dict[str, dict[str, Any]] = without_titles(Options.model_json_schema()["properties"])
    return {name: without_null(schema) for name, schema in properties.items()}


def without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Of what may be absent, which is how a query, a form and our answers say null; pydantic has it as the default."""
    if "anyOf" not in schema:
        return schema
    (kind,) = (kind for kind in schema["anyOf"] if kind != {"type": "null"})
    return {**kind, "description": schema["description"]}


def without_titles(schema: Any) -> Any:
    """pydantic's titles repeat the names; a property called title is none of them, as its value is a schema."""
    if isinstance(schema, dict):
        kept = {name: value for name, value in schema.items() if name != "title" or not isinstance(value, str)}
        return {name: without_titles(value) for name, value in kept.items()}
    return [without_titles(each) for each in schema] if isinstance(schema, list) else schema
