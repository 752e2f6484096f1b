"""A workflow's inputs: each a JSON Schema, checked when the workflow is planned, applied when a run is accepted."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jsonschema_rs
import orjson

from leat_engine import limits
from leat_engine.errors import Reason, Rejected
from leat_engine.spec.path import field_path
from leat_engine.spelling import unknown

_MASK = "the value"
_ABSENT: Any = object()
_BOUNDS = frozenset({"maxItems", "maxProperties", "enum", "const"})
_SECRET = re.compile(rb"\$\{[^}]*\bsecret\s*\(")


@dataclass(frozen=True, slots=True)
class _Input:
    validator: jsonschema_rs.Draft202012Validator
    default: Any
    sensitive: bool
    bounded: bool

    def problems(self, value: Any, path: str) -> Iterator[Reason]:
        for error in self.validator.iter_errors(value):
            yield Reason(field_path(path, error.instance_path), error.message)


class InputsSchema:
    """The inputs that a workflow takes.

    ``sensitive`` are the names of those whose values nobody may see, ``required`` of those without a default,
    ``bounded`` of those whose schema says how many items they may have.
    """

    def __init__(self, inputs: Mapping[str, _Input]) -> None:
        self._inputs = inputs
        self.names = frozenset(inputs)
        self.sensitive = frozenset(name for name, one in inputs.items() if one.sensitive)
        self.bounded = frozenset(name for name, one in inputs.items() if one.bounded)
        self.required = frozenset(name for name, one in inputs.items() if one.default is _ABSENT)

    def judge(self, given: Mapping[str, tuple[Any, ...] | None], path: str) -> Iterator[Reason]:
        """What is wrong with inputs of which each is known, as the one value of a tuple, or not yet, as None."""
        for name in given:
            if name not in self.names:
                yield Reason(f"{path}.{name}", unknown("input", name, self.names))
        for name in sorted(self.required - given.keys()):
            yield Reason(f"{path}.{name}", "is required and missing")
        for name, one in self._inputs.items():
            for value in given.get(name) or ():
                yield from one.problems(value, f"{path}.{name}")

    def is_default(self, name: str, value: Any) -> bool:
        """Whether a value is what an input has when nobody gives it."""
        one = self._inputs.get(name)
        return one is not None and one.default is not _ABSENT and bool(one.default == value)

    def apply(self, values: Mapping[str, Any], path: str = "spec.inputs") -> dict[str, Any]:
        """The run's inputs: ``values`` with the defaults of those that are absent.

        Raises:
            Rejected: Inputs are missing, unknown, too large or not what their schemas say.
        """
        reasons = [
            Reason(f"{path}.{name}", unknown("input", name, self.names)) for name in values if name not in self.names
        ]
        inputs: dict[str, Any] = {}
        for name, one in self._inputs.items():
            value = values.get(name, one.default)
            if value is _ABSENT:
                reasons.append(Reason(f"{path}.{name}", "is required and missing"))
                continue
            inputs[name] = value
            reasons.extend(one.problems(value, f"{path}.{name}"))
        if not reasons and (size := len(orjson.dumps(inputs))) > limits.INPUTS_BYTES:
            reasons.append(Reason(path, f"are {size} bytes of JSON; a run takes {limits.INPUTS_BYTES}"))
        if reasons:
            raise Rejected(reasons)
        return inputs


def compile_inputs(schemas: Mapping[str, Mapping[str, Any]], path: str) -> InputsSchema:
    """Compile the ``inputs`` of a workflow, found at ``path``.

    Raises:
        Rejected: A schema is not valid, or a default is not what its schema says.
    """
    reasons: list[Reason] = []
    inputs: dict[str, _Input] = {}
    for name, schema in schemas.items():
        here = f"{path}.{name}"
        sensitive = schema.get("sensitive", False)
        if not isinstance(sensitive, bool):
            reasons.append(Reason(f"{here}.sensitive", "expected true or false"))
            continue
        try:
            inputs[name] = one = _Input(
                validator_of(schema, masked=sensitive),
                schema.get("default", _ABSENT),
                sensitive,
                bounded=not _BOUNDS.isdisjoint(schema),
            )
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
            message = error.message if isinstance(error, jsonschema_rs.ValidationError) else str(error)
            where = error.instance_path if isinstance(error, jsonschema_rs.ValidationError) else []
            reasons.append(Reason(field_path(here, where), f"is no valid JSON Schema: {message}"))
            continue
        if one.default is not _ABSENT:
            reasons.extend(one.problems(one.default, f"{here}.default"))
            if _SECRET.search(orjson.dumps(one.default)):
                message = "holds secret(), but a default is stored and shown, and never evaluated; write secret()"
                reasons.append(Reason(f"{here}.default", f"{message} in the field of the step that needs it"))
    if reasons:
        raise Rejected(reasons)
    return InputsSchema(inputs)


def validator_of(schema: Mapping[str, Any], *, masked: bool) -> jsonschema_rs.Draft202012Validator:
    """Offline, so that a ``$ref`` cannot make the engine read files or addresses; linear-time patterns only."""
    own = {key: value for key, value in schema.items() if key not in {"sensitive", "default"}}
    return jsonschema_rs.Draft202012Validator(
        own,
        offline=True,
        validate_formats=True,
        mask=_MASK if masked else None,
        pattern_options=jsonschema_rs.RegexOptions(),
    )
