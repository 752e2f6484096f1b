"""From documents to models, and from pydantic's errors to reasons with field paths."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from leat_engine.errors import Reason, Rejected
from leat_engine.spec.catalogue import expanded
from leat_engine.spec.path import Location, field_path
from leat_engine.spec.pool import RunnerPool
from leat_engine.spec.quota import RunQuota
from leat_engine.spec.run import WorkflowRun
from leat_engine.spec.signal import WorkflowSignal
from leat_engine.spec.workflow import Workflow, WorkflowSpec
from leat_engine.spelling import unknown

M = TypeVar("M", bound=BaseModel)
_SAYS_WHAT_IS_WRONG = frozenset({"missing", "extra_forbidden", "value_error"})

_PLAIN = {
    "model_type": "an object",
    "dict_type": "an object",
    "timezone_aware": "a time with its timezone, such as 2030-01-31T12:00:00Z",
}
_ADDED = frozenset({"bool", "str", "int", "float", "[key]"})
_PATTERN = re.compile("^String should match pattern ")
_PREAMBLE = re.compile(r"^(?:Input should be (?:a valid )?|(?:String|List|Dictionary|Value) should have )")


def parse_workflow(document: Mapping[str, Any]) -> Workflow:
    """Read a `Workflow` resource.

    Raises:
        Rejected: With every field that is wrong.
    """
    found: list[Reason] = []
    return _parse(Workflow, _with_steps(document, "spec", found), "", found)


def parse_run(document: Mapping[str, Any]) -> WorkflowRun:
    """Read a `WorkflowRun` resource.

    Raises:
        Rejected: With every field that is wrong.
    """
    found: list[Reason] = []
    return _parse(WorkflowRun, _with_steps(document, "spec.inline", found), "", found)


def parse_pool(document: Mapping[str, Any]) -> RunnerPool:
    """Read a `RunnerPool` resource.

    Raises:
        Rejected: With every field that is wrong.
    """
    return _parse(RunnerPool, document, "")


def parse_quota(document: Mapping[str, Any]) -> RunQuota:
    """Read a `RunQuota` resource.

    Raises:
        Rejected: With every field that is wrong.
    """
    return _parse(RunQuota, document, "")


def parse_signal(document: Mapping[str, Any]) -> WorkflowSignal:
    """Read a `WorkflowSignal` resource.

    Raises:
        Rejected: With every field that is wrong.
    """
    return _parse(WorkflowSignal, document, "")


def parse_spec(spec: Mapping[str, Any], path: str = "spec") -> WorkflowSpec:
    """Read the spec of a workflow, such as a revision's.

    Raises:
        Rejected: With every field that is wrong; the paths begin with ``path``.
    """
    found: list[Reason] = []
    return _parse(WorkflowSpec, expanded(spec, path, found), path, found)


def reasons(details: Iterable[ErrorDetails], model: type[BaseModel], base: str) -> Iterator[Reason]:
    """Pydantic's errors about ``model``, found at ``base``, as reasons; one if a field may be of several types.

    ``details`` may be without inputs, for values that nobody may see.
    """
    expected: dict[str, tuple[str, list[str]]] = {}
    for detail in details:
        path = field_path(base, _written(detail["loc"]))
        if detail["type"] in _SAYS_WHAT_IS_WRONG:
            yield Reason(path, _message(detail, model))
        else:
            expected.setdefault(path, (_found(detail), []))[1].append(_expected(detail))
    for path, (found, kinds) in expected.items():
        yield Reason(path, f"{found}expected {' or '.join(dict.fromkeys(kinds))}")


def _with_steps(document: Mapping[str, Any], place: str, found: list[Reason]) -> Mapping[str, Any]:
    """A resource with the steps that templates make, in the spec at ``place``: ``spec`` or ``spec.inline``."""
    spec = document.get("spec")
    if not isinstance(spec, Mapping):
        return document
    if place == "spec":
        return {**document, "spec": expanded(spec, place, found)}
    return (
        {**document, "spec": {**spec, "inline": expanded(spec["inline"], place, found)}}
        if "inline" in spec
        else document
    )


def _parse(model: type[M], document: Mapping[str, Any], path: str, found: Sequence[Reason] = ()) -> M:
    try:
        parsed = model.model_validate(document, by_alias=True, by_name=False)
    except ValidationError as error:
        raise Rejected([*found, *reasons(error.errors(include_url=False), model, path)]) from error
    if found:
        raise Rejected(found)
    return parsed


def _written(location: Location) -> list[str | int]:
    """A location without what pydantic adds for unions and validators: names of types, such as ``bool``."""
    return [part for part in location if isinstance(part, int) or part not in _ADDED]


def _message(detail: ErrorDetails, model: type[BaseModel]) -> str:
    location = detail["loc"]
    match detail["type"]:
        case "missing":
            return "is required and missing"
        case "extra_forbidden":
            return unknown("field", str(location[-1]), _fields(_model_at(model, location[:-1]) or model))
        case _:
            return str(detail["ctx"]["error"])


def _found(detail: ErrorDetails) -> str:
    """What was found, if it may be told: details of values that were computed come without them."""
    if "input" not in detail:
        return ""
    match detail["type"], detail["input"]:
        case ("string_too_long", str(text)):
            found = f"{len(text)} characters"
        case ("too_long", list() | Mapping() as many):
            found = f"{len(many)} of them"
        case ("too_short", []):
            found = "an empty list"
        case (_, value):
            found = shown(value)
    return f"found {found}, "


def _expected(detail: ErrorDetails) -> str:
    """What pydantic expected, in the words of YAML."""
    context = detail.get("ctx", {})
    match detail["type"]:
        case "model_type" | "dict_type" | "timezone_aware" as kind:
            return _PLAIN[kind]
        case "string_type" if isinstance(detail.get("input"), bool) and detail["loc"][-1:] != ("str",):
            return "string; on, off, yes, no, y and n are true and false in YAML unless they stand in quotes"
        case "literal_error":
            return str(context["expected"]).replace("True", "true").replace("False", "false")
        case "too_short":
            return f"at least {context['min_length']} item{'s' if context['min_length'] > 1 else ''}"
        case "too_long" | "string_too_long":
            return f"at most {context['max_length']}"
        case "string_too_short":
            return (
                "a text that is not empty"
                if context["min_length"] == 1
                else f"at least {context['min_length']} characters"
            )
        case "greater_than_equal":
            return f"at least {context['ge']}"
        case "less_than_equal":
            return f"at most {context['le']}"
        case _:
            return _PREAMBLE.sub("", _PATTERN.sub("a text of the pattern ", detail["msg"])).removesuffix(
                " after validation"
            )


def shown(value: Any) -> str:
    """A value in a message: short, and objects by their type only."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str() | int() | float():
            text = repr(value)
            return text if len(text) <= 60 else text[:57] + "..."
        case Mapping():
            return "an object"
        case list():
            return "a list"
        case _:
            return type(value).__name__


def _fields(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_at(model: type[BaseModel], location: Location) -> type[BaseModel] | None:
    """The model of the object at ``location`` below an object of ``model``."""
    current: Any = model
    for part in location:
        if isinstance(current, type) and issubclass(current, BaseModel):
            by_alias = {field.alias or name: field.annotation for name, field in current.model_fields.items()}
            current = _bare(by_alias.get(str(part)))
        elif get_origin(current) in (list, dict):
            current = _bare(get_args(current)[-1])
    return current if isinstance(current, type) and issubclass(current, BaseModel) else None


def _bare(annotation: Any) -> Any:
    """An annotation without ``Annotated`` and ``| None``."""
    if hasattr(annotation, "__metadata__"):
        return _bare(annotation.__origin__)
    if get_origin(annotation) in (Union, UnionType):
        return _bare(next((a for a in get_args(annotation) if a is not type(None)), None))
    return annotation
