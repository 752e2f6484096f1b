"""JSON schemas of what an API server takes, as kubeconform reads them: made of its own OpenAPI, not downloaded."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

Schema = dict[str, Any]
PLACE = "{{ .ResourceKind }}-{{ .Group }}-{{ .ResourceAPIVersion }}.json"
"""The names of the files, for `-schema-location`."""

REF = "#/definitions/"
OTHERWISE: Mapping[str, Schema] = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": ["string", "integer"]},
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": ["string", "number"]},
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON": {},
}
"""Types that OpenAPI 2 cannot tell."""


def written(openapi: Schema, crds: Path, folder: Path) -> int:
    """Write a file of each kind: those of the server, and those of these definitions; the number of the server's."""
    definitions = openapi["definitions"]
    count = 0
    for name, schema in definitions.items():
        for kind in schema.get("x-kubernetes-group-version-kind", ()):
            reached = {one: _strict(OTHERWISE.get(one, definitions[one])) for one in _reached(definitions, name)}
            _write(folder, kind, {"$ref": REF + name, "definitions": reached})
            count += 1
    for path in crds.glob("*.yaml"):
        spec = yaml.safe_load(path.read_text())["spec"]
        for version in spec["versions"]:
            kind = {"kind": spec["names"]["kind"], "group": spec["group"], "version": version["name"]}
            _write(folder, kind, _strict(_rooted(version["schema"]["openAPIV3Schema"])))
    return count


def _write(folder: Path, kind: Schema, schema: Schema) -> None:
    # kubeconform takes the version for the group of what has none.
    name = f"{kind['kind'].lower()}-{kind['group'] or kind['version']}-{kind['version']}.json"
    (folder / name).write_text(json.dumps(schema))


def _rooted(schema: Schema) -> Schema:
    """With what every object has, and a definition of a custom resource need not name."""
    every = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}
    return schema | {"properties": schema["properties"] | every}


def _reached(definitions: Schema, name: str) -> set[str]:
    found: set[str] = set()
    open_ = [name]
    while open_:
        one = open_.pop()
        if one not in found:
            found.add(one)
            open_ += _refs(OTHERWISE.get(one, definitions[one]))
    return found


def _refs(part: Any) -> Iterator[str]:
    if isinstance(part, list):
        for one in part:
            yield from _refs(one)
    elif isinstance(part, dict):
        for key, one in part.items():
            if key == "$ref" and isinstance(one, str):
                yield one.removeprefix(REF)
            else:
                yield from _refs(one)


def _strict(part: Any) -> Any:
    """An object that names its fields has no other ones, unless it says so."""
    if isinstance(part, list):
        return [_strict(one) for one in part]
    if not isinstance(part, dict):
        return part
    strict = {key: _strict(one) for key, one in part.items()}
    if strict.pop("x-kubernetes-int-or-string", False):
        return {"type": ["string", "integer"]}
    loose = part.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in part
    return strict if loose or not isinstance(part.get("properties"), dict) else strict | {"additionalProperties": False}
