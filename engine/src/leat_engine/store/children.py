"""Child runs, and the Workflows that they are of: what steps start, hear of, and are woken by."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

import asyncpg

from leat_engine.child import Astray, Called, Parent, time_of, too_many
from leat_engine.crash import crash_point
from leat_engine.job import Job, StepKey
from leat_engine.kin import ChildRecord
from leat_engine.records import NewRun, RunRecord
from leat_engine.redaction import Redaction
from leat_engine.result import Phase, StepError
from leat_engine.store.access import Connect
from leat_engine.store.rows import accept_columns, job_of, root_jobs, run_of
from leat_engine.store.signals import Mine

Admit = Callable[[str], Awaitable[list[Job]]]
"""Let runs of a namespace begin that its quota holds: see `quotas`."""
SWEEP = 500
"""Child runs per round at most."""
SHOWN, FOUND = 200, 5_000
"""Child runs that are shown below a run, and among how many these are looked for."""


@dataclass(frozen=True, slots=True)
class Shelved:
    """A Workflow as its resource is: of this revision, or wrong for this reason.

    Attributes:
        created_at: When the resource was created; a later one of the same name is newer.
    """

    namespace: str
    name: str
    uid: str
    created_at: datetime
    generation: int
    revision: str | None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Birth:
    """What a child has of its parent's step.

    Attributes:
        number: Of the step's try.
        awaited: The step waits for its end; then it takes no longer than ``seconds``, if that is not None.
        redaction: Of the parent, as far as its plan and inputs tell.
        note: What the step waits for.
    """

    number: int
    awaited: bool
    seconds: float | None
    redaction: Redaction
    note: str


@dataclass(frozen=True, slots=True)
class Started:
    """What became of the wish for a child. ``lost``: the claim is not the runner's any more, or its run is stopping."""

    lost: bool = False
    problem: StepError | None = None
    jobs: tuple[Job, ...] = ()


