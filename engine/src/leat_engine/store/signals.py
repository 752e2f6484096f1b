"""What runs are told from outside: the crossing of `waits`, a few statements under the lock of one run.

The lock is a statement of its own. What waits for it, in one statement with the rest, would see the rows of before.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from leat_engine.crash import crash_point
from leat_engine.job import StepKey, dumps
from leat_engine.result import Phase
from leat_engine.store.access import Connect
from leat_engine.store.rows import json_of
from leat_engine.waits import FOREVER, Delivery, Fate, Heard, Signal, Waiting, Wanted, judge, oversized

KNOWN = Delivery(Fate.DELIVERED, "the run has this signal already")
NO_RUN = Delivery(Fate.EARLY, "there is no such run yet")


@dataclass(frozen=True, slots=True)
class Mine:
    """A claim, as the store has to know it: what a runner that has lost it says is not heard."""

    runner: int
    key: StepKey
    attempt: int


class Signals:
    """Signals of runs. Every method raises `StoreUnavailable` when Postgres does not answer."""

    def __init__(self, connection: Connect, sql: Mapping[str, str]) -> None:
        self._connection = connection
        self._sql = sql

    async def deliver(self, run_id: UUID, signal: Signal) -> Delivery:
        """Tell a run something, once, however often it is called with the same signal.

        The steps that wait for it are due then; `Care.wake` makes them ready.
        """
        if (problem := oversized(signal)) is not None:
            return Delivery(Fate.REFUSED, problem)
        async with self._locked(run_id) as (connection, run):
            if run is None:
                return NO_RUN
            (sent,) = await connection.fetch(self._sql["sent"], run_id, signal.id)
            if sent["known"]:
                return KNOWN
            if (phase := Phase(run["phase"])).done or run["stopping"] is not None:
                state = f"has ended: {phase.label}" if phase.done else "is being stopped"
                return Delivery(Fate.REFUSED, f"the run {state}")
            rows = await connection.fetch(self._sql["awaited"], [run_id])
            delivery = judge(signal, [waiting_of(row) for row in rows], sent["unread"])
            if delivery.fate is Fate.DELIVERED:
                crash_point("before deliver")
                await connection.fetch(self._sql["deliver"], *_columns(run_id, signal, delivery))
        crash_point("after deliver")
        return delivery

    async def hear(self, mine: Mine, wanted: Wanted) -> Heard:
        """Wait, and say what the step was told so far; nothing when the step is not the runner's any more."""
        crash_point("before hear")
        rule, seconds = dumps(wanted.rule), FOREVER if wanted.seconds is None else wanted.seconds
        async with self._locked(mine.key.run_id) as (connection, _):
            rows = await connection.fetch(
                self._sql["hear"], *_claim(mine), wanted.name, wanted.approval, rule, seconds, wanted.note
            )
        crash_point("after hear")
        if not rows:
            return Heard()
        told = tuple(signal_of(row) for row in rows if row["id"] is not None)
        return Heard(told, rows[0]["closed"], rows[0]["seconds"])

    async def dismiss(self, mine: Mine, signal_id: str, why: str) -> None:
        """The step does not take what it was given, and waits on."""
        async with self._locked(mine.key.run_id) as (connection, _):
            await connection.fetch(self._sql["dismiss"], *_claim(mine), signal_id, why)

    async def close(self, mine: Mine) -> None:
        """The step has heard enough."""
        async with self._locked(mine.key.run_id) as (connection, _):
            await connection.fetch(self._sql["close"], *_claim(mine))

    async def awaited(self, run_ids: Sequence[UUID]) -> list[Waiting]:
        """The steps of runs that wait for something from outside."""
        async with self._connection() as connection:
            return [waiting_of(row) for row in await connection.fetch(self._sql["awaited"], run_ids)]

    async def sent(self, run_id: UUID, limit: int = 1000) -> list[Signal]:
        """What a run was told, in that order."""
        async with self._connection() as connection:
            return [signal_of(row) for row in await connection.fetch(self._sql["signals"], run_id, limit)]

    @asynccontextmanager
    async def _locked(self, run_id: UUID) -> AsyncIterator[tuple[PoolConnectionProxy, asyncpg.Record | None]]:
        async with self._connection() as connection, connection.transaction():
            rows = await connection.fetch(self._sql["lock_run"], run_id)
            yield connection, rows[0] if rows else None


def _columns(run_id: UUID, signal: Signal, delivery: Delivery) -> tuple[object, ...]:
    key = delivery.key
    place = (None, None) if key is None else (key.scope, key.step)
    told = (signal.id, delivery.name, dumps(signal.payload), signal.approve, signal.comment, signal.by)
    return run_id, *told, *place


def _claim(mine: Mine) -> tuple[object, ...]:
    return mine.runner, *mine.key, mine.attempt


def waiting_of(row: asyncpg.Record) -> Waiting:
    """A row of `awaited.sql`."""
    key = StepKey(row["run_id"], row["scope"], row["step_id"])
    return Waiting(key, row["name"], row["approval"], json_of(row["rule"]))


def signal_of(row: asyncpg.Record) -> Signal:
    """A row of `signal`."""
    return Signal(
        id=row["id"],
        name=row["name"],
        payload=json_of(row["payload"]),
        approve=row["approve"],
        comment=row["comment"],
        by=row["sent_by"],
        at=row["sent_at"],
    )
