"""One CEL expression: compiled, evaluated, its result turned into JSON, its errors explained."""

import base64
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import orjson

from leat_engine import limits
from leat_engine.errors import ExpressionError
from leat_engine.expression.dialect import GUARD, VAULT, environment
from leat_engine.expression.rewrite import copies, guarded, has_loops, needs_guard
from leat_engine.expression.scan import CompileError
from leat_engine.expression.secrets import SECRETS, UNTOLD, problems, secrets_read
from leat_engine.expression.tree import Node, Path, parse_tree, paths_read, selected
from leat_engine.spelling import unknown

_STATUS = re.compile(r"^[A-Z_]+: |\s*\[[A-Z_]+\]$")
_POSITION = re.compile(r"ERROR: <input>:(?P<line>-?\d+):(?P<column>-?\d+): (?P<message>.*)")
_INT64 = (-(2**63), 2**63 - 1)
ABSENT: Any = object()
_MACRO_LIMIT = f"visits more than {limits.EXPRESSION_ITERATIONS} elements; do it in a script or function step"


class Program:
    """A compiled expression.

    Attributes:
        text: Its source.
        paths: What it reads of its variables.
        path: The path whose value it gives, such as ``steps.make.output``; None when it is more than that.
        secrets: What it asks ``secret()`` for.
        type: CEL type of the result, ``DYN`` when it is known only at evaluation.
    """

    __slots__ = ("_compiled", "_loops", "path", "paths", "secrets", "text", "type")

    def __init__(self, text: str, compiled: Any, tree: Node, variables: frozenset[str]) -> None:
        self.text = text
        self.paths = tuple(path for path in paths_read(tree) if path[0] in variables)
        self.path = selected(tree)
        self.secrets = secrets_read(tree)
        self.type: str = compiled.return_type().name()
        self._loops = has_loops(tree)
        self._compiled = compiled

    def may_be(self, type_name: str) -> bool:
        """Whether the result can be of the CEL type."""
        return self.type in (type_name, "DYN")

    def evaluate(self, bindings: Mapping[str, Any]) -> Any:
        """The result as a JSON value.

        Raises:
            ExpressionError: It has no value, or none that JSON can hold. The message names no path, and nothing of what
                an expression with a secret met.
        """
        if not self.secrets:
            return self._evaluate(bindings)
        with VAULT.opened(bindings.get(SECRETS)) as held:
            try:
                result = self._evaluate(bindings)
            except ExpressionError:
                raise ExpressionError(UNTOLD) from None
        held.results.append(result)
        return result

    def _evaluate(self, bindings: Mapping[str, Any]) -> Any:
        if self.path is not None:
            found = _copied(bindings, self.path)
            if found is not ABSENT:
                return found
        if self._loops:
            GUARD.start()
        try:
            result = self._compiled.eval(data=_without_nul(_prune(bindings, self.paths)))
        except (RuntimeError, MemoryError) as error:
            raise ExpressionError(_explain(str(error))) from error
        if self._loops and GUARD.problem:
            raise ExpressionError(GUARD.problem)
        return to_json(result)


@lru_cache(maxsize=4096)
def compile_program(text: str, variables: frozenset[str]) -> Program:
    """Compile ``text``, which may read ``variables``.

    Raises:
        CompileError: Syntax, an unknown name, types that do not go together, or a cost without bounds.
    """
    if not text:
        raise CompileError("is empty; write an expression between ${ and }")
    if len(text) > limits.EXPRESSION_CHARS:
        raise CompileError(f"is {len(text)} characters long; an expression may have {limits.EXPRESSION_CHARS}")
    cel = environment(variables)
    try:
        compiled = cel.compile(text)
    except RuntimeError as error:
        raise CompileError(_point(text, str(error), variables)) from error
    serialized = compiled.serialize()
    tree = parse_tree(serialized)
    if (problem := next(problems(tree), None)) is not None:
        raise CompileError(problem)
    if (times := copies(tree)) > limits.EXPRESSION_COPIES:
        raise CompileError(f"can copy what it reads {times} times; at most {limits.EXPRESSION_COPIES} are possible")
    if needs_guard(tree):
        compiled = cel.deserialize(guarded(serialized))
    return Program(text, compiled, tree, variables)


def to_json(result: Any) -> Any:
    """A CEL value as a JSON value: timestamps as RFC 3339, durations as ``"3.5s"``, bytes as base64.

    Raises:
        ExpressionError: It is an error, JSON has no such value, or it is too large.
    """
    return _to_json(result, [limits.OUTPUT_BYTES])


