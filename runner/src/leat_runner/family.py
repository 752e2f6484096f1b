"""Child runs, as one runner has to do with them: it starts them for steps, and wakes steps whose child has ended.

Nothing here is needed again when this process dies: the child is found by the id that its step's try gives it, and what
nobody was told the caretakers sweep up.
"""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

import structlog

from leat_engine.child import Call, Called, child_name, hidden_with, invalid, not_there, outcome_of
from leat_engine.errors import Rejected, StoreUnavailable
from leat_engine.job import Job, StepKey, child_id_of
from leat_engine.plan import END, Plan
from leat_engine.records import Delayed, NewRun, Root, RunRecord
from leat_engine.redaction import Redaction
from leat_engine.result import ErrorType, Failed, Outcome, Parked, StepError, Succeeded
from leat_engine.store.children import Birth, Started
from leat_engine.store.signals import Mine
from leat_engine.view import RunView
from leat_engine.waits import FOREVER
from leat_runner.desk import persistently

if TYPE_CHECKING:
    from leat_runner.attempt import Attempt

AGAIN = 1.0
"""Seconds until a step looks again for a Workflow that is not there."""

log = structlog.get_logger()

Aside = Callable[[Coroutine[Any, Any, Any]], None]
Publish = Callable[[Sequence[Job]], Coroutine[Any, Any, None]]


class Register(Protocol):
    """What is kept of child runs: `store.children`, or where a run is only rehearsed, something in memory."""

    async def call(self, namespace: str, name: str, key: StepKey) -> Called:
        """What there is of a Workflow, for a step that calls it."""
        ...

    async def hear(self, child: UUID) -> RunRecord | None:
        """A child as it is now, if it was started."""
        ...

    async def start(self, mine: Mine, run: NewRun, birth: Birth) -> Started:
        """Let a run enter as the child of a claimed step, once, however often it is called."""
        ...

    async def hide(self, run_id: UUID, texts: Sequence[str]) -> None:
        """Let these texts be shown nowhere in a run that has got them from another one."""
        ...

    async def wake(self, children: Sequence[UUID]) -> list[Job]:
        """Let the steps go on that wait for these runs, as far as they are over."""
        ...


class Archive(Protocol):
    """What a family needs of a store."""

    @property
    def children(self) -> Register:
        """Of child runs."""
        ...

    async def note(self, runner: int, key: StepKey, attempt: int, text: str | None) -> bool:
        """Tell what a step waits for."""
        ...


class Compiled(Protocol):
    """Gives plans."""

    async def get(self, revision_id: str) -> Plan:
        """The plan of a revision."""
        ...


@dataclass(frozen=True, slots=True)
class Household:
    """What a family lives on. ``grace``: seconds that a step waits for a Workflow that is not there."""

    store: Archive
    plans: Compiled
    publish: Publish
    aside: Aside
    grace: float


