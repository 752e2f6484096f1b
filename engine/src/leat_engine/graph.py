"""The edges between the steps of a plan, and what makes a set of edges no plan: unknown ends, cycles."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from leat_engine.errors import Reason
from leat_engine.result import State
from leat_engine.spec.workflow import Need
from leat_engine.spelling import unknown

END = 0
"""The node that ends a scope: it needs every leaf, evaluates the scope's output and settles its phase."""

DONE = frozenset(state for state in State if state.done)
TAKEN_BY_DEFAULT = frozenset({State.SUCCEEDED, State.SKIPPED})
_ON = {
    "Succeeded": frozenset({State.SUCCEEDED}),
    "Failed": frozenset({State.FAILED}),
    "Skipped": frozenset({State.SKIPPED, State.OMITTED}),
    "Finished": DONE,
}
_CYCLES = 10


@dataclass(frozen=True, slots=True)
class Edge:
    """A need of a step: the predecessor's node, and the states of it that satisfy the edge."""

    step: int
    on: frozenset[State]


def edges_of(needs: Sequence[Need], reads: Iterable[str], by_name: Mapping[str, int]) -> tuple[Edge, ...]:
    """The edges of a step: its written needs, and one for each step it reads without having written it."""
    taken = {need.step: taken_states(need) for need in needs}
    for name in reads:
        taken.setdefault(name, TAKEN_BY_DEFAULT)
    return tuple(Edge(by_name[name], on) for name, on in taken.items() if name in by_name)


def taken_states(need: Need) -> frozenset[State]:
    """The states that satisfy a written need."""
    return TAKEN_BY_DEFAULT if need.on is None else frozenset[State]().union(*(_ON[end] for end in need.on))


def check_needs(
    name: str, needs: Sequence[Need], path: str, names: Iterable[str], others: Mapping[str, str]
) -> Iterator[Reason]:
    """What is wrong with the written needs of the step ``name`` at ``path``.

    ``names``: the steps beside it. ``others``: where steps are that are not.
    """
    names = frozenset(names)
    seen: set[str] = set()
    for index, need in enumerate(needs):
        here = f"{path}.needs[{index}]"
        if need.step == name:
            yield Reason(here, f"step {name!r} needs itself")
        elif need.step not in names and need.step in others:
            yield Reason(here, f"step {need.step!r} is {others[need.step]}")
        elif need.step not in names:
            yield Reason(here, unknown("step", need.step, names))
        elif need.step in seen:
            yield Reason(here, f"step {need.step!r} is needed twice; write one need with every `on`")
        seen.add(need.step)


def cycles(needs: Mapping[int, Iterable[int]]) -> Iterator[list[int]]:
    """Cycles among nodes that need each other, the first node repeated at the end; at most ten of them."""
    left = {node: set(of) - {node} for node, of in needs.items()}
    for _ in range(_CYCLES):
        try:
            TopologicalSorter(left).prepare()
        except CycleError as error:
            cycle: list[int] = error.args[1]
            left[cycle[1]].discard(cycle[0])
            yield cycle[::-1]
        else:
            return
