"""Child runs of a rehearsal: the port `Register` of the runner's family, with the Workflows that are at hand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol
from uuid import UUID

from leat_cli.order import Callee, Order
from leat_cli.rehearsal.score import Score
from leat_engine.child import Called, Parent, hidden_with, time_of, too_many
from leat_engine.job import Job, StepKey
from leat_engine.plan import Plan
from leat_engine.records import NewRun, RunRecord, Stop
from leat_engine.result import Phase, State
from leat_engine.store.children import Birth, Started
from leat_engine.store.signals import Mine
from leat_engine.view import RunView
from leat_engine.waits import Signal
from leat_runner.attempt import Attempt


@dataclass(frozen=True, slots=True)
class Tie:
    """What a child run has of its parent.

    Attributes:
        step, number: The step that started it, and its try.
        awaited: The step waits for its end.
    """

    parent: "Played"
    step: StepKey
    number: int
    awaited: bool


class Played(Protocol):
    """A run that is played, as the others see it."""

    root: RunView
    tie: Tie | None
    opened_at: datetime
    attempts: dict[StepKey, Attempt]
    over: bool
    score: Score

    @property
    def seconds_left(self) -> float | None:
        """Until its timeout, or None."""
        ...

    @property
    def idle(self) -> bool:
        """Whether nothing of it goes on before somebody tells it something."""
        ...

    def parked(self) -> list[StepKey]:
        """Steps that wait."""
        ...

    async def close(self) -> None:
        """End what still runs of it."""
        ...

    def call(self, key: StepKey) -> None:
        """A step may go on."""
        ...

    def note(self, key: StepKey, text: str) -> None:
        """What a step waits for."""
        ...

    def send(self, signal: Signal) -> None:
        """Tell it something."""
        ...

    def stop(self, stop: Stop) -> None:
        """End it before its time."""
        ...

    def bear(self, run: NewRun, tie: Tie, hidden: tuple[str, ...]) -> None:
        """Begin a child of it."""
        ...


class Children:
    """Child runs, and the Workflows that they can be of. ``runs``: all that are played."""

    def __init__(self, runs: Mapping[UUID, Played], callees: Sequence[Callee]) -> None:
        self._runs = runs
        self._callees = {(callee.namespace, callee.name): callee for callee in callees}
        self._plans = {callee.plan.revision: callee.plan for callee in callees if callee.plan is not None}

    def knows(self, namespace: str, workflow: object) -> bool:
        """Whether a Workflow is there, so that runs of it can be played."""
        return (namespace, workflow) in self._callees

    async def get(self, revision_id: str) -> Plan:
        """The plan of a revision."""
        return self._plans[revision_id]

    async def call(self, namespace: str, name: str, key: StepKey) -> Called:  # noqa: ARG002  the port's signature
        """What there is of a Workflow, for a step that calls it."""
        callee = self._callees.get((namespace, name))
        if callee is None or callee.plan is None:
            return Called(None, None if callee is None else callee.problem, 0.0)
        return Called(callee.plan.revision, None, 0.0)

    def order(self, run: NewRun) -> Order:
        """What is played for a child run."""
        callee = self._callees[run.namespace, run.workflow]
        plan = self._plans[run.revision]
        return Order(run.namespace, run.name, run.workflow, callee.spec, plan, run.inputs)

    async def hear(self, child: UUID) -> RunRecord | None:
        """A child as it is now, if it was started."""
        run = self._runs.get(child)
        return None if run is None else _record(run)

    async def start(self, mine: Mine, run: NewRun, birth: Birth) -> Started:
        """Let a run enter as the child of a step."""
        parent = self._runs[mine.key.run_id]
        if parent.over or parent.root.stopping is not None:
            return Started(lost=True)
        asks = Parent(
            suspended=False,
            priority=parent.root.priority,
            seconds=parent.seconds_left,
            depth=_depth(parent),
            children=sum(each.tie is not None and each.tie.parent is parent for each in self._runs.values()),
            hidden=parent.root.hidden,
        )
        if (problem := too_many(asks)) is not None:
            return Started(problem=problem)
        timeout = time_of(run.timeout, birth.seconds, asks.seconds) if birth.awaited else run.timeout
        hidden = hidden_with(birth.redaction.also(asks.hidden), run.inputs)
        tie = Tie(parent, mine.key, birth.number, birth.awaited)
        parent.bear(replace(run, priority=asks.priority, timeout=timeout), tie, hidden)
        if birth.awaited:
            parent.note(mine.key, birth.note)
        return Started()

    async def hide(self, run_id: UUID, texts: Sequence[str]) -> None:
        """The view of the run has them already."""

    async def wake(self, children: Sequence[UUID]) -> list[Job]:
        """Let the steps go on that wait for these runs, as far as they are over."""
        runs = [self._runs[child] for child in children]
        return [Job(run.tie.step, run.tie.number, "") for run in runs if run.over and run.tie is not None]


def adrift(run: Played, tie: Tie) -> bool:
    """Whether nobody waits any more for a child that was awaited; a cleanup is not broken off."""
    attempt = tie.parent.attempts.get(tie.step)
    lost = tie.parent.over or tie.parent.root.stopping is not None or attempt is None or attempt.number != tie.number
    return lost and tie.awaited and run.root.stopping is None and run.root.outcome is None


def _depth(run: Played) -> int:
    return 0 if run.tie is None else 1 + _depth(run.tie.parent)


def _record(run: Played) -> RunRecord:
    root, score = run.root, run.score
    states = [course.state for course in score.courses.values()]
    return RunRecord(
        run_id=root.run_id,
        namespace=root.namespace,
        name=root.name,
        workflow=root.workflow,
        revision=root.plan.revision,
        uid=None,
        generation=1,
        phase=score.phase or Phase.RUNNING,
        suspended=False,
        stopping=root.stopping,
        inputs=root.inputs,
        output=score.output,
        error=score.error,
        priority=root.priority,
        total=root.plan.total,
        live=len(run.attempts),
        succeeded=states.count(State.SUCCEEDED),
        failed=states.count(State.FAILED),
        skipped=states.count(State.SKIPPED),
        started_at=run.opened_at,
        finished_at=None,
        hidden=root.hidden,
    )
