"""``secret(name, key)``: what an expression asks for, and where its value is while the expression is evaluated.

Name and key are texts in quotes, so what a workflow reads is known before a run, and no input can choose. The values
never enter the expression's source nor its variables: the runner reads them first, and they are here, in this thread,
as long as one evaluation takes.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import local
from typing import Any, NamedTuple

from leat_engine.errors import ExpressionError
from leat_engine.expression.tree import Call, Const, Node, walk

FUNCTION = "secret"
SECRETS = "@secrets"
"""The binding that holds the `Held` of an evaluation. No expression can name it."""

UNTOLD = (
    "cannot be evaluated; why is not told, as it holds a secret. Take secret() out of it and move the rest into `vars`"
)
_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_KEY = re.compile(r"(?!\.{1,2}$|\.\.)[-._a-zA-Z0-9]{1,253}")


class SecretRef(NamedTuple):
    """One value: a key of a named secret. As text it is what stands in the expression."""

    name: str
    key: str

    def __str__(self) -> str:
        return f"{FUNCTION}('{self.name}', '{self.key}')"


@dataclass(frozen=True, slots=True)
class Held:
    """Secrets that were read for one attempt.

    Attributes:
        values: All that the step names.
        results: What expressions made of them: a part of a secret, or its base64, is as secret as the whole.
    """

    values: Mapping[SecretRef, str]
    results: list[Any] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Outlets:
    """Where ``secret()`` may stand.

    Attributes:
        members: Members of the value in question, an object.
        everywhere: All fields of all kinds, for messages.
    """

    members: frozenset[str] = frozenset()
    everywhere: str = "fields of a step that are sent to the outside"


NOWHERE = Outlets()


class Vault(local):
    """The secrets of the evaluation that runs in this thread."""

    held: Held | None = None

    @contextmanager
    def opened(self, held: Held | None) -> Iterator[Held]:
        """Let ``secret()`` give the values of ``held`` inside the block."""
        if held is None:
            raise ExpressionError("reads a secret, and none were read for it")
        self.held = held
        try:
            yield held
        finally:
            self.held = None

    def secret(self, name: Any, key: Any) -> str:
        """The value; the function behind ``secret()``."""
        if self.held is None:
            raise LookupError("no secrets are held")
        return self.held.values[SecretRef(name, key)]


def secrets_read(tree: Node) -> tuple[SecretRef, ...]:
    """What the expression asks for; calls that `problems` complains about are left out."""
    found = (_asked(node) for node in walk(tree))
    return tuple(dict.fromkeys(ref for ref in found if isinstance(ref, SecretRef)))


def problems(tree: Node) -> Iterator[str]:
    """A sentence for each call that does not say, in quotes, what it asks for."""
    for node in walk(tree):
        asked = _asked(node)
        if isinstance(asked, str):
            yield asked


def misplaced(ref: SecretRef, outlets: Outlets) -> str:
    """Why a secret must not stand where it was found."""
    return f"reads {ref}, which would be stored or shown here; {FUNCTION}() may stand only in {outlets.everywhere}"


def _asked(node: Node) -> SecretRef | str | None:
    """What a call asks for, or what is wrong with it; None for everything else."""
    match node:
        case Call(function=function) if function != FUNCTION:
            return None
        case Call(args=(Const(text=str() as name), Const(text=str() as key))):
            return _named(name, key)
        case Call():
            return (
                f"{FUNCTION}() takes a name and a key, both texts in quotes as in {FUNCTION}('pay', 'token'): what a "
                "workflow reads is known before it runs, and no input can choose a secret"
            )
        case _:
            return None


def _named(name: str, key: str) -> SecretRef | str:
    if not _NAME.fullmatch(name):
        return f"{name[:80]!r} is no name of a secret; expected lower-case letters, digits, `-` and `.`, at most 253"
    if not _KEY.fullmatch(key):
        return f"{key[:80]!r} is no key of a secret; expected letters, digits, `-`, `_` and `.`, at most 253"
    return SecretRef(name, key)
