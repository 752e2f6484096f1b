"""The checked tree of an expression, and what it reads.

CEL hands out its checked tree only as protobuf (``cel.expr.CheckedExpr``). Nine message types of the wire format are
read here by hand: the numbers are those of cel-spec's ``syntax.proto``, which can only grow.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

Path = tuple[str, ...]
"""A variable and the fields selected from it: ``steps.charge.output`` is ``("steps", "charge", "output")``."""

SELECTIONS = frozenset({"_[_]", "_[?_]", "_?._"})
"""Functions that select a member by a value; with a constant string they read as a field does."""


@dataclass(frozen=True, slots=True)
class Const:
    """A literal. ``text`` is None unless it is a string."""

    text: str | None


@dataclass(frozen=True, slots=True)
class Ident:
    """A variable, a macro's own variable, or a type's name."""

    name: str


@dataclass(frozen=True, slots=True)
class Select:
    """``operand.field``, also inside ``has()``."""

    operand: "Node"
    field: str


@dataclass(frozen=True, slots=True)
class Call:
    """A function or operator with its arguments (the receiver comes first), a list or an object literal."""

    function: str
    args: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Fold:
    """What a macro such as ``map`` or ``all`` became. Its own variables are visible in ``body`` only."""

    variables: tuple[str, ...]
    outside: "tuple[Node, ...]"
    body: "tuple[Node, ...]"


Node = Const | Ident | Select | Call | Fold


def parse_tree(serialized: bytes) -> Node:
    """The tree in a serialized expression, a ``CheckedExpr`` wrapped in an ``Any``."""
    checked = _message(serialized)[2][0]
    return _node(_message(checked)[4][0])


def paths_read(tree: Node) -> tuple[Path, ...]:
    """What the expression reads, none of the paths being the beginning of another one."""
    paths = sorted(set(_paths(tree, frozenset())))
    kept: list[Path] = []
    for path in paths:
        if not kept or path[: len(kept[-1])] != kept[-1]:
            kept.append(path)
    return tuple(kept)


def _paths(node: Node, own: frozenset[str]) -> Iterator[Path]:
    """Every path read below ``node``; ``own`` are the variables of the macros around it."""
    path = _path(node)
    if path is not None:
        if path[0] not in own:
            yield path
        return
    match node:
        case Select(operand=operand):
            yield from _paths(operand, own)
        case Call(args=args):
            yield from _all(args, own)
        case Fold(variables=variables, outside=outside, body=body):
            yield from _all(outside, own)
            yield from _all(body, own.union(variables))
        case Const() | Ident():
            pass


def _all(nodes: Iterable[Node], own: frozenset[str]) -> Iterator[Path]:
    for node in nodes:
        yield from _paths(node, own)


def _path(node: Node) -> Path | None:
    """The path that ``node`` is as a whole, or None when it is more than selections from a variable."""
    match node:
        case Ident(name=name):
            return (name,)
        case Select(operand=operand, field=field):
            base = _path(operand)
            return base and (*base, field)
        case Call(function=function, args=(operand, Const(text=str() as key))) if function in SELECTIONS:
            base = _path(operand)
            return base and (*base, key)
        case _:
            return None


def _node(data: bytes) -> Node:
    message = _message(data)
    match next((number for number in range(3, 10) if number in message), 0):
        case 4:
            return Ident(_text(_message(message[4][0]), 1))
        case 5:
            select = _message(message[5][0])
            return Select(_node(select[1][0]), _text(select, 2))
        case 6:
            call = _message(message[6][0])
            return Call(_text(call, 2), tuple(map(_node, [*call.get(1, ()), *call.get(3, ())])))
        case 7:
            return Call("[]", tuple(map(_node, _message(message[7][0]).get(1, ()))))
        case 8:
            entries = [_message(entry) for entry in _message(message[8][0]).get(2, ())]
            return Call("{}", tuple(_node(part) for entry in entries for n in (3, 4) for part in entry.get(n, ())))
        case 9:
            return _fold(_message(message[9][0]))
        case _:
            constant = _message(message[3][0]) if 3 in message else {}
            return Const(_text(constant, 6) if 6 in constant else None)


def _fold(message: dict[int, list[Any]]) -> Fold:
    """Range (2) and start value (4) are evaluated outside; condition (5), step (6) and result (7) see the variables."""
    variables = tuple(_text(message, number) for number in (1, 3, 8) if number in message)
    outside, body = ([_node(part) for n in ns for part in message.get(n, ())] for ns in ((2, 4), (5, 6, 7)))
    return Fold(variables, tuple(outside), tuple(body))


def _text(message: dict[int, list[Any]], number: int) -> str:
    return str(message.get(number, [b""])[0], "utf-8")


def _message(data: bytes) -> dict[int, list[Any]]:
    """A protobuf message as its fields by number: ints for varints, bytes for everything else."""
    fields: dict[int, list[Any]] = {}
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        value: int | bytes
        match tag & 7:
            case 0:
                value, position = _varint(data, position)
            case 2:
                length, position = _varint(data, position)
                value, position = data[position : position + length], position + length
            case wire:
                length = {1: 8, 5: 4}[wire]
                value, position = data[position : position + length], position + length
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position
