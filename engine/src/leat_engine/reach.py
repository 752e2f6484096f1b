"""Which steps no run can come to, whatever its inputs are and whoever answers what. Pure.

Each step is given the ends that it may have, from those of its needs. That is generous: what is left out cannot happen,
what is in may still not.
"""

from collections.abc import Iterable, Iterator, Mapping
from graphlib import TopologicalSorter

from leat_engine.errors import ExpressionError
from leat_engine.expression import Template
from leat_engine.graph import TAKEN_BY_DEFAULT, Edge
from leat_engine.plan import END, Plan, PlanStep
from leat_engine.result import State

Ends = frozenset[State]

_ANY: Ends = frozenset({State.SUCCEEDED, State.FAILED})
_NOT_RUN: Ends = frozenset({State.OMITTED})
_EFFORT = 20_000
"""Steps that are looked at for needs that exclude one another; beyond that they are not looked for."""


def never_run(plan: Plan) -> Iterator[tuple[PlanStep, str]]:
    """Every step that never runs, and why; of several in a row, the first one."""
    steps = {step.id: step for step in plan.steps if step.id > END}
    needs = {node: [edge.step for edge in step.needs] for node, step in steps.items()}
    ordered = [steps[node] for node in TopologicalSorter(needs).static_order()]
    own = {step.id: _own(step) for step in ordered}
    possible = _possible(ordered, own, {})
    branched = any(edge.on != TAKEN_BY_DEFAULT for step in ordered for edge in step.needs)
    effort = _EFFORT
    for step in ordered:
        if _constant(step.when) is False:
            yield step, "`when` is always false"
        elif (edge := _impossible(step, possible)) is not None:
            if possible[edge.step] != _NOT_RUN:
                name = plan.steps[edge.step].name
                why = f"it needs {name!r} to be {_words(edge.on)}, and that is always {_words(possible[edge.step])}"
                yield step, why
        elif branched and effort > 0 and len(step.needs) > 1:
            before = _before(step, needs)
            effort -= len(before)
            granted = {edge.step: possible[edge.step] & edge.on for edge in step.needs}
            together = _possible([each for each in ordered if each.id in before], own, granted)
            if (edge := _impossible(step, together)) is not None:
                yield step, _excluded(plan, step, edge)


def _before(step: PlanStep, needs: Mapping[int, Iterable[int]]) -> set[int]:
    """All that a step needs, and what that needs."""
    found: set[int] = set()
    left = [edge.step for edge in step.needs]
    while left:
        if (node := left.pop()) not in found:
            found.add(node)
            left += needs[node]
    return found


def _possible(ordered: Iterable[PlanStep], own: Mapping[int, Ends], granted: Mapping[int, Ends]) -> dict[int, Ends]:
    """The ends that each step may have in a run that nobody stops.

    Args:
        ordered: The steps, each behind all that it needs. Needs do not lead into bodies or out of them.
        own: Their ends if their needs let them begin.
        granted: Those of some steps that have no others.
    """
    possible: dict[int, Ends] = {}
    for step in ordered:
        ends = _NOT_RUN if _impossible(step, possible) is not None else own[step.id]
        if any(possible[edge.step] - edge.on for edge in step.needs):
            ends |= _NOT_RUN
        possible[step.id] = ends & granted.get(step.id, ends)
    return possible


def _impossible(step: PlanStep, possible: Mapping[int, Ends]) -> Edge | None:
    """A need that is never satisfied."""
    return next((edge for edge in step.needs if not possible[edge.step] & edge.on), None)


def _own(step: PlanStep) -> Ends:
    """The ends of a step that its needs let begin."""
    condition = _constant(step.when)
    if condition is False:
        return frozenset({State.SKIPPED})
    ends = _ANY
    if step.kind == "fail":
        ends = frozenset({State.FAILED})
    elif step.kind == "transform" and step.fields.constant and condition is True:
        ends = frozenset({State.SUCCEEDED})
    return ends if condition is True else ends | {State.SKIPPED, State.FAILED}


def _constant(when: Template | None) -> bool | None:
    """What a condition is in every run; None if that depends."""
    if when is None:
        return True
    if any(spot.reads for spot in when.expressions()):
        return None
    try:
        return bool(when.evaluate({}))
    except ExpressionError:  # such as 1 / 0 > 1: a condition like others that fail
        return None


def _excluded(plan: Plan, step: PlanStep, excluded: Edge) -> str:
    """Why a need is never satisfied when the others are."""
    others = [edge for edge in step.needs if edge is not excluded]
    telling = [edge for edge in others if edge.on != TAKEN_BY_DEFAULT] or others
    given = " and ".join(f"{plan.steps[edge.step].name!r} to be {_words(edge.on)}" for edge in telling)
    name = plan.steps[excluded.step].name
    return f"it needs {given}, and then {name!r}, which it needs too, is never {_words(excluded.on)}"


def _words(states: Ends) -> str:
    return " or ".join(dict.fromkeys(state.label for state in sorted(states)))
