"""Rerun: what of an old run a new one keeps, and with which steps it begins. Pure.

A step runs again when it is named, when it has no result that could be kept, or when it needs one that runs again. All
others keep what they gave: their rows are copied within the store, and nobody reads their outputs on the way. `END` is
no step to be named: it always judges anew.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from leat_engine.errors import Reason, Rejected
from leat_engine.job import END
from leat_engine.plan import Plan
from leat_engine.records import Join, Root, RunRecord
from leat_engine.result import ErrorType, Phase, State
from leat_engine.spelling import unknown

KEEPABLE = frozenset({State.SUCCEEDED, State.SKIPPED, State.OMITTED})
"""Ends that may be kept. An omitted step is judged by the ends of its needs alone: it is kept when all of these are."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """How a run begins that keeps ``kept``.

    Attributes:
        roots: Steps that are ready at once: everything that they need is kept. `END` may be among them.
        joins: Steps of whose needs only some are kept: the store counts the others.
    """

    kept: tuple[int, ...]
    roots: tuple[Root, ...]
    joins: tuple[Join, ...]


def begin_again(
    plan: Plan, old: RunRecord, states: Mapping[int, State], start: Sequence[str], path: str = "spec.rerun"
) -> Beginning:
    """How a new run of the plan goes on from an old one.

    Args:
        plan: Of the old run's revision.
        old: The run that was.
        states: How its steps ended, by node; nodes that never began are missing, and so is what was
            undone since.
        start: Names of the steps to begin with; without any, those that did not end well.
        path: Where the request is in its resource.

    Raises:
        Rejected: There is nothing to begin with, or the old run has not ended.
    """
    if not old.phase.done:
        found = f"run {old.name} is {old.phase.label}, expected one that has ended"
        raise Rejected([Reason(f"{path}.of", f"{found}: wait for its end, or set its `cancel`")])
    if not start and old.phase is Phase.SUCCEEDED:
        message = f"is required, as run {old.name} succeeded: name the steps to begin with"
        raise Rejected([Reason(f"{path}.from", message)])
    own = {plan.steps[node].name: node for node in own_nodes(plan)}
    wrong = [_no_start(name, own, plan, path) for name in start if name not in own]
    if wrong:
        raise Rejected(wrong)
    again = runs_again(plan, states, (own[name] for name in start))
    return beginning(plan, frozenset(own.values()) - again)


def clean_again(plan: Plan, old: RunRecord, path: str = "spec.rerun") -> Beginning:
    """How a new run begins that only goes on with what an old one could not undo: with `END`.

    Raises:
        Rejected: There is nothing to go on with.
    """
    if not old.phase.done or old.error is None or old.error.get("type") != ErrorType.COMPENSATION_FAILED:
        how = old.phase.label if old.error is None else f"{old.phase.label}: {old.error.get('type')}"
        message = f"run {old.name} is {how}; expected one that failed with {ErrorType.COMPENSATION_FAILED}"
        raise Rejected([Reason(f"{path}.compensate", f"{message}: name steps by `from`, or leave this out")])
    return Beginning((), (Root(END, plan.steps[END].pool),), ())


def undone_by(plan: Plan, compensations: Iterable[int]) -> frozenset[int]:
    """The steps of a run's own scope of which these compensations, in any scope, undo something."""
    found = set()
    for node in compensations:
        undoes = plan.steps[node].undoes
        body = -undoes if undoes < 0 else plan.steps[undoes].body
        while body:
            undoes = plan.bodies[body].opener
            body = plan.steps[undoes].body
        found.add(undoes)
    return frozenset(found)


def own_nodes(plan: Plan) -> frozenset[int]:
    """The nodes of a run's own scope, without `END`: all that `END` needs, directly or not.

    What a step opens belongs to that step: it is kept with it, or runs again with it.
    """
    found: set[int] = set()
    todo = deque([END])
    while todo:
        for edge in plan.steps[todo.popleft()].needs:
            if edge.step not in found:
                found.add(edge.step)
                todo.append(edge.step)
    return frozenset(found)


def runs_again(plan: Plan, states: Mapping[int, State], start: Iterable[int]) -> frozenset[int]:
    """The nodes that run again, without `END`: those of ``start``, those without a result, all that need such a one."""
    again = {*start, *(node for node in own_nodes(plan) if states.get(node) not in KEEPABLE)}
    todo = deque(again)
    while todo:
        for follower in plan.steps[todo.popleft()].next:
            if follower != END and follower not in again:
                again.add(follower)
                todo.append(follower)
    return frozenset(again)


def beginning(plan: Plan, kept: frozenset[int]) -> Beginning:
    """What is ready, and what is counted, in a run whose nodes ``kept`` have ended."""
    roots: list[Root] = []
    joins: list[Join] = []
    for node in (plan.steps[number] for number in (END, *sorted(own_nodes(plan) - kept))):
        missing = sum(edge.step not in kept for edge in node.needs)
        if not missing:
            roots.append(Root(node.id, node.pool))
        elif missing < len(node.needs):
            joins.append(Join(node.id, len(node.needs), missing))
    return Beginning(tuple(sorted(kept)), tuple(roots), tuple(joins))


def _no_start(name: str, own: Mapping[str, int], plan: Plan, path: str) -> Reason:
    if name in plan.by_name:
        message = f"step {name!r} is within another step, which runs again as a whole: name that"
        return Reason(f"{path}.from", message)
    return Reason(f"{path}.from", unknown("step", name, own))
