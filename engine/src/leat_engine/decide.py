"""The decider: what follows from the steps that just ended. Pure; the committer writes what it returns.

A step is *decided* here when the ends of all its needs are known: it is skipped, omitted, done at once (kinds without
effects), or runs. When some need is not known to this runner, the step is *counted*: the store adds the arrivals up,
and whoever brings the count to zero owns the step.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from leat_engine.errors import ExpressionError
from leat_engine.job import dumps
from leat_engine.limits import OUTPUT_BYTES
from leat_engine.plan import END, PlanStep
from leat_engine.result import ErrorType, Phase, Result, State, StepError
from leat_engine.view import UNLOADED, RunView, handlers, unhandled


@dataclass(frozen=True, slots=True)
class Finished:
    """An attempt of this runner that is over for good."""

    step: int
    attempt: int
    result: Result


@dataclass(frozen=True, slots=True)
class Next:
    """A step that the finished ones lead to.

    Attributes:
        state: What it becomes once nothing is missing: CLAIMED (this runner goes on with it), READY (for the queue), or
            an end.
        missing: Needs that are still to arrive after these; 0 for a decided step.
        result: The end, if ``state`` is one.
    """

    step: int
    state: State
    missing: int = 0
    result: Result | None = None


@dataclass(frozen=True, slots=True)
class End:
    """How the run ends."""

    phase: Phase
    output: Any = None
    error: Mapping[str, Any] | None = None


@dataclass(slots=True)
class Decision:
    """All that follows, to be written whole or not at all.

    Attributes:
        end: Set when the run ends with this commit.
        stop: The error that makes the run fail while other steps of it may still be under way.
        closes: The scope, which is a body's, is over with this commit: its opener is told.
    """

    view: RunView
    finished: Sequence[Finished]
    next: list[Next] = field(default_factory=list)
    end: End | None = None
    stop: Mapping[str, Any] | None = None
    closes: bool = False


Take = Callable[[PlanStep], bool]
"""Asks the runner whether it takes a step itself; a yes reserves a slot."""


def decide(view: RunView, finished: Sequence[Finished], take: Take, now: datetime) -> Decision:
    """What follows from ``finished``, which all belong to the scope of ``view``."""
    fresh = {done.step: done.result for done in finished}
    decision = Decision(view, finished)
    if view.stopping is not None:
        if END in fresh:
            decision.end = settle(view, fresh, now)
        return decision
    if view.shut:
        return decision
    reached = _spread(decision, fresh, now)
    failure = _fatal(view, fresh)
    if failure is not None and END not in fresh:
        _fail(decision, failure, fresh)
        return decision
    for node, missing in reached:  # only now: a slot that is taken for a step which never begins is gone for good
        decision.next.append(Next(node.id, State.CLAIMED if take(node) else State.READY, missing))
    if END in fresh:
        decision.end = settle(view, fresh, now)
    decision.closes = view.parent is not None and view.plan.bodies[view.body].result in fresh
    return decision


def _spread(decision: Decision, fresh: dict[int, Result], now: datetime) -> list[tuple[PlanStep, int]]:
    """Add the ends that can be told at once to ``decision`` and ``fresh``; gives the other steps and what they miss."""
    view, plan = decision.view, decision.view.plan
    todo = deque(fresh)
    arrived: dict[int, int] = {}
    runs: list[PlanStep] = []
    decided: set[int] = set()
    while todo:
        for follower in plan.steps[todo.popleft()].next:
            arrived[follower] = arrived.get(follower, 0) + 1
            node = plan.steps[follower]
            if follower in decided or not _ends_known(view, node, fresh):
                continue
            decided.add(follower)
            result = admit(view, node, fresh, now)
            if result is None:
                runs.append(node)
            else:
                fresh[follower] = result
                decision.next.append(Next(follower, result.state, 0, result))
                todo.append(follower)
    counted = [(plan.steps[node], count) for node, count in arrived.items() if node not in decided]
    return [(node, 0) for node in runs] + [(node, len(node.needs) - count) for node, count in counted]


def _ends_known(view: RunView, node: PlanStep, fresh: Mapping[int, Result]) -> bool:
    if node.id <= END and not view.complete:
        return False  # an inner failure that this runner has not seen decides how the scope ends
    return all(edge.step in fresh or edge.step in view.results for edge in node.needs)


def admit(view: RunView, node: PlanStep, fresh: Mapping[int, Result], now: datetime) -> Result | None:
    """The end of ``node`` if it can be told without effects, or None when a runner has to execute it.

    The ends of all its needs are known.
    """
    if node.id == END:
        if view.plan.cleans and view.outcome is None:
            return None  # what is to be cleaned up is known to the store
        return Result(State.SUCCEEDED) if view.stopping is not None or not _unloaded(view, node, fresh) else None
    if node.id < END:
        return None if _unloaded(view, node, fresh) else _close(view, node, fresh, now)
    for edge in node.needs:
        state = (fresh.get(edge.step) or view.results[edge.step]).state
        if state not in edge.on:
            wanted = " or ".join(dict.fromkeys(s.label for s in sorted(edge.on)))
            found = "could never run" if state is State.OMITTED else f"is {state.label}"
            message = f"needs step {view.plan.steps[edge.step].name} to be {wanted}; it {found}"
            return Result(State.OMITTED, error=StepError("Omitted", message, retriable=False).as_json())
    if node.when is None and not node.pure:
        return None
    if _unloaded(view, node, fresh):
        return None
    try:
        bound = view.bindings(node.reads, fresh, now)
        if node.when is not None and not node.when.evaluate(bound):
            return Result(State.SKIPPED)
        return _pure(node, node.fields.evaluate(bound)) if node.pure else None
    except ExpressionError as error:
        return failed(StepError(ErrorType.EXPRESSION, str(error), retriable=False))


def _unloaded(view: RunView, node: PlanStep, fresh: Mapping[int, Result]) -> bool:
    for read in node.reads:
        result = view.result(read, fresh)
        if result is None or result.output is UNLOADED:
            return True
    return bool(node.looks) and bool(view.unfetched(node, fresh))


def _close(view: RunView, node: PlanStep, fresh: Mapping[int, Result], now: datetime) -> Result:
    """How a scope ends that is a body's: with the error of its first failed step that nothing took, or its output."""
    results = {**view.results, **fresh}
    if lost := unhandled(view.plan, results):
        return Result(State.FAILED, error=run_error(view, lost, results))
    if node.output is None:
        return Result(State.SUCCEEDED)
    try:
        return succeeded(node.output.evaluate(view.bindings(node.reads, fresh, now)))
    except ExpressionError as error:
        return failed(StepError(ErrorType.EXPRESSION, str(error), retriable=False))


