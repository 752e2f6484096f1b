"""Values with `${ }` in them: a string, or lists and objects of any depth."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from leat_engine import limits
from leat_engine.errors import ExpressionError, Reason, Rejected
from leat_engine.expression.names import Names, check_names
from leat_engine.expression.originals import ORIGINALS, original
from leat_engine.expression.program import Program, compile_program
from leat_engine.expression.scan import CompileError, brief, split
from leat_engine.expression.secrets import NOWHERE, Outlets, SecretRef, misplaced
from leat_engine.expression.tree import Path

Bindings = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Expression:
    path: str
    program: Program
    condition: bool
    whole: bool = False  # it is the value, and not a part of a text

    @property
    def bare(self) -> bool:
        return self.whole and not self.condition and self.program.path is not None

    def evaluate(self, bindings: Bindings) -> Any:
        if ORIGINALS in bindings and self.bare:
            handed_on = original(self.program.path or (), bindings[ORIGINALS])
            if handed_on is not None:
                return handed_on.value
        try:
            value = self.program.evaluate(bindings)
        except ExpressionError as error:
            raise ExpressionError(f"{self.path}: ${{ {self.program.text} }}: {error}") from error
        if self.condition and not isinstance(value, bool):
            found = orjson.dumps(value).decode()[:80]
            raise ExpressionError(
                f"{self.path}: ${{ {self.program.text} }}: gives {found}; a condition must give true or false"
            )
        return value


@dataclass(frozen=True, slots=True)
class _Text:
    parts: tuple[str | _Expression, ...]

    def evaluate(self, bindings: Bindings) -> str:
        return "".join(part if isinstance(part, str) else as_text(part.evaluate(bindings)) for part in self.parts)


@dataclass(frozen=True, slots=True)
class _Constant:
    value: Any

    def evaluate(self, _bindings: Bindings) -> Any:
        return self.value


@dataclass(frozen=True, slots=True)
class _Object:
    members: "tuple[tuple[str, _Node], ...]"

    def evaluate(self, bindings: Bindings) -> dict[str, Any]:
        return {key: node.evaluate(bindings) for key, node in self.members}


@dataclass(frozen=True, slots=True)
class _Array:
    items: "tuple[_Node, ...]"

    def evaluate(self, bindings: Bindings) -> list[Any]:
        return [node.evaluate(bindings) for node in self.items]


_Node = _Expression | _Text | _Constant | _Object | _Array


@dataclass(frozen=True, slots=True)
class Spot:
    """One expression of a template: its field path, its source, and what it reads of its variables.

    Attributes:
        bare: It is a value as a whole, and only a path: what it reads is handed on and not looked into.
    """

    path: str
    text: str
    reads: tuple[Path, ...]
    bare: bool = False


@dataclass(frozen=True, slots=True)
class Template:
    """A value whose expressions are compiled.

    Attributes:
        constant: There is no expression in it; `evaluate` gives the same object every time, which nobody may change.
        reads: Names of the steps that its expressions read.
        reads_error_of: Names of the steps whose ``error`` they read.
        variables: Names that they read, such as ``inputs``.
        secrets: What they ask ``secret()`` for. `evaluate` needs it in the binding `SECRETS`.
        dynamic: Field paths, below the template's own, of the strings that hold expressions.
    """

    node: _Node
    constant: bool
    reads: frozenset[str]
    reads_error_of: frozenset[str]
    variables: frozenset[str]
    secrets: tuple[SecretRef, ...]
    dynamic: frozenset[tuple[str | int, ...]]

    def evaluate(self, bindings: Bindings) -> Any:
        """The value, a JSON value, with every expression evaluated.

        Args:
            bindings: The variables by name. Only what the expressions read is looked at.

        Raises:
            ExpressionError: An expression has no value. The message starts with its field path.
        """
        return self.node.evaluate(bindings)

    @property
    def source(self) -> Any:
        """The value as it was written, its expressions as texts."""
        return _source(self.node)

    def expressions(self) -> Iterator[Spot]:
        """Every expression in it."""
        return _spots(self.node)

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of an object, known before any value is; none of what else it may be."""
        match self.node:
            case _Constant(value) if isinstance(value, Mapping):
                return tuple(value)
            case _Object(members):
                return tuple(key for key, _ in members)
            case _:
                return ()

    def members(self, name: str) -> dict[str, tuple[Any, ...] | None] | None:
        """The members of the object that a member is: each the one value that holds no expression, or None.

        None when the member is known only when it is evaluated; nothing when there is none.
        """
        match self.node:
            case _Constant(value) if isinstance(value, Mapping):
                inner: Any = _Constant(value.get(name))
            case _Object(members):
                inner = next((node for key, node in members if key == name), _Constant(None))
            case _:
                return None
        match inner:
            case _Constant(value) if value is None or isinstance(value, Mapping):
                return {key: (item,) for key, item in (value or {}).items()}
            case _Object(members):
                return {key: (node.value,) if isinstance(node, _Constant) else None for key, node in members}
            case _:
                return None

    def member(self, name: str) -> Any:
        """The member of an object that holds no expression, known before any value is; else None."""
        match self.node:
            case _Constant(value) if isinstance(value, Mapping):
                return value.get(name)
            case _Object(members):
                return next((node.value for key, node in members if key == name and isinstance(node, _Constant)), None)
            case _:
                return None


