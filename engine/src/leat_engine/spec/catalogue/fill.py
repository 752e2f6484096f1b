"""Puts values in the place of ``params.NAME``: whole values, pieces of texts, or operands of expressions.

An operand becomes a literal or an expression in parentheses, so what it means does not depend on what stands around it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from leat_engine import limits
from leat_engine.errors import LeatError
from leat_engine.expression import as_text
from leat_engine.expression.scan import code, split

ABSENT: Any = object()
"""An optional parameter that is not given."""

VARIABLES = frozenset(
    {"inputs", "steps", "vars", "run", "now", "item", "index", "iteration", "last", "error", "params"}
)
_USE = re.compile(r"\bparams\b(?:\s*\.\s*([A-Za-z_]\w*))?")
_MACRO = re.compile(r"\.\s*(?:map|filter|all|exists|exists_one|transformList|transformMap)\s*\(\s*(\w+)")


class NotFilled(LeatError):
    """A template cannot take the values. ``parameter``: the one at fault, if it is one."""

    def __init__(self, message: str, parameter: str = "") -> None:
        super().__init__(message)
        self.parameter = parameter


@dataclass(slots=True)
class Budget:
    """Bytes that may still be put into a spec: a template can use a value many times."""

    left: int = limits.SPEC_BYTES

    def spend(self, text: str) -> None:
        """Take the bytes of a text.

        Raises:
            NotFilled: There are not so many left.
        """
        self.left -= len(text)
        if self.left < 0:
            raise NotFilled(f"the workflow gets larger than {limits.SPEC_BYTES} bytes by its templates")


def fill(body: Any, values: Mapping[str, Any], budget: Budget, depth: int = 0) -> Any:
    """The body of a template with values for its parameters. What holds nothing but an absent one is left out.

    Args:
        body: A JSON value, of which texts may hold expressions.
        values: By name, one for every parameter, as they stand in a spec: JSON values of which texts may hold
            expressions; or `ABSENT`.
        budget: What the result may cost.
        depth: How deep it stands.

    Raises:
        NotFilled: The template names no such parameter, or a value does not fit where it is to stand.
    """
    if depth > limits.VALUE_DEPTH:
        raise NotFilled(f"is nested deeper than {limits.VALUE_DEPTH} levels")
    match body:
        case str():
            return _text(body, values, budget)
        case Mapping():
            members = ((key, fill(value, values, budget, depth + 1)) for key, value in body.items())
            return {key: value for key, value in members if value is not ABSENT}
        case list():
            return [value for value in (fill(item, values, budget, depth + 1) for item in body) if value is not ABSENT]
        case _:
            return body


def _text(text: str, values: Mapping[str, Any], budget: Budget) -> Any:
    if "${" not in text:
        budget.spend(text)
        return text
    pieces = list(split(text))
    if len(pieces) == 1 and not pieces[0][0] and (name := _alone(pieces[0][1])):
        value = _value(name, values)
        if value is not ABSENT:
            budget.spend(_json(value))
        return value
    filled = "".join(_literal(piece) if literal else _piece(piece, values) for literal, piece in pieces)
    budget.spend(filled)
    return filled


def _piece(source: str, values: Mapping[str, Any]) -> str:
    """What an expression inside of a text becomes."""
    name = _alone(source)
    if not name:
        return f"${{ {_operands(source.strip(), values)} }}"
    value = _value(name, values)
    match value:
        case str():
            return value  # with the expressions that it holds
        case Mapping() | list() if "${" in _json(value):
            raise NotFilled("stands inside of a text there; give a text, a number or one expression", name)
        case _:
            return "" if value is ABSENT else _literal(as_text(value))


def _operands(source: str, values: Mapping[str, Any]) -> str:
    """An expression with literals and expressions for its parameters."""
    for variable in _MACRO.findall(source):
        if variable in VARIABLES:
            raise NotFilled(f"calls a variable of a macro {variable!r}, which expressions of values may read")
    return "".join(
        piece if literal else _USE.sub(lambda found: _operand(found, values), piece) for literal, piece in code(source)
    )


def _operand(found: re.Match[str], values: Mapping[str, Any]) -> str:
    name = found[1]
    if not name:
        raise NotFilled("reads params as a whole; expected params.NAME")
    value = _value(name, values)
    if value is ABSENT:
        return "null"
    if not isinstance(value, str):
        text = _json(value)
        if "${" in text:
            raise NotFilled("is part of an expression there; give a value, or one expression for all of it", name)
        return text
    pieces = list(split(value))
    if not pieces or all(literal for literal, _ in pieces):
        return _json("".join(piece for _, piece in pieces))
    if len(pieces) > 1:
        message = "is part of an expression there, and no text with expressions in it fits; join it in one expression"
        raise NotFilled(f"{message}, as in ${{ 'a ' + inputs.b }}", name)
    expression = pieces[0][1].strip()
    return f"({expression}\n)" if "//" in expression else f"({expression})"  # a comment ends with its line


def _value(name: str, values: Mapping[str, Any]) -> Any:
    if name not in values:
        raise NotFilled(f"reads params.{name}, which is no parameter of it")
    return values[name]


def _alone(source: str) -> str:
    """The name in an expression that is nothing but a parameter, or ""."""
    found = _USE.fullmatch(source.strip())
    return found[1] or "" if found else ""


def _literal(text: str) -> str:
    """A literal text as it stands in a spec."""
    return text.replace("${", "$${")


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
