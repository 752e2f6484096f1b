"""The user's functions: where they are found, and how values of ``with`` become their arguments.

Everything that can be known once (signature, annotations, what gets the context) is worked out when the runner starts,
so that a call costs a dictionary and, where there are annotations, one validation in Rust.
"""

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, NotRequired, cast, get_args, get_type_hints

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from leat_engine.errors import LeatError
from leat_engine.kind import StepContext
from leat_runner.sdk import MARK


class FunctionsUnusable(LeatError):
    """A module of ``LEAT_FUNCTIONS``, or a function in it, cannot be used. The runner refuses to start."""


class BadArguments(LeatError):
    """The values of ``with`` are not what the function takes. The message names the parameter, never the value."""


@dataclass(frozen=True, slots=True)
class StepFunction:
    """A marked function, ready to be called with keyword arguments.

    Attributes:
        context: Name of the parameter that gets the `StepContext`, or None.
        parameters: The others, which ``with`` gives.
        arguments: Validates ``with``; None for a function without parameters.
        files: Parameters that are a `Path`: they get artifacts as files.
    """

    name: str
    call: Callable[..., Any]
    is_async: bool
    context: str | None
    parameters: tuple[str, ...]
    arguments: TypeAdapter[dict[str, Any]] | None
    files: frozenset[str] = frozenset()

    def bind(self, step: StepContext, values: Mapping[str, Any]) -> dict[str, Any]:
        """The keyword arguments of one call.

        Raises:
            BadArguments: A value is missing, unknown or of a wrong type.
        """
        if self.arguments is None:
            bound: dict[str, Any] = {}
            if values:
                raise BadArguments(f"function.with: '{self.name}' takes no arguments, found {', '.join(values)}")
        else:
            try:
                bound = self.arguments.validate_python(values)
            except ValidationError as error:
                raise BadArguments(_explain(self, error)) from error
        if self.context is not None:
            bound[self.context] = step
        return bound


def load_functions(sources: Iterable[str]) -> dict[str, StepFunction]:
    """The marked functions in the namespaces of some modules, by name.

    Args:
        sources: Module names, or paths of ``.py`` files.

    Raises:
        FunctionsUnusable: A module cannot be imported, has no marked function, or two functions have one name.
    """
    functions: dict[str, StepFunction] = {}
    for source in sources:
        # Static look-ups: a module may hold proxies, which do things when asked for an attribute.
        marked = {id(it): it for it in vars(_module(source)).values() if inspect.getattr_static(it, MARK, None)}
        if not marked:
            raise FunctionsUnusable(f"LEAT_FUNCTIONS: {source} has no function marked with @leat.step")
        for function in map(_step_function, marked.values()):
            known = functions.setdefault(function.name, function)
            if known.call is not function.call:
                raise FunctionsUnusable(
                    f"LEAT_FUNCTIONS: {_place(known.call)} and {_place(function.call)} are both called "
                    f"'{function.name}'; give one of them another name by @leat.step(name=...)"
                )
    return functions


def _module(source: str) -> ModuleType:
    try:
        return _module_of_file(Path(source)) if source.endswith(".py") else import_module(source)
    except Exception as error:
        raise FunctionsUnusable(f"LEAT_FUNCTIONS: {source} cannot be imported: {error!r}") from error


def _module_of_file(path: Path) -> ModuleType:
    # No import can ever meet a module of this name.
    name = str(path.resolve())
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = module_from_spec(spec)
    # Dataclasses and pickling look their module up by name.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _step_function(function: Callable[..., Any]) -> StepFunction:
    place = _place(function)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise FunctionsUnusable(f"LEAT_FUNCTIONS: {place} is a generator; return a list instead of yielding")
    try:
        hints = get_type_hints(function, include_extras=True)
    except (NameError, TypeError) as error:
        raise FunctionsUnusable(f"LEAT_FUNCTIONS: {place} has an annotation that cannot be read: {error}") from error
    context: str | None = None
    fields: dict[str, Any] = {}
    paths: set[str] = set()
    extra: Literal["allow", "forbid"] = "forbid"
    for parameter in inspect.signature(function).parameters.values():
        hint = hints.get(parameter.name, Any)
        if parameter.kind is parameter.VAR_KEYWORD:
            extra = "allow"
        elif parameter.kind in {parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL}:
            raise FunctionsUnusable(f"LEAT_FUNCTIONS: {place} takes '{parameter}' by position; arguments come by name")
        elif hint is StepContext or StepContext in get_args(hint) or (parameter.name == "ctx" and hint is Any):
            context = parameter.name
        else:
            fields[parameter.name] = hint if parameter.default is parameter.empty else NotRequired[hint]
            if hint is Path or Path in get_args(hint):
                paths.add(parameter.name)
    return StepFunction(
        name=getattr(function, MARK),
        call=function,
        is_async=inspect.iscoroutinefunction(function),
        context=context,
        parameters=tuple(fields),
        arguments=_validator(fields, extra, place) if fields or extra == "allow" else None,
        files=frozenset(paths),
    )


def _validator(fields: dict[str, Any], extra: Literal["allow", "forbid"], place: str) -> TypeAdapter[dict[str, Any]]:
    # mypy wants the keys of a TypedDict at once; these are known at run time only.
    arguments: Any = cast("Callable[..., Any]", TypedDict)("arguments", fields)
    arguments.__pydantic_config__ = ConfigDict(extra=extra)
    try:
        return TypeAdapter(arguments)
    except PydanticUserError as error:
        raise FunctionsUnusable(
            f"LEAT_FUNCTIONS: {place} has a parameter whose type cannot be made from JSON: {error.message}"
        ) from error


def _explain(function: StepFunction, error: ValidationError) -> str:
    parts = []
    for problem in error.errors(include_url=False, include_context=False):
        path = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in problem["loc"])
        match problem["type"]:
            case "missing":
                told = "is required and was not given"
            case "extra_forbidden" if len(problem["loc"]) == 1:
                told = f"is no parameter of the function; it takes {', '.join(function.parameters)}"
            case _:
                told = f"{problem['msg']}, found {_type_name(problem['input'])}"
        parts.append(f"function.with{path}: {told}")
    return f"'{function.name}' cannot be called: {'; '.join(parts)}"


def _type_name(value: Any) -> str:
    return "null" if value is None else type(value).__name__


def _place(function: Callable[..., Any]) -> str:
    return f"{function.__qualname__} in {function.__module__}"
