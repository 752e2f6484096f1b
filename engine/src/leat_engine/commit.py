"""The group committer: the one place where the decider meets the store.

Group commit without a window: one task per runner writes, in one statement, whatever ended while the statement before
was under way. It never waits for more. What the store does not take because it is away is held and tried again; what
it refuses was somebody else's already.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
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
from leat_engine.job import END, Job, StepKey, dumps
from leat_engine.opening import Opening, enter, not_granted, written_openings
from leat_engine.plan import PlanStep
from leat_engine.records import Delayed, Stop
from leat_engine.result import ErrorType, Phase, Result, State, StepError
from leat_engine.store import Store
from leat_engine.store.writes import Granted, Lateness, Writes, Written
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

    def begin(self, view: RunView, step: int, attempt: int) -> None:
        """The step is the runner's now: execute it."""
        ...

    def hand_over(self, jobs: Sequence[Job]) -> None:
        """These steps are ready for anybody: publish them."""
        ...

    def spread(self, jobs: Sequence[Job]) -> None:
        """These first steps of scopes are ready for anybody: publish those that the runner does not get to soon."""
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
        self._openings: list[Opening] = []
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

    def put(self, item: Ended | Late | Opening) -> None:
        """Write this with the next commit."""
        match item:
            case Ended():
                self._ended.append(item)
            case Late():
                self._late.append(item)
            case Opening():
                self._openings.append(item)
        self._idle.clear()
        self._arrived.set()

    async def _loop(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._ended or self._late or self._openings:
                ended, self._ended = self._ended[:BATCH], self._ended[BATCH:]
                late, self._late = self._late, []
                openings, self._openings = self._openings, []
                try:
                    async with self._writing:
                        await self._write(ended, late)
                        if openings:
                            await self._open(openings)
                except Exception:  # the other runs of this runner must go on
                    log.exception("commit_impossible", ends=len(ended), delays=len(late), openings=len(openings))
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
            decisions = [decide(view, done, take, now) for view, done in runs.items()]
            writes = written_form(decisions)
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

    def _apply(self, decisions: Sequence[Decision], written: Written) -> None:
        lost: dict[UUID, None] = {}
        applied: list[Decision] = []
        for decision in decisions:
            outcome = written.runs.get(decision.view.run_id)
            if outcome is None:
                self._refused(decision)
                lost[decision.view.run_id] = None
                continue
            applied.append(decision)
            learn(decision, stopping=outcome.stopping)
            for done in decision.finished:
                COMMITTED[done.result.state].inc()
            if outcome.phase.done:
                RUNS.labels(outcome.phase.label).inc()
            for new in decision.next:
                if new.state is State.CLAIMED and new.step not in written.claimed.get(_place(decision.view), ()):
                    self._hands.untake(decision.view.plan.steps[new.step])
        runs = {decision.view.run_id: decision.view for decision in applied}
        self._go_on(runs, written.claimed)
        if handed := self._readied(runs, written.readied):
            self._hands.hand_over(handed)
        for decision in applied:
            self._leave(decision.view)
        if lost:
            self._hands.lost(list(lost))

    def _go_on(self, runs: Mapping[UUID, RunView], claimed: Granted) -> None:
        """Begin what the store granted this runner."""
        for (run_id, scope), steps in claimed.items():
            for step, attempt in steps.items():
                self._hands.begin(runs[run_id].scopes[scope], step, attempt)

    @staticmethod
    def _readied(runs: Mapping[UUID, RunView], readied: Granted) -> list[Job]:
        """What the store made ready for anybody; from now on others may have steps of these scopes."""
        handed: list[Job] = []
        for (run_id, scope), steps in readied.items():
            run = runs[run_id]
            if scope in run.scopes:
                run.scopes[scope].share()
            for step in steps:
                key, pool = StepKey(run_id, scope, step), run.plan.steps[step].pool
                handed.append(Job(key, steps[step], pool, run.priority, run.traceparent))
        return handed

    def _refused(self, decision: Decision) -> None:
        view = decision.view
        view.share()
        view.live.difference_update(done.step for done in decision.finished)
        for new in decision.next:
            if new.state is State.CLAIMED:
                self._hands.untake(view.plan.steps[new.step])
        self._leave(view)

    def _leave(self, view: RunView) -> None:
        root = view.root
        view.close()
        if root.idle:
            self._hands.leave(root)

    # -- openings -------------------------------------------------------------------------------------------------

    async def _open(self, openings: Sequence[Opening]) -> None:
        try:
            await self._open_together(openings)
        except Exception as error:
            log.exception("open_defect", openings=len(openings))
            if len(openings) > 1:
                for opening in openings:
                    await self._open([opening])
                return
            (opening,) = openings
            message = f"its scopes could not be opened: {type(error).__name__}: {error}"
            defect = failed(StepError(ErrorType.INTERNAL, message, retriable=False))
            self.put(Ended(opening.view, opening.step, opening.attempt, defect))

    async def _open_together(self, openings: Sequence[Opening]) -> None:
        columns, taken = written_openings(openings, self._hands.take)
        crash_point("before open")
        try:
            opened = await _until_taken(lambda: self._store.open(self._runner, columns))
        except Exception:
            for node in taken:
                self._hands.untake(node)
            raise
        crash_point("after open")
        for node in not_granted(taken, opened):
            self._hands.untake(node)
        refused = [opening.view.run_id for opening in openings if not enter(opening, opened)]
        runs = {opening.view.run_id: opening.view for opening in openings}
        self._go_on(runs, opened.claimed)
        if readied := self._readied(runs, opened.readied):
            self._hands.spread(readied)
        for opening in openings:
            self._leave(opening.view)
        if refused:
            self._hands.lost(refused)

    # -- delays ---------------------------------------------------------------------------------------------------

    async def _delay(self, late: Sequence[Late]) -> None:
        columns = [
            Lateness(
                StepKey(item.view.run_id, item.view.scope, item.step),
                item.attempt,
                item.seconds,
                item.view.plan.steps[item.step].pool,
                None if item.error is None else dumps(item.error),
                item.view.epoch,
            )
            for item in late
        ]
        delayed = await _until_taken(lambda: self._store.delay(self._runner, columns))
        for item in late:
            item.view.share()
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
        view.stop(stopping, decision.stop)
        return
    for new in decision.next:
        if new.result is not None:
            view.results[new.step] = new.result


def written_form(decisions: Iterable[Decision]) -> Writes:
    """The columns of the commit statement. States and phases as numbers, values as JSON text."""
    writes = Writes()
    arrivals: dict[tuple[RunView, int], int] = {}
    for decision in decisions:
        view = decision.view
        run_id, scope, steps = view.run_id, view.scope, view.plan.steps
        for done in decision.finished:
            writes.end(StepKey(run_id, scope, done.step), done.attempt, done.result, view.epoch)
        for new in decision.next:
            node = steps[new.step]
            key = StepKey(run_id, scope, new.step)
            needs = (len(node.needs), new.missing)
            writes.come(key, new.state, needs, (node.pool, view.priority), new.result)
        for opener in _told(decision):
            arrivals[opener] = arrivals.get(opener, 0) + 1
        if decision.end is not None:
            writes.over(run_id, decision.end.phase, decision.end.output, decision.end.error)
        if decision.stop is not None:
            writes.stops.append((run_id, Stop(Phase.FAILED, interrupt=False, error=decision.stop)))
    for (around, waiting), count in arrivals.items():  # whoever brings the last awaited one goes on with the opener
        key = StepKey(around.run_id, around.scope, waiting)
        writes.come(key, State.CLAIMED, (count, 0), (around.plan.steps[waiting].pool, around.priority), None)
    return writes


def _told(decision: Decision) -> Iterator[tuple[RunView, int]]:
    """The openers that wait for what ends here: of a scope that is over, and of compensations, which is `END`."""
    view = decision.view
    if decision.closes and view.parent is not None:
        yield view.parent, view.plan.bodies[view.body].opener
    for done in decision.finished:
        if view.plan.steps[done.step].undoes:
            yield view.root, END


def _place(view: RunView) -> tuple[UUID, int]:
    return view.run_id, view.scope


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