def compile_template(
    value: Any, path: str, names: Names, verbatim: frozenset[str] = frozenset(), outlets: Outlets = NOWHERE
) -> Template:
    """Compile the expressions in ``value``.

    Args:
        value: A JSON value.
        path: Field path of the value, for messages.
        names: What its expressions may read.
        verbatim: Members of the value, an object, that are taken as they are: a script's ``${X}`` is the shell's.
        outlets: Where ``secret()`` may stand.

    Raises:
        Rejected: With a reason for every expression that is wrong.
    """
    return _compile(value, path, _Compiler(names, condition=False, verbatim=verbatim, outlets=outlets))


def compile_condition(value: Any, path: str, names: Names, outlets: Outlets = NOWHERE) -> Template:
    """Compile a field that is true or false: a boolean, or one expression that gives a boolean.

    Raises:
        Rejected: It is something else, or the expression is wrong.
    """
    if not isinstance(value, bool) and not (isinstance(value, str) and _is_single(value)):
        hint = f"write ${{ {value} }}" if isinstance(value, str) and "${" not in value else "write one ${ ... }"
        raise Rejected([Reason(path, f"found {_shown(value)}, expected true, false or one expression; {hint}")])
    return _compile(value, path, _Compiler(names, condition=True, verbatim=frozenset(), outlets=outlets))


