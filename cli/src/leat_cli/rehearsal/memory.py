"""What a store remembers of a run, for one that is played: scopes that were opened, their ends, what is to undo."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from leat_engine.cleanup import Cleanup
from leat_engine.decide import End, Finished, Next
from leat_engine.job import END, StepKey, dumps
from leat_engine.layout import FINALLY
from leat_engine.records import Block
from leat_engine.result import Phase, Result, State
from leat_engine.view import RunView
from leat_runner.attempt import Attempt


@dataclass(frozen=True, slots=True)
class _Success:
    """A step that succeeded, or a scope. ``commit``: what is decided together has the same number."""

    commit: int
    scope: int
    node: int


class Memory:
    """Of one run.

    ``running`` counts the steps that run in scopes.

    Attributes:
        openers: Attempts of steps that wait for scopes, by the step.
        outcome: How the run ends, once that is settled and it cleans up.
    """

    def __init__(self, running: Callable[[Collection[int]], int]) -> None:
        self._running = running
        self.openers: dict[StepKey, Attempt] = {}
        self.outcome: End | None = None
        self._blocks: dict[StepKey, Block] = {}
        self._over: dict[StepKey, int] = {}
        self._ends: dict[tuple[int, int], Result] = {}
        self._scopes = 0
        self._commits = 0
        self._successes: list[_Success] = []
        self._undo: list[StepKey] = []

    def open(self, opener: Attempt, block: Block) -> tuple[int, bool]:
        """The step waits for its scopes: the number of the first one, and whether enough of them are over already."""
        known = self._blocks.get(opener.key)
        base = self._number(block.size) if known is None else known.base
        self._blocks[opener.key], self.openers[opener.key] = replace(block, base=base), opener
        return base, self._over.get(opener.key, 0) >= block.target

    def _number(self, size: int) -> int:
        base, self._scopes = self._scopes + 1, self._scopes + size
        return base

    def arrive(self, key: StepKey, scope: int, node: int, end: Result) -> bool:
        """A scope is over; True when its opener has waited for this one."""
        self._ends[scope, node] = end
        self._over[key] = self._over.get(key, 0) + 1
        return self._over[key] == self._blocks[key].target

    # -- cleaning up ----------------------------------------------------------------------------------------------

    def note(self, view: RunView, done: Finished, following: Sequence[Next]) -> None:
        """What ended, and what was decided with it, in case that it has to be undone."""
        if not view.plan.undoing:
            return
        self._commits += 1
        results = [(done.step, done.result), *((new.step, new.result) for new in following)]
        for node, result in results:
            if result is not None and result.state is State.SUCCEEDED:
                self._successes.append(_Success(self._commits, view.scope, node))

    def settle(self, view: RunView, end: End) -> None:
        """How the run ends is decided; what it did is listed to be undone, last things first, unless that is well."""
        self.outcome = end
        block = Block(FINALLY, 1, base=self._number(1))
        self._blocks[StepKey(view.run_id, view.scope, END)] = block
        undoing = {undo.node: undo for undo in view.plan.undoing}
        if end.phase is not Phase.SUCCEEDED:
            listed = [one for one in self._successes if one.node in undoing]
            listed.sort(key=lambda one: (one.commit, undoing[one.node].rank, one.scope), reverse=True)
            self._undo = [StepKey(view.run_id, one.scope, undoing[one.node].by) for one in listed]

    def look(self, view: RunView) -> Cleanup:
        """How far the run is that cleans up."""
        if self.outcome is None:
            raise RuntimeError("how the run ends is not settled")
        block = self._blocks[StepKey(view.run_id, view.scope, END)]
        ends = [(key, view.scopes[key.scope].results.get(key.step)) for key in self._undo]
        undone = (State.SUCCEEDED, State.SKIPPED, State.OMITTED)
        first, result = next(((k, r) for k, r in ends if r is None or r.state not in undone), (None, None))
        return Cleanup(
            outcome=self.outcome.phase,
            output=self.outcome.output,
            error=self.outcome.error,
            block=block,
            undo=first,
            undo_state=None if result is None else result.state,
            undo_error=None if result is None else result.error,
            final=self._ends.get((block.base, -FINALLY)),
        )

    # -- bodies that take too long --------------------------------------------------------------------------------

    @property
    def bodies(self) -> "Memory":
        """What is known of them."""
        return self

    def has_opened(self, key: StepKey) -> bool:
        """Whether the step has opened scopes already."""
        return key in self._blocks

    def is_shut(self, key: StepKey) -> bool:
        """Whether the step opens nothing any more."""
        return key in self._blocks and self._blocks[key].shut

    def shut(self, key: StepKey) -> set[int]:
        """Nothing is opened inside any more; the scopes inside, at any depth."""
        within = self.within(key)
        for one, block in self._blocks.items():
            if one == key or one.scope in within:
                self._blocks[one] = replace(block, shut=True)
        return within

    def within(self, key: StepKey) -> set[int]:
        """The scopes inside of a step, at any depth."""
        found = {*range(self._blocks[key].base, self._blocks[key].base + self._blocks[key].opened)}
        for one, block in self._blocks.items():  # outer ones were opened before
            if one.scope in found:
                found.update(range(block.base, block.base + block.opened))
        return found

    async def still(self, key: StepKey) -> int:
        """How many steps run yet inside."""
        return self._running(self.within(key))

    async def left(self, key: StepKey, nodes: Sequence[int]) -> Sequence[StepKey]:  # noqa: ARG002  the port's
        """Nothing outlives a rehearsal."""
        return ()

    # -- bodies ---------------------------------------------------------------------------------------------------

    async def block(self, key: StepKey) -> Block | None:
        """The scopes that a step has opened, or None."""
        return self._blocks.get(key)

    async def ends(self, run_id: UUID, scopes: range, node: int, *, outputs: bool) -> Mapping[int, Result]:  # noqa: ARG002  the port's
        """How a node has ended in scopes."""
        return {scope: self._ends[scope, node] for scope in scopes if (scope, node) in self._ends}

    async def gather_bytes(self, run_id: UUID, scopes: range, node: int) -> int:
        """Bytes of JSON of the outputs of a node in scopes."""
        ends = await self.ends(run_id, scopes, node, outputs=True)
        return sum(len(dumps(end.output)) for end in ends.values() if end.output is not None)

    async def first_failed(self, run_id: UUID, scopes: range, node: int) -> tuple[int, Mapping[str, Any]] | None:
        """The first of the scopes in which a node failed, and its error."""
        ends = await self.ends(run_id, scopes, node, outputs=False)
        return next(((scope, end.error or {}) for scope, end in ends.items() if end.state is State.FAILED), None)
