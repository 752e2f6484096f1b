"""The runner: claim, execute, let the committer write, and go on in process with what follows."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from prometheus_client import Gauge

from leat_engine.artifacts import Objects
from leat_engine.commit import Committer, Ended, Late
from leat_engine.decide import failed
from leat_engine.errors import ExpressionError, StoreUnavailable
from leat_engine.job import END, Job, StepKey
from leat_engine.kind import END_WORK, Kind, outlives_runner
from leat_engine.opening import Opening
from leat_engine.plan import PlanStep
from leat_engine.pools import Ability
from leat_engine.queue.port import Queue
from leat_engine.records import Delayed, Interrupted
from leat_engine.result import ErrorType, Outcome, StepError
from leat_engine.store import Store
from leat_engine.view import RunView
from leat_runner.advance import advance
from leat_runner.attempt import Attempt, Means, cancelled, carry_out, concluded
from leat_runner.claims import INLINE, Claims
from leat_runner.cleanup import clean
from leat_runner.desk import Desk, forever, persistently
from leat_runner.family import Family, Household
from leat_runner.gates import Gates
from leat_runner.lobby import Lobby
from leat_runner.recall import recall
from leat_runner.seats import Seats
from leat_runner.secrets import SecretReader
from leat_runner.shelf import Shelf
from leat_runner.slots import Slots
from leat_runner.timers import Timers
from leat_runner.voice import Voice

WAKE_BATCH = 200
NO_SECRETS = SecretReader([])

log = structlog.get_logger()
BUSY = Gauge("leat_runner_busy", "Slots in use", ["pool"])
SLOTS = Gauge("leat_runner_slots", "Slots of the runner", ["pool"])


@dataclass(frozen=True, slots=True)
class RunnerOptions:
    """How a runner works. Seconds.

    Attributes:
        slots: I/O steps at once.
        cpu_slots: CPU steps at once; they share the capacity with the others.
        heartbeat: Between two signs of life; a runner silent for three of them is dead.
        grace: Time to finish at a stop; what runs longer is handed on.
        ability: What the pool is announced to be able to do; None announces nothing.
        objects: Where files and large outputs go, or None.
        tenants: Namespaces whose steps it executes; all when empty.
        workflow_grace: How long a step waits for a Workflow that is not there, from when it was first queued.
    """

    name: str
    pool: str = "default"
    slots: int = 200
    cpu_slots: int = 2
    heartbeat: float = 2.0
    grace: float = 25.0
    ability: Ability | None = None
    objects: Objects | None = None
    tenants: frozenset[str] = frozenset()
    workflow_grace: float = 300.0


class Runner:
    """One runner. ``start`` registers it, ``stop`` drains it; declared dead, it begins anew under another id."""

    def __init__(
        self,
        store: Store,
        queue: Queue,
        kinds: Mapping[str, Kind],
        options: RunnerOptions,
        secrets: SecretReader = NO_SECRETS,
    ) -> None:
        self.options = options
        self._store = store
        self._kinds = kinds
        self._desk = Desk(Slots(options.slots, options.cpu_slots), kinds)
        self._claims = Claims(self._desk, store, queue, options.pool, self._execute)
        self._timers = Timers(self._wake)
        self._voice = Voice(store)
        self._gates = Gates(Lobby(store, self._claims.publish, self._claims.aside))
        self._seats = Seats(store, self._desk, (self._claims.publish, self._claims.aside), self.leave)
        self._shelf = Shelf(store.artifacts, options.objects)
        self._family = Family(
            Household(store, self._claims.plans, self._claims.publish, self._claims.aside, options.workflow_grace)
        )
        self._means = Means(
            kinds, secrets, self._voice, self._gates, self._family, self._shelf, tenants=options.tenants
        )
        self._loops: list[asyncio.Task[None]] = []
        self._committer: Committer
        self._heard = float("-inf")
        self._busy = BUSY.labels(options.pool)
        SLOTS.labels(options.pool).set(options.slots)

    @property
    def id(self) -> int:
        """The runner's id in the store."""
        return self._desk.runner

    @property
    def busy(self) -> int:
        """Slots in use."""
        return self._desk.slots.used

    @property
    def unready(self) -> str:
        """Why this runner can take no steps, or "". The broker being away is no reason: it polls."""
        if self._desk.draining:
            return "draining: it goes when its steps are done"
        silent = time.monotonic() - self._heard
        if silent == float("inf"):
            return "not registered yet: Postgres has not answered"
        return f"no sign of Postgres for {silent:.0f} s" if silent > 3 * self.options.heartbeat else ""

    # -- life -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Register, and begin to take work. Needs Postgres, does not need the broker."""
        await self._enlist()
        self._voice.start()
        loops = (self._claims.loop, self._heartbeat, self._timers.loop)
        self._loops = [asyncio.create_task(forever(loop)) for loop in loops]

    async def stop(self) -> None:
        """Take nothing more, finish what runs within the grace period, hand the rest on.

        What goes on without this runner is handed on at once.
        """
        self._desk.draining = True
        await self._claims.pause()
        tasks = self._desk.tasks
        for key, task in list(tasks.items()):
            if outlives_runner(self._kinds.get(self._desk.views[key.run_id].plan.steps[key.step].kind)):
                task.cancel()
        try:
            async with asyncio.timeout(self.options.grace):
                while tasks:
                    await asyncio.wait(tasks.values())
                    await self._committer.idle()
                await self._committer.idle()
        except TimeoutError:
            log.warning("drain_cut", runner=self.id, steps=len(tasks))
        await _ended([*self._loops, *tasks.values()])
        await self._committer.stop()
        await self._seats.finish()
        await self._voice.stop()
        try:
            await self._claims.publish(await self._store.retire(self.id))
        except StoreUnavailable as error:
            log.warning("retire_failed", runner=self.id, reason=str(error))  # rescue will do it
        await self._claims.finish()
        for kind in self._kinds.values():
            await kind.close()
        await self._means.secrets.close()
        log.info("runner_stopped", runner=self.id)

    async def _enlist(self) -> None:
        options = self.options
        await self._seats.learn()
        self._desk.runner = await self._store.register(options.name, options.pool, options.slots, options.ability)
        self._heard = time.monotonic()
        self._committer = Committer(self._store, self.id, self, self._desk.writing)
        self._committer.start()
        self._voice.runner = self._gates.lobby.runner = self._family.runner = self._shelf.runner = self.id
        log.info("runner_registered", runner=self.id, pool=self.options.pool, slots=self.options.slots)

    async def _fence(self) -> None:
        """Declared dead: everything this runner held belongs to others. Drop it and begin anew."""
        log.error("fenced", runner=self.id, steps=len(self._desk.tasks), hint="was frozen or cut off from Postgres")
        await self._committer.stop()
        await _ended(list(self._desk.tasks.values()))
        self._desk.clear()
        self._gates.clear()
        self._seats.clear()
        self._family.clear()
        await persistently("register", self._enlist)

    # -- execute --------------------------------------------------------------------------------------------------

    def _execute(self, attempt: Attempt) -> None:
        key = attempt.key
        task = asyncio.create_task(self._seated(attempt) if self._seats.limits(attempt) else self._attempt(attempt))
        self._desk.tasks[key] = task
        self._desk.begun[key] = time.monotonic()
        self._seats.running[key] = attempt
        task.add_done_callback(partial(self._put, attempt))

    async def _seated(self, attempt: Attempt) -> Ended | Late | Opening | None:
        """What to write of the attempt; None when it was put back, and is somebody else's."""
        return await self._attempt(attempt) if await self._seats.ask(attempt) else None

    async def _attempt(self, attempt: Attempt) -> Ended | Late | Opening:
        view, node = attempt.view, attempt.node
        try:
            if node.id == END and view.plan.cleans:
                return await clean(attempt, self._store, self._shelf, self._kinds)
            unread = await self._read_up(attempt)
            return await self._done(attempt) if unread is None else concluded(attempt, unread)
        except ExpressionError as error:  # of a step around this one
            return Ended(
                view, node.id, attempt.number, failed(StepError(ErrorType.EXPRESSION, str(error), retriable=False))
            )
        except Exception as error:
            log.exception("attempt_defect", run=str(view.run_id), step=node.name, attempt=attempt.number)
            defect = StepError(ErrorType.INTERNAL, f"{type(error).__name__}: {error}", retriable=False)
            return Ended(view, node.id, attempt.number, failed(defect))

    async def _read_up(self, attempt: Attempt) -> Outcome | None:
        """Know what the attempt's expressions read; how it ends when that cannot be."""
        view, node = attempt.view, attempt.node
        unread = None
        if view.missing(node, {}) or (node.id <= END and not view.complete) or view.unnamed:
            unread = await recall(view, node, self._store, self._shelf)
        return await self._shelf.fetch(view, node) if node.looks and unread is None else unread

    async def _done(self, attempt: Attempt) -> Ended | Late | Opening:
        view, node = attempt.view, attempt.node
        if node.opens is not None:
            held = None if view.plan.slots is None else await self._means.gates.admit(attempt)
            return await advance(attempt, self._store, self._kinds) if held is None else concluded(attempt, held)
        if attempt.broken_off and outlives_runner(self._kinds.get(node.kind)):
            attempt = await self._taken_over(attempt)
        return await carry_out(attempt, self._means)

    async def _taken_over(self, attempt: Attempt) -> Attempt:
        """The attempt with what is known of the work that an earlier runner may have left."""
        key, number = attempt.key, attempt.number
        began = await persistently("begun", lambda: self._store.begun(key, number))
        until = await persistently("logged_until", lambda: self._store.logs.until(key))
        return replace(attempt, taken_over=began, logged_until=until)

    def _put(self, attempt: Attempt, task: "asyncio.Task[Ended | Late | Opening | None]") -> None:
        """Commit how the attempt ended. A callback, as a task that is cancelled before it began runs no line."""
        if self._seats.returned(attempt):
            return
        key = attempt.key
        self._desk.tasks.pop(key, None)
        self._desk.begun.pop(key, None)
        self._seats.running.pop(key, None)
        view = attempt.view
        if not task.cancelled() and (result := task.result()) is not None:
            self._seats.left(attempt)
            self._committer.put(result)
        elif view.halted:
            self._seats.left(attempt)
            self._committer.put(Ended(view, attempt.node.id, attempt.number, cancelled(view)))
        # else fenced or drained: others go on with the step

    # -- what the committer asks for ------------------------------------------------------------------------------

    def take(self, node: PlanStep) -> bool:
        """Go on with the step here, if a slot is free; ends and steps without effects always."""
        if node.light:
            return True
        if self._desk.draining or node.pool != self.options.pool:
            return False
        return self._desk.slots.take(self._desk.units(node))

    def release(self, node: PlanStep) -> None:
        """The step is over, and its slot free for what follows."""
        self._desk.give(node)

    def untake(self, node: PlanStep) -> None:
        """Give the reserved slot back."""
        self._desk.give(node)

    def begin(self, view: RunView, step: int, attempt: int) -> None:
        """Execute a step that was claimed with the commit before it."""
        INLINE.inc()
        view.live.add(step)
        self._execute(Attempt(view, view.plan.steps[step], attempt, datetime.now(UTC)))

    def hand_over(self, jobs: Sequence[Job]) -> None:
        """Publish what this runner has no slots for."""
        self._claims.aside(self._claims.publish(jobs))

    def spread(self, jobs: Sequence[Job]) -> None:
        """Publish what this runner has no slots for, now or in a moment."""
        self._claims.spread(jobs)

    def delayed(self, attempts: Sequence[Delayed]) -> None:
        """Wake them from here in time."""
        self._gates.parked(attempts)
        self._family.parked(attempts)
        for attempt in attempts:
            self._timers.set(attempt.seconds)

    def leave(self, view: RunView) -> None:
        """Forget the run; should a step of it come back, the store knows the rest."""
        if self._desk.views.get(view.run_id) is view:  # else it was migrated meanwhile, and is known anew
            self._desk.leave(view)
            self._gates.left(view)
            self._family.left(view)
            self._seats.followed(view)

    def lost(self, run_ids: Sequence[UUID]) -> None:
        """Ask the store what is still ours."""
        log.warning("commit_refused", runs=[str(run_id) for run_id in run_ids], runner=self.id)
        self._gates.lost(run_ids)
        self._family.lost(run_ids)
        self._claims.doubt()

    # -- heartbeat and timers -------------------------------------------------------------------------------------

    async def _heartbeat(self) -> None:
        while True:
            await asyncio.sleep(self.options.heartbeat)
            self._busy.set(self.busy)
            desk = self._desk
            desk.forget()
            try:
                alive = await self._store.heartbeat(self.id, self.busy, desk.held_seconds, draining=desk.draining)
                self._heard = time.monotonic()
                interrupts = await self._store.interrupted(self.id) if alive else []
                if alive:
                    await self._seats.learn()
            except StoreUnavailable as error:
                log.warning("heartbeat_missed", runner=self.id, reason=str(error))
                continue
            if not alive:
                await self._fence()
            for interrupted in interrupts:
                self._interrupt(interrupted)

    def _interrupt(self, interrupted: Interrupted) -> None:
        view = self._desk.views.get(interrupted.run_id)
        if view is not None and interrupted.stopping is None:
            self._shut(view, interrupted.shut)
            return
        if view is None or interrupted.stopping is None or view.interrupted or view.outcome is not None:
            return
        view.stop(interrupted.stopping, interrupted.error)
        told = {scope.scope for scope in view.scopes.values() if scope.interrupted}
        for scope in view.scopes.values():
            scope.interrupted = True
        for key, task in self._desk.tasks.items():
            if key.run_id == interrupted.run_id and key.step > END and key.scope not in told:
                task.cancel(END_WORK)

    def _shut(self, root: RunView, scopes: Sequence[range]) -> None:
        """A body takes too long: its steps that run here are interrupted, and nothing follows them."""
        inside = [view for view in root.scopes.values() if any(view.scope in each for each in scopes)]
        for view in inside:
            for step in () if view.interrupted else view.live:
                task = self._desk.tasks.get(StepKey(view.run_id, view.scope, step))
                if step > END and task is not None:
                    task.cancel(END_WORK)
            view.shut = view.interrupted = True

    async def _wake(self) -> None:
        try:
            await self._claims.publish(await self._store.care.wake(WAKE_BATCH))
        except StoreUnavailable as error:
            log.warning("wake_held", reason=str(error))  # the caretakers wake it


async def _ended(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
