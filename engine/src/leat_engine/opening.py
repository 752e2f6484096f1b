"""Scopes on their way into the store: what the committer writes of them, and how a view learns of them."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from leat_engine.job import StepKey
from leat_engine.plan import PlanStep
from leat_engine.result import State
from leat_engine.store.writes import Opened, Openings
from leat_engine.unfold import Open
from leat_engine.view import RunView


@dataclass(frozen=True, slots=True)
class Opening:
    """An attempt of a step with bodies that opens scopes, and waits for them."""

    view: RunView
    step: int
    attempt: int
    open: Open

    @property
    def key(self) -> StepKey:
        """The address of the step."""
        return StepKey(self.view.run_id, self.view.scope, self.step)


def written_openings(openings: Sequence[Opening], take: Callable[[PlanStep], bool]) -> tuple[Openings, list[PlanStep]]:
    """The columns of the statement, and the first steps for which the runner has reserved slots."""
    columns, taken = Openings(), list[PlanStep]()
    for opening in openings:
        view, block = opening.view, opening.open.block
        seconds = view.plan.steps[opening.step].timeout
        columns.opener(opening.key, opening.attempt, block, opening.open.nodes, (view.epoch, seconds))
        for index, root in _first_steps(opening):
            node = view.plan.steps[root]
            taking = take(node)
            if taking:
                taken.append(node)
            state = State.CLAIMED if taking else State.READY
            columns.root(opening.key, index, root, state, (node.pool, view.priority))
    return columns, taken


def _first_steps(opening: Opening) -> Iterator[tuple[int, int]]:
    """What is to begin: the index of its scope, counted from the base of the block, and its node."""
    block, undo = opening.open.block, opening.open.undo
    if undo is not None:
        yield undo.scope - block.base, undo.step
    for index in opening.open.scopes:
        for root in opening.view.plan.bodies[block.body].roots:
            yield index, root


def not_granted(taken: Sequence[PlanStep], opened: Opened) -> Iterator[PlanStep]:
    """Those of the taken steps that the store did not grant."""
    granted = Counter(node for steps in opened.claimed.values() for node in steps)
    for node in taken:
        if granted[node.id] <= 0:
            yield node
        granted[node.id] -= 1


def enter(opening: Opening, opened: Opened) -> bool:
    """Know the scopes that were opened; False when the store refused.

    One whose first steps are all this runner's is known completely, one that has none of them here not at all.
    """
    view, block = opening.view, opening.open.block
    view.live.discard(opening.step)
    base = opened.bases.get(opening.key)
    if base is None:
        view.share()
        return False
    if (undo := opening.open.undo) is not None:
        if undo.step not in opened.claimed.get((view.run_id, undo.scope), ()):
            around = view.scopes[undo.scope]
            around.share()
            around.close()
        return True
    roots = view.plan.bodies[block.body].roots
    for index, names in opening.open.scopes.items():
        mine = len(opened.claimed.get((view.run_id, base + index), ()))
        if mine:
            view.open(base + index, block.body, index, names).complete = mine == len(roots)
        if mine < len(roots):
            view.share()
    return True