def _to_json(result: Any, budget: list[int]) -> Any:
    """``budget`` holds the bytes left: lists and objects are opened only as far as it reaches."""
    try:
        value = result.value()
    except TypeError as error:
        raise ExpressionError("gives an optional value; end it with .orValue(...)") from error
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, list | dict):
        return _open(value, budget)
    kind = result.type().name()
    if kind == "ERROR":
        raise ExpressionError(_explain(value))
    return _scalar(value, kind, budget)


def _open(value: Any, budget: list[int]) -> Any:
    """A list, or an object in the order of its keys: CEL's is another one each time."""
    _spend(budget, 2 * len(value))
    if isinstance(value, list):
        return [_to_json(item, budget) for item in value]
    _spend(budget, sum(3 + len(key) for key in map(_key, value)))
    return {key: _to_json(value[key], budget) for key in sorted(value)}


def _scalar(value: Any, kind: str, budget: list[int]) -> Any:
    match value:
        case float() if math.isfinite(value):
            return value
        case str() if kind == "STRING":
            _spend(budget, len(value))
            return value
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
            raise ExpressionError(f"gives a {kind.lower()}, which is no JSON value")


def _copied(bindings: Mapping[str, Any], path: Path) -> Any:
    """What CEL would give for ``path``, at a small part of its price; `ABSENT` where CEL has to say what is wrong.

    A copy: what it goes to may change it.
    """
    value: Any = bindings
    for name in path:
        if not isinstance(value, Mapping) or name not in value:
            return ABSENT
        value = value[name]
    match value:
        case None | bool():
            return value
        case int() if _INT64[0] <= value <= _INT64[1]:
            return value
        case float() if math.isfinite(value):
            return value
        case str() | list() | dict():
            return _reread(value)
        case _:
            return ABSENT


def _reread(value: Any) -> Any:
    try:
        text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)  # objects come out as CEL's do here
    except TypeError:
        return ABSENT
    return orjson.loads(text) if len(text) <= limits.OUTPUT_BYTES and not _holds_nul(text) else ABSENT


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


def _without_nul(bindings: dict[str, Any]) -> dict[str, Any]:
    """The bindings. The CEL library cuts a text at a NUL character, silently, so none may go in."""
    try:
        text = orjson.dumps(bindings)
    except TypeError as error:
        raise ExpressionError(f"reads a value that is no JSON: {error}") from error
    if _holds_nul(text):
        raise ExpressionError("reads a text that holds a NUL character, which expressions cannot take")
    return bindings


def _holds_nul(text: bytes) -> bool:
    return b"\\u0000" in text and re.search(rb"(?<!\\)(?:\\\\)*\\u0000", text) is not None


def _explain(message: str) -> str:
    """CEL's evaluation error in the words of this language."""
    message = _STATUS.sub("", _STATUS.sub("", message))
    if "budget exceeded" in message:
        return _MACRO_LIMIT
    return message[:1].lower() + message[1:].replace("in map : ", "in the object: ")


_FUNCTIONS = (
    "all", "bool", "bytes", "charAt", "contains", "double", "duration", "dyn", "endsWith", "exists", "exists_one",
    "filter", "format", "getDayOfMonth", "getDayOfWeek", "getFullYear", "getHours", "getMinutes", "getMonth",
    "getSeconds", "has", "indexOf", "int", "join", "lastIndexOf", "lowerAscii", "map", "matches", "orValue", "quote",
    "replace", "reverse", "secret", "size", "split", "startsWith", "string", "substring", "timestamp", "trim", "type",
    "upperAscii",
)  # fmt: skip
"""That people misspell."""


def _undeclared(name: str, text: str, variables: frozenset[str]) -> str:
    """What to say of a name that is no variable here, or no function."""
    if re.search(rf"\b{re.escape(name)}\s*\(", text):
        return unknown("function", name, _FUNCTIONS).partition("; there is ")[0]
    said = unknown("variable", name, variables)
    if re.search(rf"-\s*{re.escape(name)}\b", text):
        said += '; a name that holds `-` is read as steps["my-step"]'
    return said


def _point(text: str, message: str, variables: frozenset[str]) -> str:
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
    if undeclared := re.search(r"undeclared reference to '([^'.]+)", found["message"]):
        return _undeclared(undeclared[1], text, variables)
    what = (
        found["message"].replace(" (in container '')", "").split(" expecting {")[0].removesuffix(" [INVALID_ARGUMENT]")
    )
    return f"{what[:1].lower()}{what[1:]}\n  {line[start : start + 80]}\n  {caret}"
