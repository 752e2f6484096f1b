"""Revisions of workflows, and runs that are migrated from one to another: a few statements under the lock of one run.

A runner writes only of what it has claimed, and it claims only ready steps. So a run is migrated while its ready steps
are locked and none is claimed: no statement of a runner is under way then that the store would take. What a runner
still knows, or tries again because an answer was lost, names the epoch of the run, which is another one afterwards.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from asyncpg.pool import PoolConnectionProxy

from leat_engine.compare import Progress, Span, Transfer, compare
from leat_engine.crash import crash_point
from leat_engine.errors import LeatError, Reason, Rejected
from leat_engine.job import Job, dumps
from leat_engine.plan import Plan
from leat_engine.records import Revision, RunRecord
from leat_engine.result import State
from leat_engine.store.access import Connect
from leat_engine.store.rows import job_of, revision_of, run_of

_AWAY = 1_000_000
"""Above all numbers of steps: where they are while they change places."""


class Claimed(LeatError):
    """Runners have claims in the run: it is migrated when these have ended."""

    retriable = True


@dataclass(frozen=True, slots=True)
class ShownVersion:
    """A revision that a workflow has had.

    Attributes:
        since: When it was applied first; when the first run had it, if nobody applied it.
        returned_at: When it was applied last, if another one had been there in between.
        active: Runs that have it and are not over; finished: that are.
    """

    revision: str
    since: datetime
    returned_at: datetime | None
    active: int
    finished: int


class Versions:
    """Revisions and migrations. Every method raises `StoreUnavailable` when Postgres does not answer."""

    def __init__(self, connection: Connect, sql: Mapping[str, str]) -> None:
        self._connection = connection
        self._sql = sql

    async def note(self, revision: Revision) -> None:
        """The workflow has this revision now. The same one again changes nothing."""
        place = (revision.namespace, revision.workflow)
        async with self._connection() as connection, connection.transaction():
            await connection.fetch(self._sql["save_revision"], revision.id, *place, dumps(revision.spec))
            await connection.fetch(self._sql["note_version"], *place, revision.id)

    async def history(self, namespace: str, workflow: str) -> list[ShownVersion]:
        """The revisions that a workflow has had, the newest first."""
        async with self._connection() as connection:
            rows = await connection.fetch(self._sql["history"], namespace, workflow)
        return [ShownVersion(**row) for row in rows]

    async def revision(self, namespace: str, workflow: str, revision: str) -> Revision | None:
        """A revision that the workflow has, or has had; of no other workflow, and of no other namespace."""
        async with self._connection() as connection:
            rows = await connection.fetch(self._sql["of_workflow"], namespace, workflow, revision)
        return revision_of(rows[0]) if rows else None

    async def pinned(self, namespace: str, workflow: str, revision: str, limit: int) -> list[RunRecord]:
        """Runs of a revision that are not over, oldest first."""
        async with self._connection() as connection:
            rows = await connection.fetch(self._sql["pinned"], namespace, workflow, revision, limit)
        return [run_of(row) for row in rows]

    async def foresee(self, run_id: UUID, old: Plan, new: Plan) -> Transfer:
        """How the run would go on by ``new``, as it is now; nothing is changed, and nobody held up.

        Raises:
            Rejected: It cannot.
        """
        async with self._connection() as connection:
            row = await connection.fetchrow(self._sql["run"], run_id)
            return await self._compare(connection, None if row is None else run_of(row), old, new)

    async def migrate(self, run_id: UUID, old: Plan, new: Plan, *, resume: bool) -> list[Job]:
        """Let a run go on by ``new``; jobs to publish. ``resume``: it was suspended for this, and goes on at once.

        One that has that revision already is left alone, so that whoever did not hear the answer may ask again.

        Raises:
            Rejected: It cannot. Nothing was changed.
            Claimed: A runner has a step of it.
        """
        async with self._frozen(run_id) as (connection, run):
            if run is not None and run.revision == new.revision:
                return []
            await connection.fetch(self._sql["corner"], run_id)
            transfer = await self._compare(connection, run, old, new, quiet=True)
            crash_point("before migrate")
            rows = await self._write(connection, run_id, new.revision, transfer, resume=resume)
        crash_point("after migrate")
        return rows

    @asynccontextmanager
    async def _frozen(self, run_id: UUID) -> AsyncIterator[tuple[PoolConnectionProxy, RunRecord | None]]:
        async with self._connection() as connection, connection.transaction():
            rows = await connection.fetch(self._sql["freeze"], run_id)
            yield connection, run_of(rows[0]) if rows else None

    async def _compare(
        self, connection: PoolConnectionProxy, run: RunRecord | None, old: Plan, new: Plan, *, quiet: bool = False
    ) -> Transfer:
        if run is None or (obstacle := obstacle_of(run, old.revision)):
            raise Rejected([Reason("", "the run is not in the store" if run is None else obstacle)])
        progress = [
            Progress(row["scope"], row["node"], State(row["state"]), row["attempt"], row["executed"])
            for row in await connection.fetch(self._sql["progress"], run.run_id)
        ]
        claimed = sum(row.state is State.CLAIMED for row in progress)
        if quiet and claimed:
            raise Claimed(f"runners have {claimed} steps of run {run.name}")
        spans = [Span(**row) for row in await connection.fetch(self._sql["spans"], run.run_id)]
        return compare(old, new, run.inputs, progress, spans)

    async def _write(
        self, connection: PoolConnectionProxy, run_id: UUID, revision: str, transfer: Transfer, *, resume: bool
    ) -> list[Job]:
        dropped = transfer.dropped
        await connection.fetch(
            self._sql["drop_planned"], run_id, [scope for scope, _ in dropped], [node for _, node in dropped]
        )
        moved = {old: new for old, new in transfer.nodes.items() if old != new}
        bodies = {old: new for old, new in transfer.bodies.items() if old != new}
        if moved or bodies:
            away = [_AWAY + new for new in moved.values()]
            renumber = self._sql["renumber"]
            await connection.fetch(renumber, run_id, [*moved], away, [*bodies], [*bodies.values()])
            await connection.fetch(renumber, run_id, away, [*moved.values()], [], [])
        ready, counted = transfer.ready, transfer.counted
        rows = await connection.fetch(
            self._sql["migrate"],
            run_id,
            revision,
            dumps(transfer.inputs),
            transfer.more,
            transfer.live,
            transfer.pool,
            resume,
            [each.scope for each in ready],
            [each.node for each in ready],
            [each.attempt for each in ready],
            [each.pool for each in ready],
            [each.fresh for each in ready],
            [each.scope for each in counted],
            [each.node for each in counted],
            [each.needs for each in counted],
            [each.missing for each in counted],
        )
        return [job_of(row) for row in rows if row["run_id"] is not None]


def obstacle_of(run: RunRecord, revision: str) -> str:
    """Why a run can go on by no other revision at all, or ""."""
    if run.phase.done:
        return f"the run has ended: {run.phase.label}; `leat rerun` starts another one"
    if run.stopping is not None:
        return "the run is being stopped"
    if run.outcome is not None:
        return "the run does only what is left to do at its end"
    return "" if run.revision == revision else f"the run has revision {run.revision} by now: try again"
