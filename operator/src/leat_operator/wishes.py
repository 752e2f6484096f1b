"""Wishes: what a resource asks of its run beyond running it - to be suspended, cancelled, hurried, not to be."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog

from leat_engine.errors import QueueUnavailable
from leat_engine.job import Job
from leat_engine.queue.port import Queue
from leat_engine.records import Stop
from leat_engine.result import ErrorType, Phase, StepError
from leat_engine.store import Store
from leat_operator import metrics
from leat_operator.cluster import Cluster
from leat_operator.insist import insist
from leat_operator.migrations import Migrations
from leat_operator.objects import Ref
from leat_operator.patch import Patcher
from leat_operator.report import Reporter
from leat_operator.standing import Standing
from leat_operator.tidy import Tidier

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Crossings:
    """What the intake reaches the world through."""

    store: Store
    queue: Queue
    cluster: Cluster
    patcher: Patcher
    reporter: Reporter
    tidier: Tidier
    standing: Standing


@dataclass(slots=True)
class Known:
    """A run's resource as it was last acted on. ``run_id`` is None when it can never run."""

    run_id: UUID | None
    generation: int
    suspend: bool = False
    cancel: bool = False
    priority: int = 0
    revision: str = ""


class Errands:
    """Work that nobody waits for. It ends with the operator; an error of it is a defect, and is told."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Awaitable[Any]) -> None:
        """Begin with it."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def cancel(self) -> None:
        """Give up what is not done."""
        for task in self._tasks:
            task.cancel()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("errand failed", exc_info=error)


class Wishes:
    """Does in the store what resources ask for."""

    def __init__(self, crossings: Crossings, errands: Errands, migrations: Migrations) -> None:
        self._to = crossings
        self._errands = errands
        self._migrations = migrations

    async def obey(self, ref: Ref, known: Known, spec: Mapping[str, Any]) -> None:
        """Suspend, resume, cancel, reorder or migrate, where the spec differs from what was done. Updates ``known``.

        A run that is being migrated is suspended for that, and goes on afterwards.
        """
        if known.run_id is None:
            return
        run, suspend, priority = known.run_id, bool(spec.get("suspend", False)), int(spec.get("priority", 0))
        if priority != known.priority:
            self.publish(await insist(lambda: self._to.store.prioritise(run, priority)))
            known.priority = priority
            log.info("run has another priority", run=str(run), uid=ref.uid, priority=priority)
        if spec.get("cancel") and not known.cancel:
            await self._cancel(ref, run, "spec.cancel is true")
            known.cancel = True
            return
        if suspend is not known.suspend and not self._migrations.going(run):
            self.publish(await insist(lambda: self._to.store.suspend(run, suspend)))
            known.suspend = suspend
            log.info("run suspended" if suspend else "run resumed", run=str(run), uid=ref.uid)
        if (revision := spec.get("revision") or known.revision) != known.revision and not known.cancel:
            known.revision = revision
            self._errands.start(self._migrate(run, revision, known.generation))

    async def bury(self, ref: Ref, run: UUID) -> bool:
        """Cancel a run whose resource is said to be gone, if that is so. Returns whether the resource lives on.

        A run that is over leaves the watch in the same way as one that was deleted, so the store is asked first.
        """
        record = await insist(lambda: self._to.store.run(run))
        if record is None or record.phase.done:
            return False
        found = await insist(lambda: self._to.cluster.get(ref.resource, ref.namespace, ref.name))
        if found is not None and found["metadata"]["uid"] == ref.uid and not found["metadata"].get("deletionTimestamp"):
            return True
        metrics.CANCELLED.inc()
        await self._cancel(ref, run, "the WorkflowRun was deleted")
        return False

    def publish(self, jobs: Sequence[Job]) -> None:
        """Hand jobs to the broker, without waiting for it."""
        if jobs:
            self._errands.start(publish(self._to.queue, jobs))

    async def _migrate(self, run: UUID, revision: str, generation: int) -> None:
        self.publish(await self._migrations.carry_out(run, revision, generation))

    async def _cancel(self, ref: Ref, run: UUID, why: str) -> None:
        error = StepError(ErrorType.CANCELLED, why, retriable=False).as_json()
        self.publish(await insist(lambda: self._to.store.stop(run, Stop(Phase.CANCELLED, True, error))))
        log.info("run cancelled", run=str(run), uid=ref.uid, reason=why)


async def publish(queue: Queue, jobs: Sequence[Job]) -> None:
    """Hand jobs to the broker; it may be away."""
    try:
        await queue.publish(jobs)
    except QueueUnavailable as error:  # the store has them as ready: `resend` publishes them, and runners poll
        log.warning("jobs not published", jobs=len(jobs), error=str(error))
