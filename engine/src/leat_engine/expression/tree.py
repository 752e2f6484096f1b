"""The checked tree of an expression, and what it reads.

CEL hands out its checked tree only as protobuf (``cel.expr.CheckedExpr``). Nine of its message types are read here by
hand: the numbers are those of cel-spec's ``checked.proto`` and ``syntax.proto``, which can only grow.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from leat_engine.expression.wire import decode

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
    """``operand.field``; inside ``has()`` it ``asks`` only whether there is one."""

    operand: "Node"
    field: str
    asks: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """A function or operator with its arguments (the receiver comes first), a list or an object literal."""

    function: str
    args: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Fold:
    """What a macro such as ``map`` or ``all`` became.

    Range and start value are evaluated ``outside``; condition, step and result (``body``) see the variables.
    """

    variables: tuple[str, ...]
    outside: "tuple[Node, ...]"
    body: "tuple[Node, ...]"

    @property
    def parts(self) -> "tuple[Node, ...]":
        """Everything in it."""
        return self.outside + self.body


Node = Const | Ident | Select | Call | Fold


def parse_tree(serialized: bytes) -> Node:
    """The tree in a serialized expression, a ``CheckedExpr`` wrapped in an ``Any``."""
    return parse_node(_one(_one(serialized, 2), 4))


def walk(node: Node) -> Iterator[Node]:
    """The node and all nodes below it."""
    yield node
    match node:
        case Select(operand=operand):
            yield from walk(operand)
        case Call(args=parts) | Fold(parts=parts):
            for part in parts:
                yield from walk(part)
        case Const() | Ident():
            pass


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
    path = path_of(node)
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


def path_of(node: Node) -> Path | None:
    """The path that ``node`` is as a whole, or None when it is more than selections from a variable."""
    match node:
        case Ident(name=name):
            return (name,)
        case Select(operand=operand, field=field):
            base = path_of(operand)
            return base and (*base, field)
        case Call(function=function, args=(operand, Const(text=str() as key))) if function in SELECTIONS:
            base = path_of(operand)
            return base and (*base, key)
        case _:
            return None


def selected(node: Node) -> Path | None:
    """The path whose value ``node`` is; None when it computes something, or asks whether a member is there."""
    match node:
        case Ident(name=name):
            return (name,)
        case Select(operand=operand, field=field, asks=False):
            base = selected(operand)
            return base and (*base, field)
        case Call(function="_[_]", args=(operand, Const(text=str() as key))):
            base = selected(operand)
            return base and (*base, key)
        case _:
            return None


def parse_node(data: bytes) -> Node:
    """The tree in an ``Expr``."""
    field = next(field for field in decode(data) if field.number >= 3)
    inner = field.data
    match field.number:
        case 3:
            return Const(_text(inner, 6) if decode(inner)[0].number == 6 else None)
        case 4:
            return Ident(_text(inner, 1))
        case 5:
            return Select(parse_node(_one(inner, 1)), _text(inner, 2), any(part.number == 3 for part in decode(inner)))
        case 6:
            return Call(_text(inner, 2), _nodes(inner, 1, 3))
        case 7:
            return Call("[]", _nodes(inner, 1))
        case 8:
            entries = [entry.data for entry in decode(inner) if entry.number == 2]
            return Call("{}", tuple(node for entry in entries for node in _nodes(entry, 3, 4)))
        case _:
            variables = tuple(field.data.decode() for field in decode(inner) if field.number in {1, 3, 8})
            return Fold(variables, outside=_nodes(inner, 2, 4), body=_nodes(inner, 5, 6, 7))


def _nodes(data: bytes, *numbers: int) -> tuple[Node, ...]:
    return tuple(parse_node(field.data) for field in decode(data) if field.number in numbers)


def _text(data: bytes, number: int) -> str:
    return _one(data, number).decode()


def _one(data: bytes, number: int) -> bytes:
    return next((field.data for field in decode(data) if field.number == number), b"")
