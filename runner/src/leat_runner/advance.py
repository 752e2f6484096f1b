"""One attempt of a step with bodies: look how its scopes are, and tell the committer what is next."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from leat_engine.commit import Ended, Late
from leat_engine.crash import crash_point
from leat_engine.decide import failed, succeeded
from leat_engine.errors import ExpressionError
from leat_engine.job import StepKey
from leat_engine.kind import Kind, outlives_runner
from leat_engine.limits import OUTPUT_BYTES
from leat_engine.opener import Fan
from leat_engine.opening import Opening
from leat_engine.records import Block
from leat_engine.result import ErrorType, Result, StepError
from leat_engine.unfold import Broken, Gather, Look, Open, Pause, Step, begin, broken, gathered, go_on, items
from leat_runner.attempt import Attempt, cancelled
from leat_runner.desk import persistently
from leat_runner.forsake import forsake_all

LOOK = 0.5
"""Seconds between two looks whether something runs yet in a body that takes too long."""


class Bodies(Protocol):
    """Knows what is inside of bodies that take too long."""

    async def still(self, key: StepKey) -> int:
        """How many steps run yet inside; they are interrupted."""
        ...

    async def left(self, key: StepKey, nodes: Sequence[int]) -> Sequence[StepKey]:
        """Steps inside, of these nodes, that were cancelled and may have left something behind."""
        ...


class Scopes(Protocol):
    """Knows which scopes steps have opened, and how these ended. The store does."""

    @property
    def bodies(self) -> Bodies:
        """What it knows of bodies that take too long."""
        ...

    async def block(self, key: StepKey) -> Block | None:
        """The scopes that a step has opened, or None."""
        ...

    async def ends(self, run_id: UUID, scopes: range, node: int, *, outputs: bool) -> Mapping[int, Result]:
        """How a node has ended in scopes, by their numbers; those where it has not are missing."""
        ...

    async def gather_bytes(self, run_id: UUID, scopes: range, node: int) -> int:
        """Bytes of JSON of the outputs of a node in scopes."""
        ...

    async def first_failed(self, run_id: UUID, scopes: range, node: int) -> tuple[int, Mapping[str, Any]] | None:
        """The first of the scopes in which a node failed, and its error."""
        ...


async def advance(attempt: Attempt, store: Scopes, kinds: Mapping[str, Kind]) -> Ended | Late | Opening:
    """What follows for the step. Results that its expressions read are in the view."""
    view, node = attempt.view, attempt.node
    if view.halted:
        return _ended(attempt, cancelled(view))
    block = await persistently("block", lambda: store.block(attempt.key))
    if block is not None and block.shut:
        return await _outlasted(attempt, store.bodies, kinds)
    now = attempt.clock()
    step = begin(view, node, now) if block is None else await _looked(attempt, block, store, now)
    match step:
        case Open():
            return Opening(view, node.id, attempt.number, step)
        case Pause(seconds):
            return Late(view, node.id, attempt.number, seconds)
        case Gather() if block is not None:
            return _ended(attempt, await _gather(attempt, block, store, now))
        case Broken(count) if block is not None:
            return _ended(attempt, await _broken(attempt, block, count, store))
        case Result():
            return _ended(attempt, step)
        case _:
            raise ValueError(f"step {node.name} has not opened anything yet")


async def _outlasted(attempt: Attempt, bodies: Bodies, kinds: Mapping[str, Kind]) -> Ended | Late:
    """The body took too long: the step fails as soon as nothing runs inside any more."""
    view, node = attempt.view, attempt.node
    crash_point("before still")
    running = await persistently("still", lambda: bodies.still(attempt.key))
    crash_point("after still")
    if running:
        return Late(view, node.id, attempt.number, LOOK)
    outliving = [step.id for step in view.plan.steps if outlives_runner(kinds.get(step.kind))]
    if outliving:
        left = await persistently("left", lambda: bodies.left(attempt.key, outliving))
        await forsake_all(view, left, kinds)
    # A migration may have taken the limit away since.
    what = "its time" if node.timeout is None else f"timeout of {node.timeout:g} s"
    return _ended(attempt, failed(StepError(ErrorType.TIMEOUT, f"{what} passed", retriable=False)))


async def _looked(attempt: Attempt, block: Block, store: Scopes, now: datetime) -> Step:
    view, node = attempt.view, attempt.node
    fan = isinstance(node.opens, Fan)
    if fan:
        try:
            items(view, node, now)
        except ExpressionError as error:
            return failed(StepError(ErrorType.EXPRESSION, str(error), retriable=False))
    scopes = range(block.base + block.settled, block.base + block.opened)
    found = await persistently(
        "ends", lambda: store.ends(view.run_id, scopes, _result(attempt, block), outputs=not fan)
    )
    ends = {scope - block.base: end for scope, end in found.items()}
    return go_on(view, node, Look(block, ends, attempt.resumed, now))


async def _gather(attempt: Attempt, block: Block, store: Scopes, now: datetime) -> Result:
    view, scopes, node = attempt.view, _scopes(block), _result(attempt, block)
    size = await persistently("gather_bytes", lambda: store.gather_bytes(view.run_id, scopes, node))
    if size > OUTPUT_BYTES:
        message = (
            f"the outputs of its {block.size} items have {size} bytes, the limit is {OUTPUT_BYTES}: "
            "give less by `output` of a body, or return references to where the data is"
        )
        return failed(StepError(ErrorType.TOO_LARGE, message, retriable=False, details={"bytes": size}))
    found = await persistently("ends", lambda: store.ends(view.run_id, scopes, node, outputs=True))
    value, _ = items(view, attempt.node, now)
    outputs = {scope - block.base: end.output for scope, end in found.items()}
    return succeeded(gathered(value, outputs, block.size))


async def _broken(attempt: Attempt, block: Block, count: int, store: Scopes) -> Result:
    scopes, node = _scopes(block), _result(attempt, block)
    found = await persistently("first_failed", lambda: store.first_failed(attempt.view.run_id, scopes, node))
    scope, error = found or (block.base, {})
    return broken(block, count, scope - block.base, error)


def _scopes(block: Block) -> range:
    return range(block.base, block.base + block.size)


def _result(attempt: Attempt, block: Block) -> int:
    return attempt.view.plan.bodies[block.body].result


def _ended(attempt: Attempt, result: Result) -> Ended:
    return Ended(attempt.view, attempt.node.id, attempt.number, result)
