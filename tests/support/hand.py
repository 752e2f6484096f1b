"""A runner without loops: it claims and commits when the test says so."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Self
from uuid import UUID

import asyncpg
from tests.support.graphs import Spec
from tests.support.load import a_run, plan_of, revision_of
from tests.support.queue import eventually

from leat_engine.commit import learn, written_form
from leat_engine.decide import Decision, Finished, decide
from leat_engine.job import END, Job, StepKey
from leat_engine.plan import PlanStep
from leat_engine.records import Claim, NewRun, Stop
from leat_engine.result import Phase, Result, State
from leat_engine.store import Store
from leat_engine.store.writes import Written
from leat_engine.view import RunView

CANCEL = Stop(Phase.CANCELLED, interrupt=True, error={"type": "Cancelled", "message": "cancelled by a test"})
CANCELLED = Result(State.CANCELLED)
DONE = Result(State.SUCCEEDED, 1)


def steps(*names: str, **needs: Sequence[str]) -> Spec:
    """A workflow of functions: those in ``names`` need nothing, the others what is given."""
    free = [{"name": name, "function": {"name": "add"}} for name in names]
    bound = [{"name": name, "needs": list(of), "function": {"name": "add"}} for name, of in needs.items()]
    return {"steps": [*free, *bound]}


async def accepted(store: Store, spec: Spec, **changes: Any) -> tuple[NewRun, list[Job]]:
    """A run of the workflow in the store, and the jobs of its first steps."""
    run = a_run(spec, **changes)
    await store.save_revision(revision_of(spec))
    (one,) = await store.accept([run])
    return run, list(one.jobs)


class Hand:
    """One registered runner."""

    def __init__(self, store: Store, runner: int) -> None:
        self._store = store
        self.runner = runner

    @classmethod
    async def registered(cls, store: Store, pool: str = "default") -> Self:
        return cls(store, await store.register("hand", pool, 10))

    async def claim(self, jobs: Sequence[Job]) -> list[Claim]:
        return await self._store.claim(self.runner, jobs)

    def view(self, run: NewRun, spec: Spec, *live: int, complete: bool = False) -> RunView:
        view = RunView(run.run_id, plan_of(spec), run.namespace, run.name, run.inputs, complete=complete)
        view.live.update(live)
        return view

    def decision(self, view: RunView, *ends: Finished, takes: bool = True) -> Decision:
        return decide(view, ends, lambda node: _takes(node, takes), datetime.now(UTC))

    async def end(self, view: RunView, *ends: Finished, takes: bool = True) -> Written:
        """Commit these ends with what follows, as the committer would."""
        decision = self.decision(view, *ends, takes=takes)
        written = await self._store.commit(self.runner, written_form([decision]))
        if (outcome := written.runs.get(view.run_id)) is not None:
            learn(decision, stopping=outcome.stopping)
            view.live.update(written.claimed.get((view.run_id, view.scope), ()))
        return written


def _takes(node: PlanStep, takes: bool) -> bool:
    return takes or node.id == END


def job(run_id: UUID, step: int, attempt: int = 1) -> Job:
    return Job(StepKey(run_id, 0, step), attempt, "default")


def done(step: int, attempt: int = 1, result: Result = DONE) -> Finished:
    return Finished(step, attempt, result)


async def age(dsn: str, runner: int, seconds: float) -> None:
    """Make a runner's last sign of life so old."""
    connection = await asyncpg.connect(dsn)
    await connection.execute(
        "update leat.runner set heartbeat_at = now() - make_interval(secs => $2) where id = $1", runner, seconds
    )
    await connection.close()


async def waits_for_a_lock(dsn: str, task: "asyncio.Task[Any]") -> None:
    """Return when some statement of the database waits for a lock that another transaction holds."""
    connection = await asyncpg.connect(dsn)

    async def waiting() -> bool:
        assert not task.done(), "it did not wait"
        question = "from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
        return bool(await connection.fetchval(f"select count(*) {question}"))

    await eventually(waiting, True)
    await connection.close()
