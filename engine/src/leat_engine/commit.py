"""The group committer: the one place where the decider meets the store.

Group commit without a window: one task per runner writes, in one statement, whatever ended while the statement before
was under way. It never waits for more. What the store does not take because it is away is held and tried again; what
it refuses was somebody else's already.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar
from uuid import UUID

import structlog
from prometheus_client import Counter, Histogram
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from leat_engine.crash import crash_point
from leat_engine.decide import Decision, Finished, decide, failed
from leat_engine.errors import StoreUnavailable
from leat_engine.job import ROOT_SCOPE, Job, StepKey, dumps
from leat_engine.plan import PlanStep
from leat_engine.records import Delayed, Stop
from leat_engine.result import ErrorType, Phase, Result, State, StepError
from leat_engine.store import Store
from leat_engine.store.writes import Lateness, Writes, Written
from leat_engine.view import RunView

BATCH = 500
"""Attempts per statement at most: keeps the statement's time, and so everybody's latency, in milliseconds."""

log = structlog.get_logger()
T = TypeVar("T")
COMMITS = Counter("leat_commits", "Commit statements that were written")
_COMMITTED = Counter("leat_steps_committed", "Step ends that were written", ["state"])
COMMITTED = {state: _COMMITTED.labels(state.label) for state in State if state.done}
RUNS = Counter("leat_runs_ended", "Runs that ended", ["phase"])
BATCH_SIZE = Histogram("leat_commit_batch_size", "Attempts per commit", buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500))
SECONDS = Histogram(
    "leat_commit_seconds", "Time of one commit", buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 1)
)


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt that is over for good."""

    view: RunView
    step: int
    attempt: int
    result: Result


@dataclass(frozen=True, slots=True)
class Late:
    """An attempt that waits ``seconds``: parked when ``error`` is None, else to be tried again."""

    view: RunView
    step: int
    attempt: int
    seconds: float
    error: dict[str, Any] | None = None


class Hands(Protocol):
    """What the committer asks of its runner."""

    def take(self, node: PlanStep) -> bool:
        """Whether the runner goes on with this step itself; a yes reserves a slot."""
        ...

    def release(self, node: PlanStep) -> None:
        """The slot of an ended step is free: first for what follows it, as nothing else runs before ``take``."""
        ...

    def untake(self, node: PlanStep) -> None:
        """The reserved slot is not needed after all."""
        ...

    def begin(self, view: RunView, step: int) -> None:
        """The step is the runner's now: execute its first attempt."""
        ...

    def hand_over(self, jobs: Sequence[Job]) -> None:
        """These steps are ready for anybody: publish them."""
        ...

    def delayed(self, attempts: Sequence[Delayed]) -> None:
        """These attempts wait in the store until their time."""
        ...

    def leave(self, view: RunView) -> None:
        """Nothing of the run is here any more: it has ended, or others go on with it."""
        ...

    def lost(self, run_ids: Sequence[UUID]) -> None:
        """The store did not apply what was said of these runs.

        The runner is fenced; or the answer to a first try was lost, and it had been applied; or the run is being
        stopped. The runner asks the store what it still owns.
        """
        ...


