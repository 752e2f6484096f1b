"""What a store keeps for several runs together, for those of one rehearsal: their limits, and whether anything goes on.

It is the port behind the runner's gates and family, which decide with it as they do with Postgres.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from leat_cli.order import Callee
from leat_cli.rehearsal.children import Children, Played, adrift
from leat_cli.rehearsal.ledger import Ledger
from leat_cli.rehearsal.scene import Cue
from leat_engine.child import forsaken
from leat_engine.job import Job, StepKey
from leat_engine.records import Stop
from leat_engine.result import Phase
from leat_engine.waits import Signal


class Books:
    """Of all runs of one rehearsal.

    Attributes:
        runs: Those that were begun, in this order; the first is the one that is rehearsed.
        closed: Done when nothing goes on any more, in none of them; or broken off.
        unsent: What nobody was told yet; cues: of this, what is told as soon as a step waits for it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, callees: Sequence[Callee], cues: Sequence[Cue]) -> None:
        self.runs: dict[UUID, Played] = {}
        self.closed: asyncio.Future[None] = loop.create_future()
        self.turns = Ledger(self, loop.time)
        self.children = Children(self.runs, callees)
        self.unsent = list(cues)
        self.cues = [cue for cue in cues if cue.after is None]
        self._loop = loop
        self._asides: set[asyncio.Task[Any]] = set()

    # -- what goes on ---------------------------------------------------------------------------------------------

    def aside(self, work: Coroutine[Any, Any, Any]) -> None:
        """Let something be done beside the attempts."""
        task = self._loop.create_task(work)
        self._asides.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._asides.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(error)
        self.settle()

    async def publish(self, jobs: Sequence[Job]) -> None:
        """These steps may go on."""
        for job in jobs:
            run = self.runs[job.key.run_id]
            if not run.over:
                run.call(job.key)

    def addressed(self, signal: Signal) -> list[Played]:
        """Child runs that a signal is for, which has the name of the step before its own that started them."""
        return [run for run in self.runs.values() if run.tie and not run.over and run.score.local(signal.name)]

    def settle(self) -> None:
        """Something has ended: children that nobody waits for end too; and when nothing goes on, all is over."""
        for run in list(self.runs.values()):
            if not run.over and run.tie is not None and adrift(run, run.tie):
                error = forsaken(run.tie.parent.root.name).as_json()
                run.stop(Stop(Phase.CANCELLED, interrupt=True, error=error))
        if not self._asides and all(run.over or run.idle for run in self.runs.values()):
            self.break_off()

    @property
    def first(self) -> Played:
        """The run that is rehearsed."""
        return next(iter(self.runs.values()))

    def break_off(self) -> None:
        """What is played says nothing: leave it."""
        if not self.closed.done():
            self.closed.set_result(None)

    def fail(self, error: BaseException) -> None:
        """A defect: it is raised where the rehearsal is awaited."""
        if not self.closed.done():
            self.closed.set_exception(error)

    async def close(self) -> None:
        """End what still goes on."""
        for task in self._asides:
            task.cancel()
        await asyncio.gather(*self._asides, return_exceptions=True)

    # -- the store of gates and family ------------------------------------------------------------------------------

    async def note(self, runner: int, key: StepKey, attempt: int, text: str | None) -> bool:  # noqa: ARG002  the port's
        """Tell what a step waits for."""
        self.runs[key.run_id].note(key, text or "")
        return True

    async def stop(self, run_id: UUID, stop: Stop) -> list[Job]:
        """End a run before its time."""
        self.runs[run_id].stop(stop)
        return []

    # -- standing -------------------------------------------------------------------------------------------------

    def rank(self, key: StepKey, *, whole: bool) -> tuple[int, datetime]:
        """Priority of the run, and when the step, or the run, was opened."""
        run = self.runs[key.run_id]
        return run.root.priority, run.opened_at if whole else run.attempts[key].opened_at

    def tried(self, key: StepKey) -> int | None:
        """Number of the attempt that is under way or waits, or None."""
        attempt = self.runs[key.run_id].attempts.get(key)
        return None if attempt is None else attempt.number

    def goes_on(self, run_id: UUID) -> bool:
        """Whether the run is not over."""
        return not self.runs[run_id].over

    def parked(self, run_id: UUID) -> list[StepKey]:
        """Steps of the run that wait."""
        return self.runs[run_id].parked()
