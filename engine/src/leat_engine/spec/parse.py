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
    """Pydantic's errors about ``model``, found at ``base``, as reasons."""
    for detail in details:
        yield Reason(field_path(base, _written(detail["loc"])), _message(detail, model))


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
        parsed = model.model_validate(document)
    except ValidationError as error:
        raise Rejected([*found, *reasons(error.errors(include_url=False), model, path)]) from error
    if found:
        raise Rejected(found)
    return parsed


def _written(location: Location) -> list[str | int]:
    """A location without what pydantic adds for unions and validators: names of types, such as ``bool``."""
    return [part for part in location if isinstance(part, int) or part not in {"bool", "str", "int", "float"}]


def _message(detail: ErrorDetails, model: type[BaseModel]) -> str:
    location, found = detail["loc"], detail["input"]
    match detail["type"]:
        case "missing":
            return "is required and missing"
        case "extra_forbidden":
            return unknown("field", str(location[-1]), _fields(_model_at(model, location[:-1]) or model))
        case "value_error":
            return str(detail["ctx"]["error"])
        case _:
            return f"found {shown(found)}, expected {_expected(detail['msg'])}"


def _expected(message: str) -> str:
    """Pydantic's message without its own words: of Python, and of what it did before."""
    said = _PREAMBLE.sub("", message).removesuffix(" after validation")
    return "an object" if said.startswith("dictionary") else said


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
