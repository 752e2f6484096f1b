"""The runner: take jobs, claim them, execute, and let the committer write. It goes on in process with what follows."""

import asyncio
import heapq
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

import structlog
from prometheus_client import Counter, Gauge, Histogram

from leat_engine.commit import Committer, Ended
from leat_engine.crash import crash_point
from leat_engine.decide import failed
from leat_engine.errors import LeatError, QueueUnavailable, StoreUnavailable
from leat_engine.job import END, ROOT_SCOPE, Job, StepKey
from leat_engine.kind import Kind, Weight
from leat_engine.plan import PlanStep
from leat_engine.queue.port import Delivery, Queue
from leat_engine.records import Claim, Delayed
from leat_engine.result import ErrorType, Phase, Result, StepError
from leat_engine.store import Store
from leat_engine.view import UNLOADED, RunView
from leat_runner.attempt import Attempt, cancelled, carry_out
from leat_runner.plans import Plans
from leat_runner.slots import Slots

log = structlog.get_logger()
_CLAIMS = Counter("leat_claims", "Steps claimed", ["by"])
BY_QUEUE, BY_POLL, INLINE = (_CLAIMS.labels(by) for by in ("queue", "poll", "inline"))
BUSY = Gauge("leat_runner_busy", "Slots in use")
QUEUED = Histogram(
    "leat_queue_to_start_seconds", "Ready to claimed", buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30, 300)
)

CLAIM_BATCH = 64
POLL_INTERVAL = 0.1
HOLD_OFF = 0.5
WAKE_BATCH = 200


@dataclass(frozen=True, slots=True)
class RunnerOptions:
    """How a runner works. Seconds.

    Attributes:
        slots: I/O steps at once; cpu_slots: CPU steps at once (they share the same capacity).
        heartbeat: Between two signs of life; a runner silent for three of them is dead.
        grace: Time to finish at a stop; what runs longer is handed on.
    """

    name: str
    pool: str = "default"
    slots: int = 200
    cpu_slots: int = 2
    heartbeat: float = 2.0
    grace: float = 25.0


