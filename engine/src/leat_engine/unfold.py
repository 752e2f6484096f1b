"""What a step with bodies does next: which scopes it opens, for how long it waits, or how it ends. Pure.

It is asked when it begins, and again whenever as many of its scopes are over as it waited for. A runner writes what it
answers: the scopes, and that the step waits; whoever brings the last awaited end goes on with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from leat_engine import limits
from leat_engine.decide import admit, failed, succeeded
from leat_engine.errors import ExpressionError
from leat_engine.expression import ORIGINALS
from leat_engine.job import StepKey
from leat_engine.opener import Choice, Fan, Group, Loop, items_of
from leat_engine.plan import PlanStep
from leat_engine.records import Block
from leat_engine.result import ErrorType, Result, State, StepError
from leat_engine.view import RunView

ROWS = 1_000
"""First steps that are written at once, at most; a scope more than that is opened all the same."""

EIGHTH = 8
"""A `forEach` fills up when an eighth of what may be under way is over: fewer statements, and few idle places."""

Ends = Mapping[int, Result]
"""How scopes have ended, by their index; those that are not over are missing."""


@dataclass(frozen=True, slots=True)
class Look:
    """How the scopes of a step are.

    Attributes:
        ends: Of the scopes from ``block.settled`` on.
        paused: A pause is behind it.
    """

    block: Block
    ends: Ends
    paused: bool
    now: datetime


@dataclass(frozen=True, slots=True)
class Open:
    """Open these indexes, each with what its expressions may read, and wait: ``block`` is how it is then.

    Attributes:
        nodes: How many steps the run has more for it.
        undo: Instead of scopes: a compensation that begins in a scope that there is.
    """

    block: Block
    scopes: Mapping[int, Mapping[str, Any]]
    nodes: int
    undo: StepKey | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait for so many seconds before the next scope is opened."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Gather:
    """Every scope is over: the outputs, in the order of the indexes, are the output."""


@dataclass(frozen=True, slots=True)
class Broken:
    """So many scopes failed, which is more than is tolerated, and none is under way any more."""

    failed: int


Step = Open | Pause | Gather | Broken | Result


def begin(view: RunView, node: PlanStep, now: datetime) -> Step:
    """What the step does first. Results that it reads are in the view."""
    result = admit(view, node, {}, now)
    if result is not None:
        return result
    match node.opens:
        case Group(body=body):
            return _first(view, body, 1, {0: {}})
        case Loop(max=times, body=body):
            return _first(view, body, times, {0: {"iteration": 0, "last": None}})
        case Choice():
            return _choose(view, node, node.opens, now)
        case Fan():
            return _spread_out(view, node, node.opens, now)
        case None:
            raise ValueError(f"step {node.name} opens nothing")


def go_on(view: RunView, node: PlanStep, look: Look) -> Step:
    """What the step does next."""
    match node.opens:
        case Group() | Choice():
            return _passed(look.ends[0])
        case Loop():
            return _again(view, node, node.opens, look)
        case Fan():
            return _fill_up(view, node, node.opens, look)
        case None:
            raise ValueError(f"step {node.name} opens nothing")


def items(view: RunView, node: PlanStep, now: datetime) -> tuple[Any, list[Any]]:
    """What a `forEach` is over, as it was written, and its items.

    Raises:
        ExpressionError: It cannot be evaluated, or is neither a list nor an object.
    """
    if not isinstance(node.opens, Fan):
        raise TypeError(f"step {node.name} has no items")
    if node.id not in view.items:
        bound = view.bindings(node.reads, {}, now)
        if ORIGINALS in bound:  # a large list is wanted itself, however large
            bound[ORIGINALS] = {name: bound["steps"][name]["output"] for name in bound[ORIGINALS]}
        value = node.opens.items.evaluate(bound)
        try:
            view.items[node.id] = (value, list(items_of(value)))
        except ValueError as error:
            raise ExpressionError(f"{node.path}.{error}") from error
    return view.items[node.id]


def gathered(value: Any, outputs: Mapping[int, Any], size: int) -> Any:
    """The output of a `forEach` over ``value``: a list, or an object with the same keys."""
    found = [outputs.get(index) for index in range(size)]
    return dict(zip(sorted(value), found, strict=True)) if isinstance(value, Mapping) else found


def broken(block: Block, count: int, index: int, error: Mapping[str, Any]) -> Result:
    """The failure of a `forEach` of which ``count`` items failed, ``index`` being the first of them."""
    message = f"{count} of {block.size} items failed; item {index}: {error.get('message', '')}"
    details = {"failed": count, "index": index}
    return failed(StepError(str(error.get("type", ErrorType.INTERNAL)), message, "ItemsFailed", False, details))


def _first(view: RunView, body: int, size: int, scopes: Mapping[int, Mapping[str, Any]], nodes: int = 0) -> Open:
    block = Block(body, size, opened=len(scopes), target=len(scopes))
    return Open(block, scopes, nodes or view.plan.bodies[body].nodes * len(scopes))


def _choose(view: RunView, node: PlanStep, opens: Choice, now: datetime) -> Step:
    try:
        bound = view.bindings(node.reads, {}, now)
        for when, body in opens.cases:
            if when is None or when.evaluate(bound):
                return _first(view, body, 1, {0: {}})
    except ExpressionError as error:
        return failed(StepError(ErrorType.EXPRESSION, str(error), retriable=False))
    return succeeded(None)


def _passed(end: Result) -> Result:
    """The end of the only scope is the end of the step; a condition on its step alone skips nothing around it."""
    if end.state is State.FAILED:
        return Result(State.FAILED, error=end.error)
    return Result(State.SUCCEEDED, end.output)


def _again(view: RunView, node: PlanStep, opens: Loop, look: Look) -> Step:
    block, last = look.block, look.ends[look.block.opened - 1]
    if last.state is State.FAILED:
        return Result(State.FAILED, error=last.error)
    if not look.paused and opens.until is not None:
        try:
            bound = view.bindings(node.reads, {}, look.now) | {"iteration": block.opened - 1, "last": last.output}
            if opens.until.evaluate(bound):
                return Result(State.SUCCEEDED, last.output)
        except ExpressionError as error:
            return failed(StepError(ErrorType.EXPRESSION, str(error), retriable=False))
    if block.opened == block.size:
        if opens.until is None:
            return Result(State.SUCCEEDED, last.output)
        message = f"`until` was not true after {block.size} times, which is `max`"
        return failed(StepError(ErrorType.EXHAUSTED, message, retriable=False, details={"iterations": block.size}))
    if opens.delay and not look.paused:
        return Pause(opens.delay)
    index = block.opened
    after = replace(block, opened=index + 1, settled=index, target=index + 1)
    return Open(after, {index: {"iteration": index, "last": last.output}}, view.plan.bodies[opens.body].nodes)


def _spread_out(view: RunView, node: PlanStep, opens: Fan, now: datetime) -> Step:
    try:
        value, found = items(view, node, now)
    except ExpressionError as error:
        return failed(StepError(ErrorType.EXPRESSION, str(error), retriable=False))
    if not found:
        return succeeded(gathered(value, {}, 0))
    return _opening(view, opens, found, Block(opens.body, len(found)), 0)


def _fill_up(view: RunView, node: PlanStep, opens: Fan, look: Look) -> Step:
    block, ends = look.block, look.ends
    settled, failures = block.settled, block.failed
    while settled in ends:
        failures += ends[settled].state is State.FAILED
        settled += 1
    beyond = [end for index, end in ends.items() if index >= settled]
    over = settled + len(beyond)
    count = failures + sum(end.state is State.FAILED for end in beyond)
    block = replace(block, settled=settled, failed=failures)
    if not opens.tolerance.takes(count, block.size):
        return Broken(count) if over == block.opened else Open(replace(block, target=block.opened), {}, 0)
    if over == block.size:
        return Gather()
    _, found = view.items[node.id]
    return _opening(view, opens, found, block, over)


def _opening(view: RunView, opens: Fan, found: list[Any], block: Block, over: int) -> Open:
    """The next items, as many as may be under way, not too far ahead of the oldest one that is not over."""
    body = view.plan.bodies[opens.body]
    under_way = block.opened - over
    room = min(
        opens.parallel - under_way,
        block.size - block.opened,
        block.settled + limits.WINDOW - block.opened,
        max(1, ROWS // len(body.roots)),
    )
    indexes = range(block.opened, block.opened + max(0, room))
    under_way += len(indexes)
    last = block.opened + len(indexes) == block.size
    step = under_way if last else min(under_way, max(1, opens.parallel // EIGHTH))
    nodes = min(body.nodes * block.size, 2**31 - 1) if block.opened == 0 else 0
    after = replace(block, opened=block.opened + len(indexes), target=over + step)
    return Open(after, {index: {"item": found[index], "index": index} for index in indexes}, nodes)