class Children:
    """The crossing for child runs. Every method raises `StoreUnavailable` when Postgres does not answer."""

    def __init__(self, connect: Connect, sql: Mapping[str, str], admit: Admit) -> None:
        self._connect = connect
        self._sql = sql
        self._admit = admit

    # -- Workflows ------------------------------------------------------------------------------------------------

    async def put(self, shelved: Shelved) -> None:
        """Let steps call this revision of a Workflow from now on. Its revision is in the store."""
        found = (shelved.uid, shelved.created_at, shelved.generation, shelved.revision, shelved.problem)
        async with self._connect() as connection:
            await connection.fetch(self._sql["put_workflow"], shelved.namespace, shelved.name, *found)

    async def drop(self, namespace: str, name: str, uid: str) -> None:
        """A Workflow is gone: no step finds it any more. Runs of it go on."""
        async with self._connect() as connection:
            await connection.fetch(self._sql["drop_workflow"], namespace, name, uid)

    async def workflows(self) -> list[tuple[str, str, str]]:
        """Namespace, name and uid of every Workflow that steps find."""
        async with self._connect() as connection:
            return [tuple(row) for row in await connection.fetch(self._sql["workflows"])]

    async def call(self, namespace: str, name: str, key: StepKey) -> Called:
        """What there is of a Workflow, for a step that calls it."""
        async with self._connect() as connection:
            rows = await connection.fetch(self._sql["call"], namespace, name, *key)
        return Called(**rows[0]) if rows else Called(None, None, 0.0)

    # -- the parent's side ----------------------------------------------------------------------------------------

    async def hear(self, child: UUID) -> RunRecord | None:
        """A child as it is now, if it was started; one that has ended is awaited no more."""
        async with self._connect() as connection:
            rows = await connection.fetch(self._sql["hear_child"], child)
        return run_of(rows[0]) if rows else None

    async def start(self, mine: Mine, run: NewRun, birth: Birth) -> Started:
        """Let a run enter as the child of a claimed step, once, however often it is called; jobs to publish.

        It takes the parent's priority, is suspended if the parent is, and has no more time than the parent.
        """
        crash_point("before start child")
        async with self._connect() as connection, connection.transaction():
            found = await connection.fetch(self._sql["lock_run"], mine.key.run_id)
            rows = await connection.fetch(self._sql["parent"], mine.runner, *mine.key, mine.attempt)
            if not rows or Phase(found[0]["phase"]).done or found[0]["stopping"] is not None:
                return Started(lost=True)
            parent = _parent_of(rows[0])
            if (problem := too_many(parent)) is not None:
                return Started(problem=problem)
            run = replace(run, priority=parent.priority)
            if birth.awaited:
                limit = time_of(run.timeout, birth.seconds, parent.seconds)
                run = replace(run, suspended=parent.suspended, timeout=limit)
            created = await connection.fetch(self._sql["accept"], *accept_columns([run]))
            held = bool(created) and created[0]["held"]
            if held and birth.awaited:  # its parent has the room that it would wait for
                await connection.fetch(self._sql["let_in"], run.run_id)
            if created:
                hides = birth.redaction.also(parent.hidden)
                hidden = list(hides.texts) if hides.value(run.inputs) != run.inputs else []
                key, told = mine.key, (birth.number, birth.awaited, hidden, birth.note)
                await connection.fetch(self._sql["adopt"], run.run_id, key.run_id, key.scope, key.step, *told)
        crash_point("after start child")
        if held and not birth.awaited:
            return Started(jobs=tuple(await self._admit(run.namespace)))
        return Started(jobs=root_jobs(run))

    async def hide(self, run_id: UUID, texts: Sequence[str]) -> None:
        """Let these texts be shown nowhere in a run that has got them from another one."""
        async with self._connect() as connection:
            await connection.fetch(self._sql["hide"], run_id, list(texts))

    # -- the child's side -----------------------------------------------------------------------------------------

    async def wake(self, children: Sequence[UUID]) -> list[Job]:
        """Let the steps go on that wait for these runs, as far as they are over; jobs to publish."""
        crash_point("before wake parents")
        async with self._connect() as connection:
            rows = await connection.fetch(self._sql["wake_parents"], list(children))
        crash_point("after wake parents")
        return [job_of(row) for row in rows]

    # -- caretakers -----------------------------------------------------------------------------------------------

    async def sweep(self) -> list[Job]:
        """Wake steps whose child is over, and that nobody has woken; jobs to publish."""
        async with self._connect() as connection:
            unheard = [row["id"] for row in await connection.fetch(self._sql["unheard"], SWEEP)]
        return await self.wake(unheard) if unheard else []

    async def astray(self) -> list[Astray]:
        """Children that are not as their parents are asked to be, outer ones first."""
        async with self._connect() as connection:
            return [_astray_of(row) for row in await connection.fetch(self._sql["astray"], SWEEP)]

    async def forget(self) -> None:
        """Nobody asks any more for ends that were not heard when the parent ended."""
        async with self._connect() as connection:
            await connection.fetch(self._sql["forget_children"])

    # -- for people who read ---------------------------------------------------------------------------------------

    async def show(self, run_id: UUID) -> list[ChildRecord]:
        """Runs below a run, parents before their children; if there are many, first those that did not succeed."""
        async with self._connect() as connection:
            rows = await connection.fetch(self._sql["show_children"], run_id, SHOWN, FOUND)
        return [_child_of(row) for row in rows]


def _parent_of(row: asyncpg.Record) -> Parent:
    return Parent(**{**row, "hidden": tuple(row["hidden"] or ())})


def _astray_of(row: asyncpg.Record) -> Astray:
    return Astray(
        row["id"],
        row["parent"],
        stop=row["going"] and row["adrift"] and not row["cleaning"],
        suspended=row["suspended"] if row["resting"] and row["going"] and not row["adrift"] else None,
        priority=row["priority"] if row["reordered"] else None,
    )


def _child_of(row: asyncpg.Record) -> ChildRecord:
    phase = Phase(row["phase"])
    return ChildRecord(
        run_id=row["id"],
        parent=row["parent_id"],
        step=row["parent_step"],
        name=row["name"],
        workflow=row["workflow"],
        phase=Phase.SUSPENDED if row["suspended"] and not phase.done else phase,
        done=row["done"],
        total=row["total"],
        started_at=row["created_at"],
        finished_at=row["finished_at"],
    )
