"""JSON Schemas for editors: completion, descriptions and red lines while a file is written."""

import json
from typing import Any

from pydantic import BaseModel

from generating.crds import RESOURCES, Schema
from leat_cli.testing.files import TestFile
from leat_engine.spec.kinds import load_models, verbatim_fields

DIALECT = "https://json-schema.org/draft/2020-12/schema"
EXPRESSION: Schema = {"type": "string", "pattern": r"\$\{"}


def schema_files() -> dict[str, str]:
    """The schemas by path."""
    schemas = {resource.kind.lower(): document(resource.model) for resource in RESOURCES}
    schemas["testfile"] = {"$schema": DIALECT, **TestFile.model_json_schema(by_alias=True)}
    return {f"crds/schemas/{name}.json": json.dumps(schema, indent=2) + "\n" for name, schema in schemas.items()}


def document(model: type[BaseModel]) -> Schema:
    """The schema of a resource's file: what is written, without ``status``."""
    schema = model.model_json_schema(by_alias=True)
    definitions: Schema = schema["$defs"]
    definitions["Metadata"] = {"type": "object", "description": "Kubernetes object metadata."}
    if "Step" in definitions:
        _accept_names(definitions)
        _add_kinds(definitions)
    schema["properties"].pop("status")
    return {"$schema": DIALECT, **_used(schema)}


def _accept_names(definitions: Schema) -> None:
    """A need may be written as the step's name alone."""
    items = definitions["Step"]["properties"]["needs"]["items"]
    definitions["Step"]["properties"]["needs"]["items"] = {"anyOf": [{"type": "string"}, items]}


def _add_kinds(definitions: Schema) -> None:
    """The fields of the kinds of steps and compensations, each of which may be an expression instead."""
    for name, kind in sorted(load_models().items()):
        fields = kind.model_json_schema(by_alias=True, ref_template=f"#/$defs/{name}.{{model}}")
        definitions |= {f"{name}.{key}": value for key, value in fields.pop("$defs", {}).items()}
        literal = verbatim_fields(kind)
        for key, field in fields.get("properties", {}).items():
            if key not in literal:
                fields["properties"][key] = _or_expression(field)
        for owner in ("Step", "Compensation"):
            definitions[owner]["properties"][name] = fields


def _or_expression(field: Schema) -> Schema:
    """A field that may hold an expression instead of its value; an empty schema takes it already."""
    about: Schema = {key: field[key] for key in ("description", "default", "title") if key in field}
    value = {key: item for key, item in field.items() if key not in about}
    return {**about, "anyOf": [value, EXPRESSION]} if value else field


def _used(schema: Schema) -> Schema:
    """The schema without definitions that nothing refers to."""
    used: set[str] = set()
    found = _references({key: value for key, value in schema.items() if key != "$defs"})
    while found:
        used |= found
        found = set().union(*(_references(schema["$defs"][name]) for name in found)) - used
    return schema | {"$defs": {name: schema["$defs"][name] for name in sorted(used)}}


def _references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"].rpartition("/")[2]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*map(_references, value.values()))
    return set().union(*map(_references, value)) if isinstance(value, list) else set()