class Family:
    """The children of a runner's steps. ``runner`` is the id that the store has to know as the claim's."""

    def __init__(self, household: Household) -> None:
        self.runner = 0
        self._of = household
        self._parking: dict[StepKey, UUID] = {}  # steps that are being parked, and their children

    async def call(self, attempt: "Attempt", call: Call, seconds: float | None) -> Outcome:
        """Start the child of the attempt's try, once, and tell how the step ends, or that it waits.

        Args:
            attempt: Whose step calls.
            call: What it calls.
            seconds: That the attempt may take, or None.
        """
        number = attempt.number - attempt.broken_off
        child = child_id_of(attempt.key, number)
        found = await persistently("hear child", lambda: self._of.store.children.hear(child))
        if found is None:
            outcome = await self._start(attempt, call, child, seconds)
            if outcome is not None:
                return outcome
        if not call.wait:
            name = child_name(attempt.view.name, attempt.node.name, child)
            return Succeeded({"run": name, "id": str(child)})
        if found is None or not found.phase.done:
            self._parking[attempt.key] = child
            return _parked(attempt, FOREVER)
        return await self._end(attempt.view, found)

    def parked(self, attempts: Sequence[Delayed]) -> None:
        """These attempts wait in the store now. Those whose child has ended in the meantime are woken."""
        keys = [attempt.key for attempt in attempts if attempt.key in self._parking]
        if keys:
            self._of.aside(self._wake([self._parking.pop(key) for key in keys]))

    def lost(self, run_ids: Sequence[UUID]) -> None:
        """Nothing was parked of these runs."""
        for key in [key for key in self._parking if key.run_id in run_ids]:
            del self._parking[key]

    def left(self, view: RunView) -> None:
        """Nothing of a run is here any more: if it has ended, the step that waits for it goes on."""
        if view.awaited:
            self._of.aside(self._wake([view.run_id]))

    def clear(self) -> None:
        """The runner begins anew: others know more."""
        self._parking.clear()

    async def _wake(self, children: Sequence[UUID]) -> None:
        try:
            await self._of.publish(await self._of.store.children.wake(children))
        except StoreUnavailable as error:
            log.warning("parents_not_woken", children=len(children), reason=str(error))  # the caretakers do it

    # -- start ----------------------------------------------------------------------------------------------------

    async def _start(self, attempt: "Attempt", call: Call, child: UUID, seconds: float | None) -> Outcome | None:
        """None when the child is there; else what the step has to do instead."""
        view, children = attempt.view, self._of.store.children
        called = await persistently("call", lambda: children.call(view.namespace, call.workflow, attempt.key))
        if called.revision is None:
            return await self._absent(attempt, call, called)
        revision = called.revision
        plan = await persistently("plan", lambda: self._of.plans.get(revision))
        try:
            run = _new_run(attempt, call, child, plan)
        except Rejected as rejected:
            reasons = "; ".join(map(str, rejected.reasons))
            return Failed(StepError(ErrorType.INVALID, f"Workflow {call.workflow}: {reasons}", retriable=False))
        birth = Birth(
            number=attempt.number - attempt.broken_off,
            awaited=call.wait,
            seconds=seconds,
            redaction=view.redaction,
            note=f"waits for run {run.name}",
        )
        mine = Mine(self.runner, attempt.key, attempt.number)
        started = await persistently("start child", lambda: children.start(mine, run, birth))
        if started.problem is not None:
            return Failed(started.problem)
        if started.lost:
            return _parked(attempt, 0)  # to write that is refused, and the runner then asks what is its own
        log.info("child_started", run=str(child), name=run.name, workflow=run.workflow)
        self._of.aside(self._of.publish(started.jobs))
        return None

    async def _absent(self, attempt: "Attempt", call: Call, called: Called) -> Outcome:
        if called.problem is not None:
            return Failed(invalid(call.workflow, called.problem))
        if called.waited >= self._of.grace:
            return Failed(not_there(call.workflow, attempt.view.namespace, self._of.grace))
        note = f"waits for Workflow {call.workflow}, which is not there"
        said = (self.runner, attempt.key, attempt.number, note)
        await persistently("note", lambda: self._of.store.note(*said))
        return _parked(attempt, AGAIN)

    # -- end ------------------------------------------------------------------------------------------------------

    async def _end(self, view: RunView, child: RunRecord) -> Outcome:
        """How the step ends. What is sensitive in the child is hidden in the parent before it comes there."""
        plan = await persistently("plan", lambda: self._of.plans.get(child.revision))
        redaction = Redaction.of(plan.sensitive, child.inputs, child.hidden)
        if hidden := hidden_with(redaction, child.output):
            await persistently("hide", partial(self._of.store.children.hide, view.run_id, hidden))
            view.root.hidden += tuple(sorted(set(hidden).difference(view.root.hidden)))
        return outcome_of(child.name, child.phase, child.output, redaction.value(child.error))


def _new_run(attempt: "Attempt", call: Call, child: UUID, plan: Plan) -> NewRun:
    view = attempt.view
    return NewRun(
        run_id=child,
        namespace=view.namespace,
        name=child_name(view.name, attempt.node.name, child),
        workflow=call.workflow,
        revision=plan.revision,
        inputs=plan.inputs.apply(call.inputs, "workflow.inputs"),
        roots=tuple(Root(node, plan.steps[node].pool) for node in plan.roots),
        total=plan.total,
        pool=plan.steps[END].pool,
        timeout=plan.timeout,
        traceparent=view.traceparent,
    )


def _parked(attempt: "Attempt", seconds: float) -> Parked:
    return Parked(attempt.clock() + timedelta(seconds=seconds))


class Member:
    """The port `Family` of one attempt."""

    __slots__ = ("_attempt", "_family", "_seconds")

    def __init__(self, family: Family, attempt: "Attempt", seconds: float | None) -> None:
        self._family = family
        self._attempt = attempt
        self._seconds = seconds

    async def call(self, call: Call) -> Outcome:
        """Start the child, or look how it stands. It asks until the store answers."""
        return await self._family.call(self._attempt, call, self._seconds)
