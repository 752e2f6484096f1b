"""One CEL expression, compiled: the only module that imports the CEL library."""

import base64
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_math, ext_optional, ext_strings

from leat_engine import limits
from leat_engine.errors import ExpressionError, LeatError
from leat_engine.expression.tree import Path, parse_tree, paths_read

_STATUS = re.compile(r"^[A-Z_]+: |\s*\[[A-Z_]+\]$")
_POSITION = re.compile(r"ERROR: <input>:(?P<line>-?\d+):(?P<column>-?\d+): (?P<message>.*)")
_MIXED = re.compile(r"_([-+*/])_\((?:int64, double|double, int64)\)")
_MACRO_LIMIT = f"visits more than {limits.EXPRESSION_ITERATIONS} elements; do it in a script or function step"
_ANY = frozenset({"DYN"})


class CompileError(LeatError):
    """The text is no valid expression. The message shows the place."""


class Program:
    """A compiled expression.

    Attributes:
        text: Its source.
        paths: What it reads of its variables.
        type: CEL type of the result, ``DYN`` when it is known only at evaluation.
    """

    __slots__ = ("_compiled", "paths", "text", "type")

    def __init__(self, text: str, compiled: Any, paths: tuple[Path, ...]) -> None:
        self.text = text
        self.paths = paths
        self.type: str = compiled.return_type().name()
        self._compiled = compiled

    def may_be(self, type_name: str) -> bool:
        """Whether the result can be of the CEL type."""
        return self.type in (type_name, "DYN")

    def evaluate(self, bindings: Mapping[str, Any]) -> Any:
        """The result as a JSON value.

        Raises:
            ExpressionError: It has no value, or none that JSON can hold. The message names no path.
        """
        try:
            result = self._compiled.eval(data=_prune(bindings, self.paths))
            kind = result.type().name()
            value = result.plain_value()
        except TypeError as error:
            raise ExpressionError("gives an optional value; end it with .orValue(...)") from error
        except (RuntimeError, MemoryError) as error:
            raise ExpressionError(_explain(str(error))) from error
        if kind == "ERROR":
            raise ExpressionError(_explain(value))
        return to_json(value)


@lru_cache(maxsize=4096)
def compile_program(text: str, variables: frozenset[str]) -> Program:
    """Compile ``text``, which may read ``variables``.

    Raises:
        CompileError: Syntax, an unknown name, or types that do not go together.
    """
    if len(text) > limits.EXPRESSION_CHARS:
        raise CompileError(f"is {len(text)} characters long; an expression may have {limits.EXPRESSION_CHARS}")
    try:
        compiled = _environment(variables).compile(text)
    except RuntimeError as error:
        raise CompileError(_point(text, str(error))) from error
    names = paths_read(parse_tree(compiled.serialize()))
    return Program(text, compiled, tuple(path for path in names if path[0] in variables))


def to_json(value: Any) -> Any:
    """A CEL value as a JSON value: timestamps as RFC 3339, durations as ``"3.5s"``, bytes as base64.

    Raises:
        ExpressionError: JSON has no such value, or it is too large.
    """
    budget = [limits.OUTPUT_BYTES]
    return _to_json(value, budget)


def _to_json(value: Any, budget: list[int]) -> Any:
    match value:
        case None | int():
            return value
        case float() if math.isfinite(value):
            return value
        case str():
            _spend(budget, len(value))
            return value
        case list():
            _spend(budget, 2 * len(value))
            return [_to_json(item, budget) for item in value]
        case dict():
            _spend(budget, sum(5 + len(key) for key in map(_key, value)))
            return {key: _to_json(item, budget) for key, item in value.items()}
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case timedelta():
            return f"{value / timedelta(seconds=1):.6f}".rstrip("0").rstrip(".") + "s"
        case bytes() | bytearray():
            _spend(budget, 4 * len(value) // 3)
            return base64.b64encode(value).decode()
        case float():
            raise ExpressionError(f"gives {value}, which JSON has no number for")
        case _:
            raise ExpressionError(f"gives a {type(value).__name__}, which is no JSON value")


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key
    raise ExpressionError(f"gives an object with the key {key!r}; keys must be strings")


def _spend(budget: list[int], size: int) -> None:
    budget[0] -= size
    if budget[0] < 0:
        raise ExpressionError(f"gives more than {limits.OUTPUT_BYTES} bytes")


def _prune(bindings: Mapping[str, Any], paths: tuple[Path, ...]) -> dict[str, Any]:
    """Only what ``paths`` read of ``bindings``: CEL copies all it is given, however large."""
    pruned: dict[str, Any] = {}
    for path in paths:
        source: Any = bindings
        target = pruned
        last = len(path) - 1
        for depth, name in enumerate(path):
            if name not in source:
                break
            source = source[name]
            if depth == last or not isinstance(source, Mapping):
                target[name] = source
                break
            target = target.setdefault(name, {})
    return pruned


@lru_cache(maxsize=64)
def _environment(variables: frozenset[str]) -> Any:
    types = {
        name: cel.Type.TIMESTAMP if name == "now" else cel.Type.Map(cel.Type.STRING, cel.Type.DYN) for name in variables
    }
    extensions = [ext_strings.ExtStrings(), ext_math.ExtMath(), ext_optional.ExtOptional()]
    return cel.NewEnv(variables=types, extensions=extensions)


def _explain(message: str) -> str:
    """CEL's evaluation error in the words of this language."""
    message = _STATUS.sub("", _STATUS.sub("", message))
    if mixed := _MIXED.search(message):
        return f"meets an integer and a decimal number at `{mixed[1]}`; convert one of them with double(...)"
    if "budget exceeded" in message:
        return _MACRO_LIMIT
    return message[:1].lower() + message[1:].replace("in map : ", "in the object: ")


def _point(text: str, message: str) -> str:
    """CEL's compile error as one message and the place it is about."""
    found = _POSITION.search(message)
    if found is None or int(found["line"]) < 1:
        if "recursion" in message:
            return f"is nested deeper than {limits.EXPRESSION_DEPTH} levels"
        return _STATUS.sub("", message.splitlines()[0])
    lines = text.splitlines() or [""]
    line = lines[min(int(found["line"]), len(lines)) - 1]
    start = max(0, int(found["column"]) - 40)
    caret = " " * (int(found["column"]) - 1 - start) + "^"
    what = (
        found["message"].replace(" (in container '')", "").split(" expecting {")[0].removesuffix(" [INVALID_ARGUMENT]")
    )
    if what.startswith("undeclared") and line[: int(found["column"]) - 1].rstrip().endswith("-"):
        what += '; a name that holds `-` is read as steps["my-step"]'
    return f"{what[:1].lower()}{what[1:]}\n  {line[start : start + 80]}\n  {caret}"
