"""Take and claim: from deliveries, or from the store while the broker is away, to attempts that run."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any
from uuid import UUID

import structlog
from prometheus_client import Counter, Histogram

from leat_engine.crash import crash_point
from leat_engine.errors import LeatError, QueueUnavailable, StoreUnavailable
from leat_engine.job import Job
from leat_engine.queue.port import Delivery, Queue
from leat_engine.records import Claim
from leat_engine.store import Store
from leat_engine.view import RunView
from leat_runner.attempt import Attempt
from leat_runner.desk import RETRY_INTERVAL, Desk, persistently
from leat_runner.holdback import HoldBack
from leat_runner.plans import Plans
from leat_runner.recall import locate

CLAIM_BATCH = 64
"""Jobs per claim at most: how heavy they are is known only afterwards, and what does not fit goes back."""
POLL_INTERVAL = 0.1
HOLD_OFF = 0.5
"""Seconds that jobs may wait in a full runner before they go back to the queue, for others."""

log = structlog.get_logger()
_CLAIMS = Counter("leat_claims", "Steps claimed", ["by"])
BY_QUEUE, BY_POLL, INLINE, BY_HOLD = (_CLAIMS.labels(by) for by in ("queue", "poll", "inline", "held"))
QUEUED = Histogram(
    "leat_queue_to_start_seconds", "Ready to claimed", buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30, 300)
)


class Claims:
    """Brings claimed attempts to ``execute``."""

    def __init__(self, desk: Desk, store: Store, queue: Queue, pool: str, execute: Callable[[Attempt], None]) -> None:
        self._desk = desk
        self._store = store
        self._queue = queue
        self._pool = pool
        self._execute = execute
        self.plans = Plans(store)
        self._inbox: deque[Delivery] = deque()
        self._held = HoldBack(lambda: desk.freed_slots, lambda jobs: self.aside(self.publish(jobs)))
        self._consuming = False
        self._wanted = 0  # units that a claimed step did not find; claiming pauses until they are free
        self._side: set[asyncio.Task[Any]] = set()

    async def loop(self) -> None:
        """Claim what was delivered, as far as slots are free; poll while the broker is away."""
        slots = self._desk.slots
        while not self._desk.draining:
            if self._desk.doubt:
                await self._recover()
            elif slots.free < max(1, self._wanted):
                await self._hold_off()
            elif self._inbox or self._held:
                await self._claim()
            else:
                if not self._consuming:
                    await self._queue.consume(self._pool, slots.capacity, self._deliver)
                    self._consuming = True
                    if self._desk.draining:  # it began while the consumer was set up: what came is for others
                        await self.pause()
                        return
                if self._queue.connected:
                    await self._stirred(1.0)
                else:
                    await self._poll()

    async def pause(self) -> None:
        """Take nothing more; what was delivered and not claimed goes back to the queue."""
        self._consuming = False
        self._inbox.clear()
        self._held.let_go()
        try:
            await self._queue.pause()
        except QueueUnavailable as error:
            log.warning("pause_failed", reason=str(error))  # a broken connection gives everything back by itself

    def doubt(self) -> None:
        """An answer was lost or refused: have the loop ask the store what is ours."""
        self._desk.doubt = True
        self._desk.freed.set()

    async def finish(self) -> None:
        """Return when what goes on aside has ended: acknowledgements and publishes, which have time limits."""
        await asyncio.gather(*self._side, return_exceptions=True)

    def spread(self, jobs: Sequence[Job]) -> None:
        """First steps of scopes that found no slots: publish them, but for those that this runner gets to soon."""
        if self._desk.draining:
            self.aside(self.publish(jobs))
            return
        if others := [job for job in jobs if job.pool != self._pool]:
            self.aside(self.publish(others))
        self._held.put([job for job in jobs if job.pool == self._pool], len(self._inbox))
        self._desk.freed.set()

    async def publish(self, jobs: Sequence[Job]) -> None:
        """Tell the broker of ready steps. If it does not take them, runners poll now, and resend tells it later."""
        if not jobs:
            return
        crash_point("before publish")
        try:
            await self._queue.publish(jobs)
        except QueueUnavailable as error:
            log.warning("publish_failed", jobs=len(jobs), reason=str(error))
        crash_point("after publish")

    def aside(self, work: Coroutine[Any, Any, Any]) -> None:
        """Let something go on that nobody waits for."""
        task = asyncio.create_task(work)
        self._side.add(task)
        task.add_done_callback(self._side.discard)

    # -- take -----------------------------------------------------------------------------------------------------

    def _deliver(self, delivery: Delivery) -> None:
        self._inbox.append(delivery)
        self._desk.freed.set()

    async def _hold_off(self) -> None:
        """Full. Jobs that wait here longer than a moment go back, so that other runners can take them."""
        if await self._stirred(HOLD_OFF) or not self._consuming:
            return
        self._wanted = 0
        if self._desk.slots.free <= 0:
            await self.pause()

    async def _stirred(self, seconds: float) -> bool:
        self._desk.freed.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._desk.freed.wait()
        except TimeoutError:
            return False
        return True

    # -- claim ----------------------------------------------------------------------------------------------------

    async def _claim(self) -> None:
        room = min(self._desk.slots.free, CLAIM_BATCH)
        batch = [self._inbox.popleft() for _ in range(min(room, len(self._inbox)))]
        held = self._held.take(room - len(batch))
        jobs = [delivery.job for delivery in batch] + held
        crash_point("before claim")
        age = self._desk.age
        self._desk.slots.force(len(jobs))  # reserved: what a commit takes meanwhile it takes of the others
        try:
            claims = await self._store.claim(self._desk.runner, jobs)
        except StoreUnavailable as error:
            if self._desk.age == age:
                self._desk.slots.give(len(jobs))
            self._inbox.extendleft(reversed(batch))
            self.aside(self.publish(held))
            await self._wait_for_store(error)
            return
        crash_point("after claim")
        for delivery in batch:
            self.aside(_acknowledge(delivery))
        untold = {job.key for job in held}
        by_hold = sum(claim.key in untold for claim in claims) if untold else 0
        BY_QUEUE.inc(len(claims) - by_hold)
        BY_HOLD.inc(by_hold)
        await self._adopt(claims, age, reserved=len(jobs))

    async def _poll(self) -> None:
        room, age = min(self._desk.slots.free, CLAIM_BATCH), self._desk.age
        try:
            claims = await self._store.poll(self._desk.runner, self._pool, room)
        except StoreUnavailable as error:
            await self._wait_for_store(error)
            return
        BY_POLL.inc(len(claims))
        await self._adopt(claims, age)
        if not claims:
            await self._stirred(POLL_INTERVAL)

    async def _wait_for_store(self, error: StoreUnavailable) -> None:
        log.warning("claim_held", reason=str(error))
        self._desk.doubt = True  # the claim may have been made, and its answer lost
        await asyncio.sleep(RETRY_INTERVAL)

    async def _recover(self) -> None:
        """Begin the steps that are ours in the store and not here.

        Neither a claim nor a commit is on its way meanwhile: what the store answers is what this runner has to know.
        """
        async with self._desk.writing:
            # A dead runner owns nothing, whatever the store still says; its heartbeat will fence it.
            age = self._desk.age
            if await persistently("recover", self._heartbeat):
                await self._adopt(await persistently("recover", lambda: self._store.mine(self._desk.runner)), age)
            self._desk.doubt = False

    async def _heartbeat(self) -> bool:
        desk = self._desk
        return await self._store.heartbeat(desk.runner, desk.slots.used, desk.held_seconds, draining=desk.draining)

    async def _adopt(self, claims: Sequence[Claim], age: int, reserved: int = 0) -> None:
        """Begin claimed steps, with what they need to know of their runs; hand back what does not fit.

        Fenced since the desk was of this ``age``, they belong to others: nothing of them may be known here.
        ``reserved``: slots that are kept for them.
        """
        if self._desk.age != age:
            return
        runs: dict[UUID, list[Claim]] = {}
        for claim in claims:
            if not claim.resumed:
                QUEUED.observe((claim.started_at - claim.queued_at).total_seconds())
            self._desk.outgrow(claim.key.run_id, claim.epoch)
            if not self._desk.knows(claim.key):
                runs.setdefault(claim.key.run_id, []).append(claim)
        surplus: list[Claim] = []
        known: list[Claim] = []
        for run_id, group in runs.items():
            opened = run_id in self._desk.views or await self._open(group)
            if opened and self._desk.age == age:
                await self._place(self._desk.views[run_id], group)
                known += group
            else:
                surplus += group
            if self._desk.age != age:
                for other in runs:
                    self._desk.views.pop(other, None)
                return
        self._desk.slots.give(reserved)  # nothing else runs until they are taken again
        surplus += [claim for claim in known if not self._begin(claim)]
        if surplus:
            await self._hand_back(surplus)

    async def _open(self, claims: Sequence[Claim]) -> bool:
        """Make the view of a run. It is complete when nobody else has a live step of it and nothing is done yet.

        False when this runner cannot read the run's revision: another one, of another version, may.
        """
        first = claims[0]
        try:
            plan = await persistently("plan", lambda: self.plans.get(first.revision))
        except LeatError as error:
            log.exception("plan_unreadable", run=str(first.key.run_id), revision=first.revision, reason=str(error))
            return False
        view = RunView(first.key.run_id, plan, first.namespace, first.name, first.inputs)
        view.workflow, view.priority, view.traceparent = first.workflow, first.priority, first.traceparent
        view.uid, view.awaited, view.hidden = first.uid or "", first.awaited, first.hidden
        view.epoch = first.epoch
        view.complete = first.live == len(claims) and first.done == 0
        self._desk.recollect(view)
        self._desk.views[first.key.run_id] = view
        return True

    async def _place(self, root: RunView, claims: Sequence[Claim]) -> None:
        """Note claimed steps as live in their scopes; those that are not known here, and what is around them, are read.

        A step that alone begins its scope is all that there is of it: what follows is seen here.
        """
        strange = [claim for claim in claims if claim.key.scope not in root.scopes]
        for claim in claims:
            if claim.key.scope in root.scopes:
                root.scopes[claim.key.scope].live.add(claim.key.step)
        await locate(root, [claim.key.scope for claim in strange], self._store)
        for claim in strange:
            view = root.scopes[claim.key.scope]
            view.live.add(claim.key.step)
            view.complete = root.plan.bodies[view.body].roots == (claim.key.step,)

    def _begin(self, claim: Claim) -> bool:
        """Begin a claimed step if there are slots for it; a step heavier than the runner begins when it is alone."""
        slots, view = self._desk.slots, self._desk.views[claim.key.run_id].scopes[claim.key.scope]
        node = view.plan.steps[claim.key.step]
        units = self._desk.units(node)
        if not slots.take(units):
            if slots.used:
                self._wanted = max(self._wanted, min(units, slots.capacity))
                view.live.discard(claim.key.step)
                return False
            slots.force(units)
        if claim.outcome is not None:
            view.settle(claim.outcome, claim.error)
        elif claim.stopping is not None:
            view.stop(claim.stopping, claim.error)
        if claim.shut:
            view.shut = True
        self._execute(Attempt(view, node, claim.attempt, claim.opened_at, claim.broken_off, claim.lost, claim.resumed))
        return True

    async def _hand_back(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            root = self._desk.views.get(claim.key.run_id)
            if root is not None:
                view = root.scopes.get(claim.key.scope, root)
                view.share()
                view.close()
                if root.idle:
                    self._desk.leave(root)
        log.info("handed_back", runner=self._desk.runner, steps=len(claims))
        jobs = await persistently("hand_back", lambda: self._store.hand_back(self._desk.runner, claims))
        await self.publish(jobs)
        await self._stirred(HOLD_OFF)


async def _acknowledge(delivery: Delivery) -> None:
    crash_point("before ack")
    try:
        await delivery.ack()
    except QueueUnavailable as error:
        log.warning("ack_failed", reason=str(error))  # it comes again, and is found claimed
    crash_point("after ack")
