"""Puts the guards of `leat_engine.expression.guard` into a checked expression, and bounds what they cannot see.

The rewriting works on the protobuf of the tree. A macro comes as a loop (`comprehension`) with a start value, a
condition, a step and a result. One that builds a list starts with ``[]`` and steps by ``@result + [item]``; these
become the functions that collect the items in linear time. What a loop is over becomes its keys in their order, if it
is an object.
"""

from leat_engine.expression.guard import APPEND, BOUNDED, FINISH, GO_ON, KEYS, NEW_LIST
from leat_engine.expression.tree import Call, Const, Fold, Ident, Node, Select, parse_node, walk
from leat_engine.expression.wire import Field, decode, encode, message

_SELECT, _CALL, _LIST, _OBJECT, _LOOP = 5, 6, 7, 8, 9
_CHILDREN = {_SELECT: {1}, _CALL: {1, 3}, _LIST: {1}, _OBJECT: {2}, _LOOP: {2, 4, 5, 6, 7}}
_START, _CONDITION, _RESULT = 4, 5, 7
_OWN_ID = 1 << 24
_OVER = "@leat_over"
_SIGNS = ("==", "!=", "<", "<=", ">", ">=", "&&", "||", "-", "*", "/", "%")
_WORDS = "!_ -_ @in size matches contains startsWith endsWith indexOf lastIndexOf int uint double bool type"
_SMALL_RESULTS = frozenset([*(f"_{sign}_" for sign in _SIGNS), *_WORDS.split()])


def has_loops(tree: Node) -> bool:
    """Whether macros are in the tree."""
    return any(isinstance(node, Fold) for node in walk(tree))


def needs_guard(tree: Node) -> bool:
    """Whether the tree holds anything that `guarded` changes."""
    return has_loops(tree) or any(isinstance(node, Call) and node.function in BOUNDED for node in walk(tree))


def copies(node: Node) -> int:
    """How many times the expression can copy what it reads into one value, at most."""
    match node:
        case Call(function=function, args=args) if function in _SMALL_RESULTS:
            return max([1, *map(copies, args)])
        case Call(function="_?_:_", args=args):
            return max(map(copies, args))
        case Call(args=args):
            return max(1, sum(map(copies, args)))
        case Fold(outside=outside, body=body):
            return max(1, *map(copies, outside)) * max(1, *map(copies, body))
        case Select(operand=operand):
            return copies(operand)
        case Ident(name="@result"):
            return 0  # what a macro has built so far goes on, it is not copied again
        case Const() | Ident():
            return 1


def guarded(serialized: bytes) -> bytes:
    """A serialized expression with the guards in it."""
    wrapper = decode(serialized)
    checked = [message(4, _expression(field.data)) if field.number == 4 else field for field in decode(wrapper[1].data)]
    return encode([wrapper[0], message(2, encode(checked))])


def _expression(data: bytes) -> bytes:
    """One ``Expr`` with everything below it."""
    return encode(_rewritten(field) if field.number in _CHILDREN else field for field in decode(data))


def _rewritten(field: Field) -> Field:
    """The part of an ``Expr`` that says what it is."""
    if field.number == _OBJECT:
        return message(_OBJECT, encode(_entry(part) if part.number == 2 else part for part in decode(field.data)))
    parts = [
        message(part.number, _expression(part.data)) if part.number in _CHILDREN[field.number] else part
        for part in decode(field.data)
    ]
    if field.number == _CALL:
        parts = _call(field.data, parts)
    if field.number == _LOOP:
        parts = _loop(parts)
    return message(field.number, encode(parts))


def _entry(entry: Field) -> Field:
    """A member of an object literal: key (3) and value (4)."""
    parts = (
        message(part.number, _expression(part.data)) if part.number in {3, 4} else part for part in decode(entry.data)
    )
    return message(entry.number, encode(parts))


def _call(data: bytes, parts: list[Field]) -> list[Field]:
    """A call, by another function if there is a guarded one."""
    node = parse_node(encode([message(_CALL, data)]))
    match node:
        case Call(function="_+_", args=(Ident(name="@result"), Call(function="[]"))):
            name = APPEND
        case Call(function=function) if function in BOUNDED:
            name = BOUNDED[function]
        case _:
            return parts
    return [message(2, name.encode()) if part.number == 2 else part for part in parts]


def _loop(parts: list[Field]) -> list[Field]:
    """A loop that can be stopped, and that collects its list if it builds one."""
    builds = any(part.number == _START and decode(part.data)[-1] == message(_LIST, b"") for part in parts)
    result: list[Field] = []
    for part in parts:
        new = part.data if part.wire == 2 else b""
        match part.number:
            case 2 if decode(new)[-1].number not in {_LIST, _LOOP}:
                new = _ordered(new)
            case 4 if builds:
                new = _function(NEW_LIST)
            case 5:
                new = _function("_&&_", _function(GO_ON), new)
            case 7 if builds:
                new = _function(FINISH, new)
            case _:
                result.append(part)
                continue
        result.append(message(part.number, new))
    return result


def _ordered(over: bytes) -> bytes:
    """``over``, or its keys in their order if it is an object: it is bound to a variable, to be evaluated once.

    A variable is bound by a loop that does nothing, as CEL's own macro ``bind`` does it.
    """
    bound = _ident(_OVER)
    is_object = _function("_==_", _function("type", bound), _ident("map"))
    result = _function("_?_:_", is_object, _function(KEYS, bound), bound)
    loop = [
        message(1, b"#unused"),
        message(2, _expr(_LIST, b"")),
        message(3, _OVER.encode()),
        message(4, over),
        message(5, _expr(3, encode([Field(2, 0, 0)]))),  # false
        message(6, bound),
        message(7, result),
    ]
    return _expr(_LOOP, encode(loop))


def _ident(name: str) -> bytes:
    """An ``Expr`` that is a name."""
    return _expr(4, encode([message(1, name.encode())]))


def _expr(number: int, data: bytes) -> bytes:
    """An ``Expr`` that nobody has written."""
    return encode([Field(2, 0, _OWN_ID), message(number, data)])


def _function(name: str, *args: bytes) -> bytes:
    """An ``Expr`` that calls a function."""
    call = encode([message(2, name.encode()), *(message(3, arg) for arg in args)])
    return _expr(_CALL, call)