def as_text(value: Any) -> str:
    """A JSON value inside text: strings as they are, null as nothing, everything else as JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else orjson.dumps(value).decode()


def _compile(value: Any, path: str, compiler: "_Compiler") -> Template:
    node = compiler.compile(value, path, ())
    if compiler.reasons:
        raise Rejected(compiler.reasons)
    return Template(
        node=node,
        constant=isinstance(node, _Constant),
        reads=frozenset(compiler.reads),
        reads_error_of=frozenset(compiler.reads_error_of),
        variables=frozenset(compiler.variables),
        secrets=tuple(sorted(compiler.secrets)),
        dynamic=frozenset(compiler.dynamic),
    )


class _Compiler:
    """Collects reasons, steps read and places of expressions while it walks one value."""

    def __init__(self, names: Names, *, condition: bool, verbatim: frozenset[str], outlets: Outlets) -> None:
        self.names = names
        self.condition = condition
        self.verbatim = verbatim
        self.outlets = outlets
        self.reasons: list[Reason] = []
        self.reads: set[str] = set()
        self.reads_error_of: set[str] = set()
        self.variables: set[str] = set()
        self.secrets: set[SecretRef] = set()
        self.dynamic: set[tuple[str | int, ...]] = set()

    def compile(self, value: Any, path: str, below: tuple[str | int, ...]) -> _Node:
        if len(below) > limits.VALUE_DEPTH:
            self.reasons.append(Reason(path, f"is nested deeper than {limits.VALUE_DEPTH} levels"))
            return _Constant(None)
        match value:
            case str():
                return self._string(value, path, below) if "${" in value else _Constant(value)
            case Mapping():
                return self._object(value, path, below)
            case list():
                items = tuple(self.compile(item, f"{path}[{i}]", (*below, i)) for i, item in enumerate(value))
                constants = [item.value for item in items if isinstance(item, _Constant)]
                return _Constant(constants) if len(constants) == len(items) else _Array(items)
            case _:
                return _Constant(value)

    def _object(self, value: Mapping[str, Any], path: str, below: tuple[str | int, ...]) -> _Node:
        members: list[tuple[str, _Node]] = []
        for key, item in value.items():
            if not below and key in self.verbatim:
                members.append((key, _Constant(item)))
                continue
            if "${" in key:
                self.reasons.append(Reason(path, f"the key {key!r} holds an expression; only values may"))
            members.append((key, self.compile(item, f"{path}.{key}", (*below, key))))
        constants = {key: node.value for key, node in members if isinstance(node, _Constant)}
        return _Constant(constants) if len(constants) == len(members) else _Object(tuple(members))

    def _string(self, text: str, path: str, below: tuple[str | int, ...]) -> _Node:
        try:
            pieces = list(split(text))
        except CompileError as error:
            self.reasons.append(Reason(path, str(error)))
            return _Constant(None)
        parts = tuple(piece if literal else self._expression(piece, path, below) for literal, piece in pieces)
        texts = [part for part in parts if isinstance(part, str)]
        if len(texts) == len(parts):
            return _Constant("".join(texts))
        self.dynamic.add(below)
        compiled = tuple(part for part in parts if part is not None)
        alone = compiled[0] if len(compiled) == 1 else None
        return replace(alone, whole=True) if isinstance(alone, _Expression) else _Text(compiled)

    def _expression(self, text: str, path: str, below: tuple[str | int, ...]) -> _Expression | None:
        try:
            program = compile_program(text.strip(), frozenset(self.names))
        except CompileError as error:
            self.reasons.append(Reason(path, f"${{ {brief(text)} }}: {error}"))
            return None
        problems = list(check_names(program.paths, self.names))
        if self.condition and not program.may_be("BOOL"):
            problems.append(f"gives {program.type.lower()}; a condition must give true or false")
        if below[:1] and below[0] in self.outlets.members:
            self.secrets.update(program.secrets)
        else:
            problems.extend(misplaced(ref, self.outlets) for ref in program.secrets)
        self.reasons.extend(Reason(path, f"${{ {brief(text)} }}: {problem}") for problem in problems)
        steps = [path[1:] for path in program.paths if path[0] == "steps" and len(path) > 1]
        self.reads.update(step[0] for step in steps)
        self.variables.update(path[0] for path in program.paths)
        self.reads_error_of.update(step[0] for step in steps if step[1:2] == ("error",))
        return _Expression(path, program, self.condition)


def _spots(node: _Node) -> Iterator[Spot]:
    match node:
        case _Expression(path=path, program=program, bare=bare):
            yield Spot(path, program.text, program.paths, bare)
        case _Text(parts=parts):
            for part in parts:
                if not isinstance(part, str):
                    yield from _spots(part)
        case _Object(members=members):
            for _, member in members:
                yield from _spots(member)
        case _Array(items=items):
            for item in items:
                yield from _spots(item)
        case _Constant():
            pass


def _source(node: _Node) -> Any:
    match node:
        case _Expression(program=program):
            return f"${{ {program.text} }}"
        case _Text(parts=parts):
            return "".join(part if isinstance(part, str) else _source(part) for part in parts)
        case _Object(members=members):
            return {key: _source(member) for key, member in members}
        case _Array(items=items):
            return [_source(item) for item in items]
        case _Constant(value=value):
            return value


def _is_single(text: str) -> bool:
    try:
        pieces = list(split(text))
    except CompileError:
        return True  # compiling it will say what is wrong
    return len(pieces) == 1 and not pieces[0][0]


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, str) else type(value).__name__
