"""The store: what runs and runners ask, one method per query. What others ask is in the rooms beside it."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from importlib.resources import files
from typing import Any, Self
from uuid import UUID

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from leat_engine.job import END, ROOT_SCOPE, Job, StepKey, dumps
from leat_engine.pools import Ability
from leat_engine.records import (
    Accepted,
    Block,
    Claim,
    Delayed,
    Interrupted,
    NewRun,
    Place,
    Revision,
    RunRecord,
    StepRecord,
    Stop,
)
from leat_engine.result import Result, State
from leat_engine.store import schema
from leat_engine.store.access import connecting, reaching
from leat_engine.store.artifacts import ArtifactRows
from leat_engine.store.bodies import Bodies
from leat_engine.store.care import Care
from leat_engine.store.children import Children
from leat_engine.store.cleanups import Cleanups
from leat_engine.store.durations import Durations
from leat_engine.store.lane import Lane
from leat_engine.store.logs import Logs
from leat_engine.store.pools import Pools
from leat_engine.store.quotas import Quotas
from leat_engine.store.reports import Reports
from leat_engine.store.rows import (
    accept_columns,
    claim_of,
    interrupted_of,
    job_of,
    json_of,
    key_columns,
    lineage_columns,
    opened_of,
    revision_of,
    root_jobs,
    run_of,
    step_of,
    written_of,
)
from leat_engine.store.schedules import Schedules
from leat_engine.store.scopes import Scopes
from leat_engine.store.shown import Shown
from leat_engine.store.signals import Signals
from leat_engine.store.turns import Turns
from leat_engine.store.versions import Versions
from leat_engine.store.writes import Lateness, Opened, Openings, Outcome, Writes, Written

SQL = {
    entry.name.removesuffix(".sql"): entry.read_text()
    for entry in (files("leat_engine.store") / "queries").iterdir()
    if entry.name.endswith(".sql")
}

PINNED = {
    # The statements join arrays to tables by primary key. On a fresh table a generic plan would scan it whole.
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",  # no statement here is worth starting processes for
    # A process that freezes inside a transaction holds its locks; those of the leader would stop all caretakers.
    "idle_in_transaction_session_timeout": "5000",
    "application_name": "leat",
}

SET_LOCAL = "; ".join(f"set local {name} = {value}" for name, value in PINNED.items())

HOT = ("accept", "claim", "commit")
"""Verbs with a connection of their own, beyond the ``size`` of the others."""

COMMAND_TIMEOUT = 30.0


class _Connection(asyncpg.Connection):
    """Sessions carry no state from one use to the next, so there is nothing to reset."""

    def get_reset_query(self) -> str:
        return ""


class Store:
    """The crossing to Postgres. Every method raises `StoreUnavailable` when Postgres does not answer."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", *, pooled: bool) -> None:
        self._pool = pool
        self._pooled = pooled
        self._lanes = {} if pooled else {verb: Lane(pool, COMMAND_TIMEOUT) for verb in HOT}
        self.statements = 0
        self.shown = Shown(self._fetch)
        self.reports = Reports(self._fetch)
        self.schedules = Schedules(self._fetch)
        self.logs = Logs(self._fetch)
        self.pools = Pools(self._fetch)
        self.care = Care(self._connection, SQL, self._fetch)
        self.signals = Signals(self._connection, SQL)
        self.turns = Turns(self._connection, SQL)
        self.durations = Durations(self._connection, SQL)
        self.artifacts = ArtifactRows(self._connection, SQL)
        self.quotas = Quotas(self._connection, SQL)
        self.cleanups = Cleanups(self._connection, SQL)
        self.scopes = Scopes(self._connection, SQL)
        self.bodies = Bodies(self._connection, SQL)
        self.children = Children(self._connection, SQL, self.quotas.admit)
        self.versions = Versions(self._connection, SQL)

    @classmethod
    async def connect(cls, dsn: str, *, size: int = 4) -> Self:
        """Open ``size`` connections at most and check the schema.

        Raises:
            SchemaMismatch: The database needs `leat db migrate`, or a newer program.
            StoreRefused: The URL is none, or Postgres does not let us in.
            StoreUnavailable: Postgres does not answer.
        """
        try:
            store = cls(await _open(dsn, size, server_settings=PINNED), pooled=False)
        except asyncpg.ProtocolViolationError:
            # A transaction-mode pooler takes no settings and keeps no statements: both then live in a transaction.
            store = cls(await _open(dsn, size, statement_cache_size=0), pooled=True)
        try:
            async with store._connection() as connection:
                await schema.check(connection)
        except BaseException:
            await store.close()
            raise
        return store

    async def close(self) -> None:
        """Close all connections, at once if Postgres is away."""
        self._pool.terminate()

    # -- runs -----------------------------------------------------------------------------------------------------

    async def save_revision(self, revision: Revision) -> None:
        """Keep a compiled version of a workflow; the same one again changes nothing."""
        await self._fetch("save_revision", revision.id, revision.namespace, revision.workflow, dumps(revision.spec))

    async def revision(self, revision_id: str) -> Revision | None:
        """A version of a workflow."""
        rows = await self._fetch("revision", revision_id)
        return revision_of(rows[0]) if rows else None

    async def accept(self, runs: Sequence[NewRun]) -> list[Accepted]:
        """Let runs enter the store, with their first steps ready, or held by a quota. The caller publishes the jobs.

        Of runs that a quota had held until now, there are jobs too.

        Raises:
            ValueError: The store has not, or no longer, what a run goes on from.
        """
        unique = {run.run_id: run for run in runs}
        columns = accept_columns(list(unique.values()))
        if any(run.lineage for run in unique.values()):
            rows = await self._accept_again(list(unique.values()), columns)
        else:
            rows = await self._fetch("accept", *columns)
        created = {row["id"]: row["held"] for row in rows}
        jobs = {run_id: root_jobs(unique[run_id]) for run_id, held in created.items() if not held}
        for namespace in {row["namespace"] for row in rows if row["held"]}:
            begun = await self.quotas.admit(namespace)  # perhaps others, which came before
            first = next(row["id"] for row in rows if row["held"] and row["namespace"] == namespace)
            jobs[first] = tuple(begun)
        return [Accepted(run_id, run_id in created, jobs.get(run_id, ())) for run_id in unique]

    async def stop(self, run_id: UUID, stop: Stop) -> list[Job]:
        """End a run before its time; jobs to publish. A run that is over, or stopping already, is left alone."""
        async with self._connection() as connection, connection.transaction():
            last = await self._stop(connection, run_id, stop, None)
            if last is None:
                return []
            return [Job(StepKey(run_id, ROOT_SCOPE, END), last["attempt"], last["pool"], last["priority"])]

    async def suspend(self, run_id: UUID, suspended: bool) -> list[Job]:
        """Pause or resume a run; jobs to publish."""
        self.statements += 1
        async with self._connection() as connection, connection.transaction():
            changed = await connection.fetch(SQL["suspend"], run_id, suspended)
            if not changed:
                return []
            self.statements += 1
            rows = await connection.fetch(SQL["withhold"], run_id, suspended)
        if suspended:
            return []
        begun = await self.quotas.admit(changed[0]["namespace"]) if changed[0]["held"] else []
        return [*map(job_of, rows), *begun]

    async def prioritise(self, run_id: UUID, priority: int) -> list[Job]:
        """Let a run that is not over go before others, or behind them; jobs to publish, once more."""
        self.statements += 1
        async with self._connection() as connection, connection.transaction():
            if not await connection.fetch(SQL["prioritise"], run_id, priority):
                return []
            self.statements += 1
            return [job_of(row) for row in await connection.fetch(SQL["reorder"], run_id, priority)]

    async def run(self, run_id: UUID) -> RunRecord | None:
        """One run."""
        rows = await self._fetch("run", run_id)
        return run_of(rows[0]) if rows else None

    async def find_run(self, namespace: str, name: str) -> RunRecord | None:
        """The newest run of a name."""
        rows = await self._fetch("find_run", namespace, name)
        return run_of(rows[0]) if rows else None

    async def steps(self, run_id: UUID) -> list[StepRecord]:
        """Steps of a run that have begun to exist: at least one of their needs is done."""
        return [step_of(row) for row in await self._fetch("steps", run_id)]

    # -- runners --------------------------------------------------------------------------------------------------

    async def register(self, name: str, pool: str, slots: int, ability: Ability | None = None) -> int:
        """A new runner; its id. ``ability``: what its pool is known to be able to do from now on."""
        told = (None, None, None) if ability is None else (ability.revision, ability.kinds, ability.functions)
        return int((await self._fetch("register", name, pool, slots, *told))[0]["id"])

    async def heartbeat(
        self, runner: int, busy: int, held_seconds: float | None = None, *, draining: bool = False
    ) -> bool:
        """Tell that the runner is here, and since when it holds its oldest step; False when it was declared dead."""
        return bool(await self._fetch("heartbeat", runner, busy, held_seconds, draining))

    async def interrupted(self, runner: int) -> list[Interrupted]:
        """Runs whose running steps the runner has to interrupt, or some of them; told until they are over."""
        return [interrupted_of(row) for row in await self._fetch("interrupted", runner)]

    async def retire(self, runner: int) -> list[Job]:
        """The runner leaves in good order; what it still had goes back. Jobs to publish."""
        await self._fetch("retire", runner)
        error = {"type": "RunnerStopped", "message": "the runner was stopped while the step ran"}
        return await self.care.rescue(runner, error, lost=False)

    async def claim(self, runner: int, jobs: Sequence[Job]) -> list[Claim]:
        """Make jobs the runner's own; those that are somebody else's, old or suspended are missing from the answer."""
        return [claim_of(row) for row in await self._fetch("claim", runner, *key_columns(jobs))]

    async def poll(self, runner: int, pool: str, limit: int) -> list[Claim]:
        """Claim without the broker."""
        async with self._connection() as connection, connection.transaction():
            jobs = [job_of(row) for row in await connection.fetch(SQL["poll"], pool, limit)]
            self.statements += 2
            if not jobs:
                return []
            return [claim_of(row) for row in await connection.fetch(SQL["claim"], runner, *key_columns(jobs))]

    async def commit(self, runner: int, writes: Writes) -> Written:
        """Write what was decided: one statement, and one transaction around it when runs are to be stopped as well."""
        arguments = (runner, *writes.literals())
        if not writes.stops:
            return written_of(await self._fetch("commit", *arguments))
        self.statements += 1
        async with self._connection() as connection, connection.transaction():
            written = written_of(await connection.fetch(SQL["commit"], *arguments))
            for run_id, stop in writes.stops:
                if run_id in written.runs and await self._stop(connection, run_id, stop, runner):
                    written.claimed.setdefault((run_id, ROOT_SCOPE), {})[END] = 1
                    written.runs[run_id] = Outcome(written.runs[run_id].phase, stop.phase)
            return written

    async def open(self, runner: int, openings: Openings) -> Opened:
        """Let claimed steps open scopes and wait for them."""
        return opened_of(await self._fetch("open", runner, *openings.columns))

    async def block(self, key: StepKey) -> Block | None:
        """What a step has opened."""
        rows = await self._fetch("block", *key)
        return Block(**rows[0]) if rows else None

    async def ends(self, run_id: UUID, scopes: range, node: int, *, outputs: bool) -> dict[int, Result]:
        """How a node has ended in these scopes, by scope; without outputs if they are not asked for."""
        rows = await self._fetch("ends", run_id, scopes.start, scopes.stop, node, outputs)
        return {
            row["scope"]: Result(State(row["state"]), json_of(row["output"]), json_of(row["error"])) for row in rows
        }

    async def gather_bytes(self, run_id: UUID, scopes: range, node: int) -> int:
        """Bytes of all outputs of a node in these scopes."""
        return int((await self._fetch("gather_bytes", run_id, scopes.start, scopes.stop, node))[0]["bytes"])

    async def first_failed(self, run_id: UUID, scopes: range, node: int) -> tuple[int, Mapping[str, Any]] | None:
        """The first of these scopes in which a node has failed, and the error."""
        rows = await self._fetch("first_failed", run_id, scopes.start, scopes.stop, node)
        return (rows[0]["scope"], json_of(rows[0]["error"])) if rows else None

    async def places(self, run_id: UUID, scopes: Sequence[int]) -> list[Place]:
        """Where scopes are, and those around them; outer ones first."""
        return [Place(**row) for row in await self._fetch("places", run_id, scopes)]

    async def cancelled(self, run_id: UUID) -> list[StepKey]:
        """Steps of a run, in any scope, that were cancelled."""
        return [StepKey(run_id, row["scope"], row["id"]) for row in await self._fetch("cancelled", run_id)]

    async def delay(self, runner: int, late: Sequence[Lateness]) -> list[Delayed]:
        """Let claimed attempts wait; those that may not are missing from the answer."""
        rows = await self._fetch(
            "delay",
            runner,
            [item.key.run_id for item in late],
            [item.key.scope for item in late],
            [item.key.step for item in late],
            [item.attempt for item in late],
            [item.error for item in late],
            [item.seconds for item in late],
            [item.pool for item in late],
            [item.epoch for item in late],
        )
        return [
            Delayed(StepKey(row["run_id"], row["scope"], row["step_id"]), row["attempt"], row["seconds"])
            for row in rows
        ]

    async def mine(self, runner: int) -> list[Claim]:
        """Every claim of the runner, to be compared with what it knows after a lost answer."""
        return [claim_of(row) for row in await self._fetch("mine", runner)]

    async def hand_back(self, runner: int, claims: Sequence[Claim]) -> list[Job]:
        """Make claims that were not begun ready again, as the same attempts; jobs to publish."""
        keys = [claim.key for claim in claims]
        rows = await self._fetch(
            "hand_back",
            runner,
            [key.run_id for key in keys],
            [key.scope for key in keys],
            [key.step for key in keys],
            [claim.attempt for claim in claims],
        )
        return [job_of(row) for row in rows]

    async def load(self, keys: Sequence[StepKey]) -> dict[StepKey, Result]:
        """How steps ended, outputs included; steps that are not over are missing."""
        rows = await self._fetch("load", [k.run_id for k in keys], [k.scope for k in keys], [k.step for k in keys])
        return {
            StepKey(row["run_id"], row["scope"], row["id"]): Result(
                State(row["state"]), json_of(row["output"]), json_of(row["error"])
            )
            for row in rows
        }

    async def survey(self, run_id: UUID, scope: int) -> dict[int, tuple[State, Mapping[str, Any] | None]]:
        """The ends of all steps of a scope, without outputs: state and error by node."""
        rows = await self._fetch("survey", run_id, scope)
        return {row["id"]: (State(row["state"]), json_of(row["error"])) for row in rows}

    async def note(self, runner: int, key: StepKey, attempt: int, text: str | None) -> bool:
        """Tell what a step waits for, or None when it does not any more; False when the step is not the runner's."""
        rows = await self._fetch("note", runner, key.run_id, key.scope, key.step, attempt, text)
        return bool(rows[0]["said"])

    async def begun(self, key: StepKey, attempt: int) -> datetime | None:
        """When runners that are gone began the try that the attempt goes on with; None when it is the try's first."""
        at: datetime | None = (await self._fetch("begun", key.run_id, key.scope, key.step, attempt))[0]["at"]
        return at

    # -- crossings ------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[PoolConnectionProxy]:
        with reaching():
            async with self._pool.acquire(timeout=COMMAND_TIMEOUT) as connection:
                if not self._pooled:
                    yield connection
                    return
                async with connection.transaction():
                    await connection.execute(SET_LOCAL)
                    yield connection

    async def _fetch(self, verb: str, *arguments: Any) -> list[asyncpg.Record]:
        self.statements += 1
        if verb in self._lanes:
            with reaching():
                return await self._lanes[verb].fetch(SQL[verb], *arguments)
        async with self._connection() as connection:
            return await connection.fetch(SQL[verb], *arguments)

    async def _accept_again(self, runs: Sequence[NewRun], columns: list[list[Any]]) -> list[asyncpg.Record]:
        """Accept runs of which some go on from others: nobody sees one before what it keeps is there."""
        self.statements += 1
        async with self._connection() as connection, connection.transaction():
            rows = await connection.fetch(SQL["accept"], *columns)
            created = {row["id"] for row in rows}
            for run in runs:
                if run.lineage is not None and run.run_id in created:
                    self.statements += 1
                    if run.lineage.cleanup:
                        whole = await connection.fetch(SQL["take_over"], run.run_id, run.lineage.of, run.lineage.name)
                    else:
                        (row,) = await connection.fetch(SQL["keep"], run.run_id, *lineage_columns(run.lineage))
                        whole = row["kept"] == len(run.lineage.kept)
                    if not whole:
                        raise ValueError(f"the store has not all steps of run {run.lineage.name} any more")
                    kept = None if run.lineage.cleanup else list(run.lineage.kept)
                    await connection.fetch(SQL["copy_artifacts"], run.run_id, run.lineage.of, kept)
        return rows

    async def _stop(
        self, connection: PoolConnectionProxy, run_id: UUID, stop: Stop, runner: int | None
    ) -> asyncpg.Record | None:
        """Stop a run; the row of its END if that is to be done now, claimed by ``runner`` or ready."""
        self.statements += 1
        if not await connection.fetch(SQL["stop"], run_id, stop.phase, dumps(stop.error)):
            return None
        (row,) = await connection.fetch(SQL["halt"], run_id)
        if stop.interrupt:
            await connection.fetch(SQL["interrupt"], run_id)
        if row["uid"] is not None:
            await connection.fetch(SQL["report"], run_id)
        if row["live"]:
            return row if row["attempt"] is not None and runner is None else None
        (last,) = await connection.fetch(SQL["last"], run_id, runner)
        return last


async def _open(dsn: str, size: int, **how: Any) -> "asyncpg.Pool[asyncpg.Record]":
    with connecting():
        return await asyncpg.create_pool(
            dsn,
            min_size=1,
            max_size=size + len(HOT),
            connection_class=_Connection,
            command_timeout=COMMAND_TIMEOUT,
            max_inactive_connection_lifetime=0,
            **how,
        )
