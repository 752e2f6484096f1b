"""The environment that expressions are compiled in; the only module that imports the CEL library.

Standard CEL with the extensions for strings, math and optional values, the guards of `guard`, and what JSON needs: JSON
does not tell 10 from 10.0, so a price of 10 must not break ``price * 1.2``. Arithmetic between an integer and a decimal
number, which CEL lacks, gives a decimal number.
"""

import math
import operator
from collections.abc import Callable
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from cel_expr_python import cel
from cel_expr_python.ext import ext_math, ext_optional, ext_strings

from leat_engine.expression import guard, secrets

_T = cel.Type
_INT, _UINT, _DOUBLE, _STRING = _T.INT, _T.UINT, _T.DOUBLE, _T.STRING
_DURATION, _TIMESTAMP, _LIST = _T.DURATION, _T.TIMESTAMP, _T.List(_T.DYN)
_NUMBERS = (("int64", _INT), ("uint64", _UINT), ("double", _DOUBLE))

GUARD = guard.Guard()
"""Guards the evaluation in each thread."""

VAULT = secrets.Vault()
"""Holds the secrets of the evaluation in each thread."""


_TYPES = {"now": _TIMESTAMP, "item": _T.DYN, "last": _T.DYN, "index": _T.INT, "iteration": _T.INT, "error": _T.DYN}
"""Of the variables that are no objects, or may be null."""


@lru_cache(maxsize=64)
def environment(variables: frozenset[str]) -> Any:
    """The CEL environment in which ``variables`` are declared: of the types that they always have."""
    return cel.NewEnv(
        config=cel.NewEnvConfigFromYaml(_WITHOUT_ARITHMETIC),
        variables={name: _TYPES.get(name, _T.Map(_STRING, _T.DYN)) for name in variables},
        extensions=[ext_strings.ExtStrings(), ext_math.ExtMath(), ext_optional.ExtOptional()],
        functions=[*_ARITHMETIC, *_GUARDS, _SECRET, _ESCAPE],
    )


def _overload(name: str, result: Any, *parameters: Any) -> Any:
    """A declaration of what the runtime has."""
    return cel.Overload(name, result, list(parameters))


def _operator(sign: str, verb: str, apply: Callable[[Any, Any], Any], *more: Any) -> Any:
    """An arithmetic operator: the standard overloads, and the two between integers and decimal numbers."""
    standard = [_overload(f"{verb}_{name}", kind, kind, kind) for name, kind in _NUMBERS]
    mixed = [
        cel.Overload(f"{verb}_int64_double", _DOUBLE, [_INT, _DOUBLE], impl=apply),
        cel.Overload(f"{verb}_double_int64", _DOUBLE, [_DOUBLE, _INT], impl=apply),
    ]
    return cel.FunctionDecl(f"_{sign}_", [*standard, *more, *mixed])


def _divide(dividend: float, divisor: float) -> float:
    """Division as doubles do it: by zero it is infinite or not a number, which no result may be."""
    if divisor:
        return dividend / divisor
    return math.copysign(math.inf, dividend) if dividend else math.nan


# The checker takes one declaration per function, so the standard operators are left out of it and declared anew, to the
# same functions of the runtime.
_WITHOUT_ARITHMETIC = "stdlib: {exclude_functions: [{name: _+_}, {name: _-_}, {name: _*_}, {name: _/_}]}"
_ARITHMETIC = [
    _operator(
        "+",
        "add",
        operator.add,
        _overload("add_string", _STRING, _STRING, _STRING),
        _overload("add_bytes", _T.BYTES, _T.BYTES, _T.BYTES),
        _overload("add_list", _LIST, _LIST, _LIST),
        _overload("add_duration_duration", _DURATION, _DURATION, _DURATION),
        _overload("add_duration_timestamp", _TIMESTAMP, _DURATION, _TIMESTAMP),
        _overload("add_timestamp_duration", _TIMESTAMP, _TIMESTAMP, _DURATION),
    ),
    _operator(
        "-",
        "subtract",
        operator.sub,
        _overload("subtract_duration_duration", _DURATION, _DURATION, _DURATION),
        _overload("subtract_timestamp_timestamp", _DURATION, _TIMESTAMP, _TIMESTAMP),
        _overload("subtract_timestamp_duration", _TIMESTAMP, _TIMESTAMP, _DURATION),
    ),
    _operator("*", "multiply", operator.mul),
    _operator("/", "divide", _divide),
]


def _guard_function(name: str, result: Any, parameters: list[Any], impl: Callable[..., Any]) -> Any:
    return cel.FunctionDecl(name, [cel.Overload(name, result, parameters, impl=impl)])


def _member(name: str, impl: Callable[..., Any], *parameters: Any) -> Any:
    return cel.Overload(name, _STRING, list(parameters), is_member=True, impl=impl)


_REPLACE, _JOIN = guard.BOUNDED["replace"], guard.BOUNDED["join"]
_GUARDS = [
    _guard_function(guard.GO_ON, _T.BOOL, [], GUARD.go_on),
    _guard_function(guard.NEW_LIST, _INT, [], GUARD.new_list),
    _guard_function(guard.APPEND, _INT, [_INT, _LIST], GUARD.append),
    _guard_function(guard.FINISH, _LIST, [_INT], GUARD.finish),
    _guard_function(guard.KEYS, _LIST, [_T.Map(_T.DYN, _T.DYN)], guard.keys),
    cel.FunctionDecl(
        _REPLACE,
        [
            _member(f"{_REPLACE}_3", guard.replace, _STRING, _STRING, _STRING),
            _member(f"{_REPLACE}_4", guard.replace, _STRING, _STRING, _STRING, _INT),
        ],
    ),
    cel.FunctionDecl(
        _JOIN, [_member(f"{_JOIN}_1", guard.join, _LIST), _member(f"{_JOIN}_2", guard.join, _LIST, _STRING)]
    ),
]


def _escape(text: str) -> str:
    """A text as one segment of a URL's path, or as a value in its query."""
    if text in {".", ".."}:
        raise ValueError(f"url.escape({text!r}) is no segment of a path: it would lead out of it")
    return quote(text, safe="")


_ESCAPE = cel.FunctionDecl("url.escape", [cel.Overload("url_escape_string", _STRING, [_STRING], impl=_escape)])

# With other numbers of arguments too, so that `secrets` can say better than the checker what is expected.
_SECRET = cel.FunctionDecl(
    secrets.FUNCTION,
    [
        cel.Overload(f"{secrets.FUNCTION}_{number}", _STRING, [_STRING] * number, impl=VAULT.secret)
        for number in range(4)
    ],
)
