"""Report: the store's truth about a run becomes one `.status` patch, coalesced per run.

The store's list of reports is a wake-up: it is read, cleared, and what it said is told when its time comes. However
slow the API server is, the newest word replaces the one that still waits: a run that ended is told its end and nothing
before it. Should this process die meanwhile, the sweep of the next one finds what was not told.
"""

import asyncio
import heapq
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID

import structlog

from leat_engine.crash import crash_point
from leat_engine.errors import Rejected, StoreUnavailable
from leat_engine.plan import Plan
from leat_engine.records import NewRun, Report, RunRecord
from leat_engine.result import Phase, State
from leat_engine.status import FAILURES, Refusal, Status, begun_at, run_status, shown_phase
from leat_engine.store import Store
from leat_operator import metrics
from leat_operator.catalog import Catalog
from leat_operator.forecasts import Forecasts, Looked
from leat_operator.inbox import Absent, Inbox
from leat_operator.insist import insist
from leat_operator.objects import RUNS, Ref
from leat_operator.pace import FIRST_DELAY, Pace, poll_interval
from leat_operator.patch import Patched, Patcher

log = structlog.get_logger(__name__)

LIMIT = 500
"""Reports read at once."""

BACKLOG = 5_000
"""Ends that may wait here for the API server; more of them wait in the store."""

AHEAD = 3600.0
"""Seconds by which an end is due before everything else: behind thousands of runs in progress, whose next word may as
well be a later one, somebody waits for it."""

_SETTLED = 20_000
_STORE_AWAY = 1.0


@dataclass(slots=True, eq=False)
class Tracked:
    """A run whose resource is told about it.

    Attributes:
        generation: The newest one of the resource that was seen.
        version: Of the newest report that was read.
        latest: What is to be told next.
        due: When; infinite when nothing is.
        busy: A patch is on its way.
        looked: How far the run was when ``latest`` was read, if that was asked.
    """

    ref: Ref
    generation: int
    pace: Pace = field(default_factory=Pace)
    version: int = 0
    latest: Report | None = None
    due: float = float("inf")
    busy: bool = False
    looked: Looked | None = None
    refusal: Refusal | None = None


