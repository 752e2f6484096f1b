"""What a step with bodies does with them: once for each item, again and again, one of several, or once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor
from typing import Any

from leat_engine import limits
from leat_engine.expression import Template


@dataclass(frozen=True, slots=True)
class Body:
    """Steps that are executed together, as often as their opener says; each time is a scope. Body 0 is the workflow.

    Attributes:
        opener: The node whose body it is; 0 for the workflow itself.
        parent: The body that the opener is a step of.
        result: The node whose end is the end of a scope: the body's only step, or its END, which is node ``-number``.
        roots: Nodes without needs.
        nodes: How many steps it has.
    """

    number: int
    opener: int
    parent: int
    result: int
    roots: tuple[int, ...]
    nodes: int


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How many items may fail: a number, or a share of all of them from 0 to 1."""

    number: int = 0
    share: float = 0.0

    def takes(self, failed: int, size: int) -> bool:
        """Whether so many failures of ``size`` items are tolerated."""
        return failed <= max(self.number, floor(self.share * size + 1e-9))


@dataclass(frozen=True, slots=True)
class Fan:
    """`forEach`: the body once for each item. ``stated``: whoever wrote it has said how many at once."""

    items: Template
    parallel: int
    tolerance: Tolerance
    body: int
    stated: bool = True


@dataclass(frozen=True, slots=True)
class Loop:
    """`repeat`: the body again and again. ``delay`` in seconds."""

    until: Template | None
    max: int
    delay: float
    body: int


@dataclass(frozen=True, slots=True)
class Choice:
    """`switch`: the first body whose condition holds; None always holds."""

    cases: tuple[tuple[Template | None, int], ...]


@dataclass(frozen=True, slots=True)
class Group:
    """`steps`: the body once."""

    body: int


Opener = Fan | Loop | Choice | Group

ITEM = frozenset({"item", "index"})
TIME = frozenset({"iteration", "last"})
WORDS: Mapping[type, str] = {Fan: "forEach", Loop: "repeat", Choice: "switch", Group: "steps"}
"""The fields by which they are written."""


def items_of(value: Any) -> Sequence[Any]:
    """The items of an evaluated ``forEach``: of a list its members, of an object `{key, value}` in the keys' order.

    Expressions and JSON give objects no order that lasts, and whoever looks again has to find the same item at the same
    index.

    Raises:
        ValueError: It is neither, or has too many of them.
    """
    if isinstance(value, Mapping):
        items: Sequence[Any] = [{"key": key, "value": value[key]} for key in sorted(value)]
    elif isinstance(value, list):
        items = value
    else:
        raise ValueError(f"forEach: found {_kind(value)}, expected a list or an object")  # noqa: TRY004  of the user's data
    if len(items) > limits.ITEMS:
        raise ValueError(f"forEach: found {len(items)} items; one step may have {limits.ITEMS}")
    return items


def _kind(value: Any) -> str:
    """What a value is, which may be nobody's to see."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case str():
            return "a text"
        case _:
            return "a number"