class Committer:
    """Writes what ended, in order, one statement at a time. ``put`` never blocks.

    Holds ``writing`` from a statement until its answer has been acted on: meanwhile the store may know of claims that
    the runner does not.
    """

    def __init__(self, store: Store, runner: int, hands: Hands, writing: asyncio.Lock) -> None:
        self._store = store
        self._runner = runner
        self._hands = hands
        self._writing = writing
        self._ended: list[Ended] = []
        self._late: list[Late] = []
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._loop(), name="committer")

    async def stop(self) -> None:
        """Stop at once; what is not written is lost to this runner, and rescued by others."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def idle(self) -> None:
        """Return when everything that was put is written."""
        await self._idle.wait()

    def put(self, item: Ended | Late) -> None:
        """Write this with the next commit."""
        if isinstance(item, Ended):
            self._ended.append(item)
        else:
            self._late.append(item)
        self._idle.clear()
        self._arrived.set()

    async def _loop(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._ended or self._late:
                ended, self._ended = self._ended[:BATCH], self._ended[BATCH:]
                late, self._late = self._late, []
                try:
                    async with self._writing:
                        await self._write(ended, late)
                except Exception:  # the other runs of this runner must go on
                    log.exception("commit_impossible", ends=len(ended), delays=len(late))
            self._idle.set()

    async def _write(self, ended: Sequence[Ended], late: Sequence[Late]) -> None:
        runs: dict[RunView, list[Finished]] = defaultdict(list)
        for item in ended:
            runs[item.view].append(Finished(item.step, item.attempt, item.result))
            self._hands.release(item.view.plan.steps[item.step])
        if runs:
            try:
                await self._commit(runs)
            except Exception:
                log.exception("commit_defect", runs=len(runs))
                for view, done in runs.items():
                    await self._commit_alone(view, done)
        if late:
            await self._delay(late)

    # -- ends -----------------------------------------------------------------------------------------------------

    async def _commit(self, runs: Mapping[RunView, Sequence[Finished]]) -> None:
        taken: list[PlanStep] = []

        def take(node: PlanStep) -> bool:
            if taking := self._hands.take(node):
                taken.append(node)
            return taking

        try:
            now = datetime.now(UTC)
            decisions = {view.run_id: decide(view, done, take, now) for view, done in runs.items()}
            writes = written_form(decisions.values())
            crash_point("before commit")
            with SECONDS.time():
                written = await _until_taken(lambda: self._store.commit(self._runner, writes))
            crash_point("after commit")
        except Exception:
            for node in taken:
                self._hands.untake(node)
            raise
        COMMITS.inc()
        BATCH_SIZE.observe(sum(map(len, runs.values())))
        self._apply(decisions, written)

    async def _commit_alone(self, view: RunView, done: Sequence[Finished]) -> None:
        """After a defect: the runs one by one, and for the run that has it, its failure instead of its results."""
        try:
            await self._commit({view: done})
        except Exception as error:
            log.exception("commit_defect", run=str(view.run_id))
            message = f"the result could not be written: {type(error).__name__}: {error}"
            defect = failed(StepError(ErrorType.INTERNAL, message, retriable=False))
            await self._commit({view: [Finished(each.step, each.attempt, defect) for each in done]})

    def _apply(self, decisions: dict[UUID, Decision], written: Written) -> None:
        handed: list[Job] = []
        lost: list[UUID] = []
        for run_id, decision in decisions.items():
            outcome = written.runs.get(run_id)
            if outcome is None:
                self._refused(decision)
                lost.append(run_id)
                continue
            learn(decision, stopping=outcome.stopping)
            for done in decision.finished:
                COMMITTED[done.result.state].inc()
            if outcome.phase.done:
                RUNS.labels(outcome.phase.label).inc()
            else:
                handed += self._go_on(decision, written)
            self._leave(decision.view)
        if handed:
            self._hands.hand_over(handed)
        if lost:
            self._hands.lost(lost)

    def _go_on(self, decision: Decision, written: Written) -> list[Job]:
        """Begin what the store granted this runner; jobs for what it made ready for anybody."""
        view = decision.view
        granted = written.claimed.get(view.run_id, [])
        for new in decision.next:
            if new.state is State.CLAIMED and new.step not in granted:
                self._hands.untake(view.plan.steps[new.step])
        for step in granted:
            self._hands.begin(view, step)
        readied = written.readied.get(view.run_id, [])
        if readied:
            view.complete = False
        return [_job(view, step) for step in readied]

    def _refused(self, decision: Decision) -> None:
        view = decision.view
        view.complete = False
        view.live.difference_update(done.step for done in decision.finished)
        for new in decision.next:
            if new.state is State.CLAIMED:
                self._hands.untake(view.plan.steps[new.step])
        self._leave(view)

    def _leave(self, view: RunView) -> None:
        if not view.live:
            self._hands.leave(view)

    # -- delays ---------------------------------------------------------------------------------------------------

    async def _delay(self, late: Sequence[Late]) -> None:
        columns = [
            Lateness(
                StepKey(item.view.run_id, ROOT_SCOPE, item.step),
                item.attempt,
                item.seconds,
                item.view.plan.steps[item.step].pool,
                None if item.error is None else dumps(item.error),
            )
            for item in late
        ]
        delayed = await _until_taken(lambda: self._store.delay(self._runner, columns))
        for item in late:
            item.view.complete = False
            item.view.live.discard(item.step)
            self._hands.release(item.view.plan.steps[item.step])
            self._leave(item.view)
        self._hands.delayed(delayed)
        put = {waiting.key for waiting in delayed}
        refused = [column.key.run_id for column in columns if column.key not in put]
        if refused:
            self._hands.lost(refused)


def learn(decision: Decision, *, stopping: Phase | None) -> None:
    """Bring the view up to what the store has taken."""
    view = decision.view
    for done in decision.finished:
        view.results[done.step] = done.result
        view.live.discard(done.step)
    if decision.stop is not None:
        stopping = stopping or Phase.FAILED
    if stopping is not None:
        view.stopping = stopping
        return
    for new in decision.next:
        if new.result is not None:
            view.results[new.step] = new.result


def written_form(decisions: Iterable[Decision]) -> Writes:
    """The columns of the commit statement. States and phases as numbers, values as JSON text."""
    writes = Writes()
    for decision in decisions:
        run_id = decision.view.run_id
        steps = decision.view.plan.steps
        for done in decision.finished:
            writes.end(StepKey(run_id, ROOT_SCOPE, done.step), done.attempt, done.result)
        for new in decision.next:
            node = steps[new.step]
            key = StepKey(run_id, ROOT_SCOPE, new.step)
            needs = (len(node.needs), new.missing)
            writes.come(key, new.state, needs, (node.pool, decision.view.priority), new.result)
        if decision.end is not None:
            writes.over(run_id, decision.end.phase, decision.end.output, decision.end.error)
        if decision.stop is not None:
            writes.stops.append((run_id, Stop(Phase.FAILED, interrupt=False, error=decision.stop)))
    return writes


def _job(view: RunView, step: int) -> Job:
    return Job(StepKey(view.run_id, ROOT_SCOPE, step), 1, view.plan.steps[step].pool, view.priority, view.traceparent)


async def _until_taken(write: Callable[[], Awaitable[T]]) -> T:
    """Results are never dropped because Postgres is away: they wait here, and no new step starts meanwhile.

    The first try is made bare: what counts the tries of a retry would be a tenth of a commit.
    """
    try:
        return await write()
    except StoreUnavailable as error:
        log.warning("commit_held", tries=1, reason=str(error))
    async for attempt in AsyncRetrying(
        retry=retry_if_exception_type(StoreUnavailable),
        wait=wait_random_exponential(multiplier=0.05, max=2),
        before_sleep=_held,
    ):
        with attempt:
            written = await write()
    return written


def _held(state: RetryCallState) -> None:
    log.warning("commit_held", tries=state.attempt_number, reason=str(state.outcome and state.outcome.exception()))