class Runner:
    """One runner. ``start`` registers it, ``stop`` drains it, ``fenced`` events make it begin anew under another id."""

    def __init__(self, store: Store, queue: Queue, kinds: Mapping[str, Kind], options: RunnerOptions) -> None:
        self.options = options
        self.id = 0
        self._store = store
        self._queue = queue
        self._kinds = kinds
        self._plans = Plans(store)
        self._slots = Slots(options.slots, options.cpu_slots)
        self._views: dict[UUID, RunView] = {}
        self._tasks: dict[StepKey, asyncio.Task[None]] = {}
        self._inbox: deque[Delivery] = deque()
        self._stir = asyncio.Event()
        self._due: list[float] = []
        self._due_changed = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []
        self._side: set[asyncio.Task[Any]] = set()
        self._draining = False
        self._consuming = False
        self._wanted = 0  # units that a claimed step did not find; claiming pauses until they are free
        self._committer: Committer

    # -- life -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Register, and begin to take work. Needs Postgres, does not need the broker."""
        await self._enlist()
        loops = (self._claim_loop, self._heartbeat_loop, self._wake_loop)
        self._loops = [asyncio.create_task(_forever(loop), name=loop.__name__) for loop in loops]

    async def stop(self) -> None:
        """Take nothing more, finish what runs within the grace period, hand the rest on."""
        self._draining = True
        await self._quiet("pause", self._queue.pause())
        self._inbox.clear()
        try:
            async with asyncio.timeout(self.options.grace):
                while self._tasks:
                    await asyncio.wait(self._tasks.values())
                    await self._committer.idle()
                await self._committer.idle()
        except TimeoutError:
            log.warning("drain_cut", runner=self.id, steps=len(self._tasks))
        for task in (*self._loops, *self._tasks.values()):
            task.cancel()
        await asyncio.gather(*self._loops, *self._tasks.values(), return_exceptions=True)
        await self._committer.stop()
        try:
            await self._publish(await self._store.retire(self.id))
        except StoreUnavailable as error:
            log.warning("retire_failed", runner=self.id, reason=str(error))  # rescue will do it
        for kind in self._kinds.values():
            await kind.close()
        log.info("runner_stopped", runner=self.id)

    @property
    def busy(self) -> int:
        """Slots in use."""
        return self._slots.used

    async def _enlist(self) -> None:
        self.id = await self._store.register(self.options.name, self.options.pool, self.options.slots)
        self._committer = Committer(self._store, self.id, self)
        self._committer.start()
        log.info("runner_registered", runner=self.id, pool=self.options.pool, slots=self.options.slots)

    async def _fence(self) -> None:
        """Declared dead: everything this runner held belongs to others. Drop it and begin anew."""
        log.error("fenced", runner=self.id, steps=len(self._tasks), hint="was frozen or cut off from Postgres")
        await self._committer.stop()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._views.clear()
        self._tasks.clear()
        self._slots.used = 0
        await self._enlist()

    # -- take and claim -------------------------------------------------------------------------------------------

    def _deliver(self, delivery: Delivery) -> None:
        self._inbox.append(delivery)
        self._stir.set()

    async def _claim_loop(self) -> None:
        """Claims what was delivered, as far as slots are free; polls while the broker is away."""
        while not self._draining:
            if self._slots.free < max(1, self._wanted):
                await self._hold_off()
            elif self._inbox:
                await self._claim()
            else:
                if not self._consuming:
                    await self._queue.consume(self.options.pool, self.options.slots, self._deliver)
                    self._consuming = True
                if self._queue.connected:
                    await self._stirred(1.0)
                else:
                    await self._poll()

    async def _hold_off(self) -> None:
        """Full. Jobs that wait here longer than a moment go back, so that other runners can take them."""
        if await self._stirred(HOLD_OFF) or not self._consuming:
            return
        self._wanted = 0
        if self._slots.free > 0:
            return
        self._consuming = False
        await self._quiet("pause", self._queue.pause())
        self._inbox.clear()

    async def _stirred(self, seconds: float) -> bool:
        self._stir.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._stir.wait()
        except TimeoutError:
            return False
        return True

    async def _claim(self) -> None:
        batch: list[Delivery] = []
        while self._inbox and len(batch) < min(self._slots.free, CLAIM_BATCH):
            batch.append(self._inbox.popleft())
        crash_point("before claim")
        try:
            claims = await self._store.claim(self.id, [delivery.job for delivery in batch])
        except StoreUnavailable as error:
            log.warning("claim_held", reason=str(error))
            self._inbox.extendleft(reversed(batch))
            await asyncio.sleep(0.5)
            await self._recover()
            return
        crash_point("after claim")
        for delivery in batch:
            self._aside(self._ack(delivery))
        BY_QUEUE.inc(len(claims))
        await self._adopt(claims)

    async def _ack(self, delivery: Delivery) -> None:
        crash_point("before ack")
        await self._quiet("ack", delivery.ack())
        crash_point("after ack")

    async def _poll(self) -> None:
        try:
            claims = await self._store.poll(self.id, self.options.pool, min(self._slots.free, CLAIM_BATCH))
        except StoreUnavailable as error:
            log.warning("poll_held", reason=str(error))
            await asyncio.sleep(0.5)
            await self._recover()
            return
        BY_POLL.inc(len(claims))
        await self._adopt(claims)
        if not claims:
            await self._stirred(POLL_INTERVAL)

    async def _adopt(self, claims: Sequence[Claim]) -> None:
        """Begin claimed steps, with what they need to know of their runs; hand back what does not fit."""
        runs: dict[UUID, list[Claim]] = {}
        for claim in claims:
            QUEUED.observe((claim.started_at - claim.queued_at).total_seconds())
            if not self._knows(claim.key):
                runs.setdefault(claim.key.run_id, []).append(claim)
        surplus: list[Claim] = []
        for run_id, group in runs.items():
            if run_id not in self._views and not await self._open(group):
                surplus += group
                continue
            surplus += [claim for claim in group if not self._fit(claim)]
        if surplus:
            await self._hand_back(surplus)

    async def _open(self, claims: Sequence[Claim]) -> bool:
        """Make the view of a run. It is complete when nobody else has a live step of it and nothing is done yet.

        False when this runner cannot read the run's revision: another one, of another version, may.
        """
        first = claims[0]
        try:
            plan = await _persistently("plan", lambda: self._plans.get(first.revision))
        except LeatError as error:
            log.exception("plan_unreadable", run=str(first.key.run_id), revision=first.revision, reason=str(error))
            return False
        view = RunView(first.key.run_id, plan, first.namespace, first.name, first.inputs)
        view.workflow, view.priority, view.traceparent = first.workflow, first.priority, first.traceparent
        view.complete = first.live == len(claims) and first.done == 0
        self._views[first.key.run_id] = view
        return True

    def _fit(self, claim: Claim) -> bool:
        """Begin a claimed step if there are slots for it; a step heavier than the runner begins when it is alone."""
        view = self._views[claim.key.run_id]
        node = view.plan.steps[claim.key.step]
        units = self._units(node)
        if not self._slots.take(units):
            if self._slots.used:
                self._wanted = max(self._wanted, min(units, self._slots.capacity))
                return False
            self._slots.force(units)
        if claim.stopping is not None:
            view.stopping, view.error = claim.stopping, claim.error
        view.live.add(claim.key.step)
        self._execute(Attempt(view, node, claim.attempt, claim.opened_at, claim.lost, claim.resumed))
        return True

    async def _hand_back(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            view = self._views.get(claim.key.run_id)
            if view is not None:
                view.complete = False
                if not view.live:
                    del self._views[claim.key.run_id]
        log.info("handed_back", runner=self.id, steps=len(claims))
        await self._publish(await _persistently("hand_back", lambda: self._store.hand_back(self.id, claims)))
        await self._stirred(HOLD_OFF)

    # -- execute --------------------------------------------------------------------------------------------------

    def _execute(self, attempt: Attempt) -> None:
        task = asyncio.create_task(self._attempt(attempt))
        self._tasks[attempt.key] = task

    async def _attempt(self, attempt: Attempt) -> None:
        view, node = attempt.view, attempt.node
        try:
            missing = view.missing(node, {})
            if missing or (node.id == END and not view.complete):
                await self._learn(attempt, missing)
            item = await carry_out(attempt, self._kinds)
        except asyncio.CancelledError:
            if view.stopping is None:
                raise  # fenced or drained: others go on with the step
            item = Ended(view, node.id, attempt.number, cancelled(view))
        except Exception as error:
            log.exception("attempt_defect", run=str(view.run_id), step=node.name, attempt=attempt.number)
            defect = StepError(ErrorType.INTERNAL, f"{type(error).__name__}: {error}", retriable=False)
            item = Ended(view, node.id, attempt.number, failed(defect))
        finally:
            self._tasks.pop(attempt.key, None)
        self._committer.put(item)

    async def _learn(self, attempt: Attempt, missing: Sequence[int]) -> None:
        """Read what the step must know and other runners have done; to end a run, the ends of all its steps."""
        view = attempt.view
        if attempt.node.id == END:
            survey = await _persistently("survey", lambda: self._store.survey(view.run_id, ROOT_SCOPE))
            for node, (state, error) in survey.items():
                view.results.setdefault(node, Result(state, UNLOADED, error))
            view.complete = view.stopping is None
        keys = [StepKey(view.run_id, ROOT_SCOPE, node) for node in missing]
        for key, result in (await _persistently("load", lambda: self._store.load(keys))).items():
            view.results[key.step] = result

    # -- what the committer asks for ------------------------------------------------------------------------------

    def take(self, node: PlanStep) -> bool:
        """Go on with the step here, if a slot is free; ends and steps without effects always."""
        if node.id == END or node.pure:
            return True
        return node.pool == self.options.pool and not self._draining and self._slots.take(self._units(node))

    def release(self, node: PlanStep) -> None:
        """The step is over, and its slot free for what follows."""
        self._slots.give(self._units(node))
        self._stir.set()

    def untake(self, node: PlanStep) -> None:
        """Give the reserved slot back."""
        self._slots.give(self._units(node))

    def begin(self, view: RunView, step: int) -> None:
        """Execute the first attempt of a step that was claimed with the commit before it."""
        INLINE.inc()
        view.live.add(step)
        self._execute(Attempt(view, view.plan.steps[step], 1, datetime.now(UTC)))

    def hand_over(self, jobs: Sequence[Job]) -> None:
        """Publish what this runner has no slots for."""
        self._aside(self._publish(jobs))

    def delayed(self, attempts: Sequence[Delayed]) -> None:
        """Wake them from here in time; the caretakers would do it too, a little later."""
        for attempt in attempts:
            view = self._views.get(attempt.key.run_id)
            if view is not None and not view.live:
                del self._views[attempt.key.run_id]
            heapq.heappush(self._due, time.monotonic() + attempt.seconds)
        self._due_changed.set()

    def over(self, view: RunView) -> None:
        """Forget the run."""
        self._views.pop(view.run_id, None)

    def lost(self, run_ids: Sequence[UUID]) -> None:
        """Ask the store what is still ours."""
        for run_id in run_ids:
            log.warning("commit_refused", run=str(run_id), runner=self.id)
        self._aside(self._recover())

    # -- heartbeat, recovery, timers ------------------------------------------------------------------------------

    async def _heartbeat_loop(self) -> None:
        while True:
            await asyncio.sleep(self.options.heartbeat)
            BUSY.set(self.busy)
            try:
                alive = await self._store.heartbeat(self.id, max(0, self.busy))
                interrupts = await self._store.interrupted(self.id) if alive else []
            except StoreUnavailable as error:
                log.warning("heartbeat_missed", runner=self.id, reason=str(error))
                continue
            if not alive:
                await self._fence()
            for interrupted in interrupts:
                self._interrupt(interrupted.run_id, interrupted.stopping, interrupted.error)

    def _interrupt(self, run_id: UUID, stopping: Phase, error: Mapping[str, Any]) -> None:
        view = self._views.get(run_id)
        if view is None:
            return
        view.stopping, view.error = stopping, error
        for key, task in self._tasks.items():
            if key.run_id == run_id and key.step != END:
                task.cancel()

    async def _recover(self) -> None:
        """After a lost or refused answer: steps that are ours in the store and not here are begun now."""
        try:
            if not await self._store.heartbeat(self.id, max(0, self.busy)):
                return  # the heartbeat will fence
            claims = await self._store.mine(self.id)
        except StoreUnavailable as error:
            log.warning("recover_held", reason=str(error))
            return
        await self._adopt([claim for claim in claims if not self._knows(claim.key)])

    def _knows(self, key: StepKey) -> bool:
        view = self._views.get(key.run_id)
        return view is not None and key.step in view.live

    async def _wake_loop(self) -> None:
        """Fires the timers that this runner set."""
        while True:
            self._due_changed.clear()
            wait = self._due[0] - time.monotonic() if self._due else None
            if wait is None or wait > 0:
                try:
                    async with asyncio.timeout(wait):
                        await self._due_changed.wait()
                except TimeoutError:
                    pass
                continue
            now = time.monotonic()
            while self._due and self._due[0] <= now:
                heapq.heappop(self._due)
            try:
                await self._publish(await self._store.wake(WAKE_BATCH))
            except StoreUnavailable as error:
                log.warning("wake_held", reason=str(error))  # the caretakers wake it

    async def _publish(self, jobs: Sequence[Job]) -> None:
        if not jobs:
            return
        crash_point("before publish")
        try:
            await self._queue.publish(jobs)
        except QueueUnavailable as error:
            log.warning("publish_failed", jobs=len(jobs), reason=str(error))  # polled now, resent later
        crash_point("after publish")

    # -- small things ---------------------------------------------------------------------------------------------

    def _units(self, node: PlanStep) -> int:
        if node.id == END or node.pure:
            return 0
        kind = self._kinds.get(node.kind)
        return self._slots.units(Weight.IO if kind is None else kind.weight)

    def _aside(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(work)
        self._side.add(task)
        task.add_done_callback(self._side.discard)

    async def _quiet(self, what: str, work: Awaitable[None]) -> None:
        try:
            await work
        except QueueUnavailable as error:
            log.warning("queue_failed", doing=what, reason=str(error))


T = TypeVar("T")


async def _persistently(what: str, call: Callable[[], Awaitable[T]]) -> T:
    """Ask the store until it answers: the steps are claimed already, and only this runner can go on with them."""
    while True:
        try:
            return await call()
        except StoreUnavailable as error:
            log.warning("store_held", doing=what, reason=str(error))
            await asyncio.sleep(HOLD_OFF)


async def _forever(loop: Callable[[], Awaitable[None]]) -> None:
    """A loop that fails is a defect; it is told and begun again, for the steps of others depend on it."""
    while True:
        try:
            await loop()
        except Exception:
            log.exception("loop_failed", loop=getattr(loop, "__name__", "?"))
            await asyncio.sleep(1)
        else:
            return