class Reporter:
    """Reads reports from the store and patches resources. A running run without one goes to the inbox."""

    def __init__(self, store: Store, catalog: Catalog, patcher: Patcher, inbox: Inbox) -> None:
        self._store = store
        self._catalog = catalog
        self._patcher = patcher
        self._inbox = inbox
        self._forecasts = Forecasts(store)
        self._sending = 0
        self._ending: set[UUID] = set()
        self._runs: dict[UUID, Tracked] = {}
        self._agenda: list[tuple[float, UUID]] = []
        self._settled: OrderedDict[str, None] = OrderedDict()
        self._woken = asyncio.Event()
        self._moved = time.monotonic()

    def expect(self, run: NewRun) -> None:
        """A run was accepted. Tell its resource so, unless the store knows better by then."""
        now = time.monotonic()
        tracked = self._track(run.run_id, Ref(RUNS, run.namespace, run.name, run.uid or ""), run.generation)
        if tracked.latest is None and tracked.pace.phase is None:
            tracked.pace.not_before = now + FIRST_DELAY
            tracked.latest = Report(0, _pending(run))
            self._schedule(run.run_id, tracked, now + FIRST_DELAY)
        self._wake()

    def observe(self, run_id: UUID, ref: Ref, generation: int) -> None:
        """The resource's spec has changed, and what it asks for was done."""
        self._track(run_id, ref, generation)

    def refuse(self, run_id: UUID, refusal: Refusal | None) -> None:
        """Why the run is not migrated as its resource asks, or None when it was; told with its status from now on."""
        if (tracked := self._runs.get(run_id)) is not None:
            tracked.refusal = refusal

    async def refresh(self, run_id: UUID, *, again: bool = False) -> None:
        """Tell the resource of a run what the store says now, as soon as its pace allows.

        ``again``: also when it was told the end already.

        Raises:
            StoreUnavailable: Postgres does not answer.
        """
        run = await self._store.run(run_id)
        if run is None or run.uid is None or (run.phase.done and self.settled(run.uid) and not again):
            return
        steps = await self._store.steps(run_id) if run.failed or run.noted else []
        failed = [step for step in steps if step.state is State.FAILED]
        waiting = next(((step.key.step, step.note) for step in steps if step.note), (0, ""))
        looked = await self._forecasts.look([run])
        self._take(Report(0, run, tuple(failed[:FAILURES]), *waiting), looked.get(run_id))
        self._wake()

    def settled(self, uid: str) -> bool:
        """Whether the resource was told the end of its run."""
        return uid in self._settled

    async def run(self) -> None:
        """Report until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    await self._read()
                except StoreUnavailable as error:
                    log.warning("reports not read", error=str(error))
                    await asyncio.sleep(_STORE_AWAY)
                self._start_due(group)
                await self._pause()

    async def _read(self) -> None:
        """Take what is new off the store's list."""
        metrics.UNREPORTED.set(len(self._ending))
        while len(self._ending) < BACKLOG:
            reports = await self._store.reports.behind(LIMIT)
            looked = await self._forecasts.look(report.run for report in reports)
            for report in reports:
                self._take(report, looked.get(report.run.run_id))
            if reports:
                await self._store.reports.told([(report.run.run_id, report.version) for report in reports])
            if len(reports) < LIMIT:
                return

    def _take(self, report: Report, looked: Looked | None) -> None:
        run, now = report.run, time.monotonic()
        if report.version and run.phase.done and self.settled(run.uid or ""):
            return  # the list was not cleared when it was read before
        ref = Ref(RUNS, run.namespace, run.name, run.uid or "")
        tracked = self._track(run.run_id, ref, run.generation)
        if report.version and report.version <= tracked.version:
            return
        tracked.version = max(tracked.version, report.version)
        tracked.latest, tracked.looked = report, looked
        self._moved = now
        if run.phase.done:
            self._ending.add(run.run_id)
        self._schedule(run.run_id, tracked, _due(tracked, report, now))

    def _start_due(self, group: asyncio.TaskGroup) -> None:
        """Send what is due, no more at a time than the patcher does: the others may still be replaced."""
        now = time.monotonic()
        while self._sending < self._patcher.in_flight and self._agenda and self._agenda[0][0] <= now:
            due, run_id = heapq.heappop(self._agenda)
            tracked = self._runs.get(run_id)
            if tracked is not None and tracked.due == due and not tracked.busy:
                tracked.due, tracked.busy = float("inf"), True
                self._sending += 1
                group.create_task(self._send_and_go_on(run_id, tracked, group))

    async def _send_and_go_on(self, run_id: UUID, tracked: Tracked, group: asyncio.TaskGroup) -> None:
        await self._send(run_id, tracked)
        self._start_due(group)

    async def _send(self, run_id: UUID, tracked: Tracked) -> None:
        sent: Report | None = None
        plan = await self._plan(tracked)
        if tracked.latest is not None:
            await self._forecasts.learn(tracked.latest.run, plan)

        def render() -> Status:
            nonlocal sent
            sent, tracked.latest = tracked.latest or sent, None
            assert sent is not None  # noqa: S101 (it was due because there is one)
            finish = self._forecasts.finish(sent.run, plan, tracked.looked)
            return run_status(sent, plan, tracked.generation, tracked.refusal, finish)

        try:
            crash_point("before report")
            outcome = await self._patcher.patch(tracked.ref, render)
            crash_point("after report")
        except Exception:  # a record that cannot be rendered must not keep the others from being told
            log.exception("status not rendered", run=str(run_id), uid=tracked.ref.uid)
            outcome = Patched.REFUSED
        tracked.busy = False
        self._sending -= 1
        if sent is not None:
            self._conclude(run_id, tracked, sent, outcome)

    def _conclude(self, run_id: UUID, tracked: Tracked, sent: Report, outcome: Patched) -> None:
        phase, now = shown_phase(sent.run), time.monotonic()
        if outcome is Patched.DONE:
            metrics.REPORTED.labels(tracked.pace.stage(phase)).inc()
            tracked.pace.told(phase, max(tracked.generation, sent.run.generation), now, sent.waiting)
        if phase.done:
            self._settle(tracked.ref.uid)
            self._runs.pop(run_id, None)
            self._ending.discard(run_id)
            log.info("run ended", run=str(run_id), uid=tracked.ref.uid, phase=phase.label, told=outcome.value)
        elif outcome is Patched.GONE:
            self._inbox.put(Absent(tracked.ref, run_id))
        if tracked.latest is not None:
            self._schedule(run_id, tracked, _due(tracked, tracked.latest, now))

    async def _plan(self, tracked: Tracked) -> Plan | None:
        if tracked.latest is None:
            return None
        revision_id = tracked.latest.run.revision
        if (plan := self._catalog.plan(revision_id)) is not None:
            return plan
        # Patience: an end that is told without its plan is told without its output, and for good.
        revision = await insist(lambda: self._store.revision(revision_id))
        try:
            return None if revision is None else self._catalog.restore(revision)
        except Rejected as error:
            log.warning("revision not read", revision=revision_id, error=str(error))
            return None

    def _track(self, run_id: UUID, ref: Ref, generation: int) -> Tracked:
        tracked = self._runs.get(run_id)
        if tracked is None:
            tracked = self._runs[run_id] = Tracked(ref, generation)
        tracked.generation = max(tracked.generation, generation)
        return tracked

    def _schedule(self, run_id: UUID, tracked: Tracked, due: float) -> None:
        if not tracked.busy and due < tracked.due:
            tracked.due = due
            heapq.heappush(self._agenda, (due, run_id))

    def _settle(self, uid: str) -> None:
        self._settled[uid] = None
        if len(self._settled) > _SETTLED:
            self._settled.popitem(last=False)

    def _wake(self) -> None:
        self._moved = time.monotonic()
        self._woken.set()

    async def _pause(self) -> None:
        now = time.monotonic()
        shortest = poll_interval(0)
        wait = poll_interval(now - self._moved)
        if self._agenda:
            wait = min(wait, max(self._agenda[0][0] - now, shortest))
        self._woken.clear()
        if wait <= shortest:
            await asyncio.sleep(shortest)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._woken.wait()


def _due(tracked: Tracked, report: Report, now: float) -> float:
    """When to tell a resource of its run."""
    due = tracked.pace.due(shown_phase(report.run), tracked.generation, now, report.waiting)
    return due - AHEAD if report.run.phase.done else due


def _pending(run: NewRun) -> RunRecord:
    """The record of a run that was accepted a moment ago, without asking the store for it."""
    return RunRecord(
        run_id=run.run_id,
        namespace=run.namespace,
        name=run.name,
        workflow=run.workflow,
        revision=run.revision,
        uid=run.uid,
        generation=run.generation,
        phase=Phase.PENDING,
        suspended=run.suspended,
        stopping=None,
        inputs=run.inputs,
        output=None,
        error=None,
        priority=run.priority,
        total=run.total,
        live=len(run.roots),
        succeeded=0,
        failed=0,
        skipped=0,
        started_at=begun_at(run.run_id),
        finished_at=None,
        rerun_of=run.lineage.name if run.lineage else None,
    )