def _pure(node: PlanStep, fields: Any) -> Result:
    if node.kind == "transform":
        return succeeded(fields)
    details = fields.get("details") or {}
    reason = fields.get("reason") or ""
    return failed(StepError(ErrorType.FAIL, fields["message"], reason, retriable=False, details=details))


def succeeded(output: Any) -> Result:
    """A success, or the failure that its output is larger than the store takes."""
    size = len(dumps(output)) if output is not None else 0
    if size > OUTPUT_BYTES:
        message = f"the output has {size} bytes, the limit is {OUTPUT_BYTES}: return a reference to where the data is"
        return failed(StepError(ErrorType.TOO_LARGE, message, retriable=False, details={"bytes": size}))
    return Result(State.SUCCEEDED, output)


def failed(error: StepError) -> Result:
    """A failure that no further attempt follows."""
    return Result(State.FAILED, None, error.as_json())


def _fatal(view: RunView, fresh: Mapping[int, Result]) -> int | None:
    """A step whose failure nothing takes, neither in its scope nor around it."""
    failures = (node for node, result in fresh.items() if result.state is State.FAILED)
    return next((n for n in failures if view.plan.steps[n].fatal and not handlers(view.plan, n)), None)


def _fail(decision: Decision, node: int, fresh: dict[int, Result]) -> None:
    """Nothing new starts. Alone on the run, this commit ends it; otherwise the store waits for the others."""
    view = decision.view
    decision.next = [new for new in decision.next if new.step > END]
    error = run_error(view, [node], fresh)
    alone = len(view.scopes) == 1 and view.complete and not view.plan.cleans
    if alone and not view.live.difference(done.step for done in decision.finished):
        decision.next.append(Next(END, State.SUCCEEDED, 0, Result(State.SUCCEEDED)))
        decision.end = End(Phase.FAILED, error=error)
    else:
        decision.stop = error


def settle(view: RunView, fresh: Mapping[int, Result], now: datetime) -> End:
    """The phase and the output of the run; every result is known."""
    if view.outcome is not None:
        return End(view.outcome, view.output if view.outcome is Phase.SUCCEEDED else None, view.error)
    if view.stopping is not None:
        return End(view.stopping, error=view.error)
    results = {**view.results, **fresh}
    lost = unhandled(view.plan, results)
    if lost:
        return End(Phase.FAILED, error=run_error(view, lost, results))
    if END in fresh and fresh[END].state is State.FAILED:  # a large output that it looks into could not be read
        return End(Phase.FAILED, error=fresh[END].error)
    if view.plan.output is None:
        return End(Phase.SUCCEEDED)
    try:
        output = view.plan.output.evaluate(view.bindings(view.plan.steps[END].reads, fresh, now))
    except ExpressionError as error:
        return End(Phase.FAILED, error=StepError(ErrorType.EXPRESSION, f"output: {error}", retriable=False).as_json())
    result = succeeded(output)
    return End(Phase.FAILED, error=result.error) if result.state is State.FAILED else End(Phase.SUCCEEDED, output)


def run_error(view: RunView, nodes: Iterable[int], results: Mapping[int, Result]) -> dict[str, Any]:
    """The error of a scope: that of its first failed step, with the step's name in the message."""
    node = min(nodes)
    error = dict(results[node].error or {})
    name = view.plan.steps[view.plan.bodies[-node].opener if node < 0 else node].name
    return {**error, "message": f"step {name} failed: {error.get('message', '')}", "step": name}
