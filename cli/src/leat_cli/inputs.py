"""Inputs as they are written on the command line and in files, to the values that a workflow's inputs take."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from leat_cli.problems import Invalid, Problem
from leat_engine.redaction import REDACTED

InputSchemas = Mapping[str, Mapping[str, Any]]
"""JSON Schema by input name: `spec.inputs` of a workflow."""


def parse_pairs(pairs: Iterable[str], schemas: InputSchemas, option: str = "-i") -> dict[str, Any]:
    """Read ``name=value`` pairs. A value is JSON where its schema wants anything but a string, else it is text.

    Whether a name exists and a value satisfies its schema is for the plan to say.

    Raises:
        Invalid: A pair without ``=``, an input given twice, or a value that is not JSON where it must be.
    """
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            problems.append(_problem(option, "", f"found {pair!r}, expected NAME=VALUE, such as {option} orderId=A-17"))
        elif name in values:
            problems.append(_problem(option, name, "given twice: keep one of them"))
        else:
            try:
                values[name] = parse_value(text, schemas.get(name, {}))
            except ValueError as error:
                problems.append(_problem(option, name, str(error)))
    if problems:
        raise Invalid(problems)
    return values


def parse_value(text: str, schema: Mapping[str, Any]) -> Any:
    """Read one value for an input of this schema.

    Raises:
        ValueError: The text is not JSON, and the schema takes no string.
    """
    types = _types(schema)
    if types == {"string"}:
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        if not types or "string" in types:
            return text
        wanted = " or ".join(sorted(types))
        hint = _EXAMPLES.get(next(iter(types)), "") if len(types) == 1 else ""
        found = REDACTED if schema.get("sensitive") else repr(text)
        raise ValueError(f"found {found}, expected JSON of type {wanted}{hint}") from error


def read_file(path: str) -> dict[str, Any]:
    """Read a file of inputs: one YAML or JSON object of values by input name.

    Raises:
        Invalid: The file cannot be read or is not such an object.
    """
    try:
        found = yaml.safe_load(Path(path).read_text())
    except OSError as error:
        raise Invalid.because(f"cannot be read: {error.strerror}", file=path) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        why = getattr(error, "problem", None) or str(error)
        raise Invalid.because(f"not YAML or JSON: {why}", file=path, line=mark.line + 1 if mark else 0) from error
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        message = f"found {_kind_of(found)}, expected an object of values by input name, such as `orderId: A-17`"
        raise Invalid.because(message, file=path)
    return found


_EXAMPLES = {
    "array": """, such as '["a", "b"]'""",
    "object": """, such as '{"key": "value"}'""",
    "boolean": ": true or false",
    "integer": ", such as 17",
    "number": ", such as 0.5",
}


def _types(schema: Mapping[str, Any]) -> set[str]:
    """Return the JSON types that a schema names; none where any type will do."""
    named = schema.get("type", [])
    return {named} if isinstance(named, str) else {str(name) for name in named}


def _kind_of(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case list():
            return "a list"
        case dict():
            return "an object whose names are not all text"
        case _:
            return f"{value!r}"


def _problem(option: str, name: str, message: str) -> Problem:
    return Problem("", 0, f"{option} {name}".rstrip(), message)
