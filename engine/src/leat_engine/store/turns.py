"""What holds steps and runs back, in the store: slots and their lines, buckets, breakers; and cached results.

Every question is one short transaction, and one key's questions wait for each other, over all runners. What is decided
between question and answer is decided by the pure machines `leat_engine.bucket` and `leat_engine.fuse`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from leat_engine.bucket import Bucket, turn
from leat_engine.fuse import Pass, Position, Switch, ask, heard
from leat_engine.job import Job, StepKey, dumps
from leat_engine.restraint import Fuse, Rate, ShownBreaker, ShownBucket, ShownLimits, ShownSlots
from leat_engine.store.access import Connect
from leat_engine.store.rows import job_of, json_of

SWEEP = 200
"""Keys per round at most."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """An attempt that a runner has claimed, and that asks. ``number``: the attempt; ``try_number``: which try it is."""

    runner: int
    key: StepKey
    number: int
    try_number: int

    @property
    def address(self) -> tuple[UUID, int, int, int]:
        """The columns of the claim behind the runner."""
        return (*self.key, self.number)


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a namespace."""

    namespace: str
    text: str

    @property
    def lock(self) -> tuple[str, str]:
        """The columns."""
        return self.namespace, self.text


@dataclass(frozen=True, slots=True)
class Wish:
    """A slot that is asked for.

    Attributes:
        whole: For the whole run.
        begin: Nothing else holds the attempt back: with the slot it begins.
        queue: Whether it stands in the line when all slots are taken.
    """

    capacity: int
    whole: bool = False
    begin: bool = True
    queue: bool = True


@dataclass(frozen=True, slots=True)
class Entered:
    """What became of a wish.

    Attributes:
        lost: The claim is not the runner's any more.
        held: It has a slot; None when there is none, and it does not wait for one.
        went_on: It had begun before, and goes on.
        before: How many are before it in the line.
        jobs: Steps of others that got a slot meanwhile, to publish.
    """

    lost: bool = False
    held: bool | None = None
    went_on: bool = False
    before: int = 0
    jobs: tuple[Job, ...] = ()


@dataclass(frozen=True, slots=True)
class Taken:
    """When an attempt may start: in ``wait`` seconds, ``counted`` already or only to ask again. As in `Entered`."""

    lost: bool = False
    wait: float = 0.0
    counted: bool = True
    went_on: bool = False


class Turns:
    """The crossing to the tables of the limits. Everything raises `StoreUnavailable` when Postgres does not answer."""

    def __init__(self, connect: Connect, sql: Mapping[str, str]) -> None:
        self._connect = connect
        self._sql = sql

    # -- slots ----------------------------------------------------------------------------------------------------

    async def enter(self, claim: Claimed, key: Key, wish: Wish) -> Entered:
        """Ask for a slot of a concurrency limit; asking again changes nothing."""
        async with self._connect() as connection, connection.transaction():
            await connection.fetch(self._sql["lock_key"], *key.lock)
            wished = (claim.runner, *claim.address, *key.lock, wish.capacity, wish.whole, wish.begin, wish.queue)
            rows = await connection.fetch(self._sql["enter"], *wished)
            if not rows:
                return Entered(lost=True)
            if rows[0]["held"] is not False:
                return Entered(held=rows[0]["held"], went_on=rows[0]["went_on"])
            jobs = () if rows[0]["full"] else await self._grant(connection, key)
            run_id, scope, step = claim.key
            address = (run_id, 0, 0, 0) if wish.whole else (run_id, scope, step, claim.try_number)
            (place,) = await connection.fetch(self._sql["place"], *address)
            if place["held"]:
                await connection.fetch(self._sql["enter"], *wished)  # it begins
            return Entered(held=place["held"], before=place["before"], jobs=jobs)

    async def leave(self, claim: Claimed, key: Key | None) -> list[Job]:
        """The attempt has ended: whoever is next in the line of its key may begin; jobs to publish."""
        async with self._connect() as connection, connection.transaction():
            if key is not None:
                await connection.fetch(self._sql["lock_key"], *key.lock)
            lock = (None, None) if key is None else key.lock
            (row,) = await connection.fetch(self._sql["leave"], claim.runner, *claim.address, *lock)
            return list(await self._grant(connection, key)) if key is not None and row["awaited"] else []

    async def grant(self, key: Key, parked: Sequence[StepKey] = ()) -> list[Job]:
        """Give the free slots of a key to the first in its line; jobs to publish. ``parked``: steps that just were."""
        async with self._connect() as connection, connection.transaction():
            await connection.fetch(self._sql["lock_key"], *key.lock)
            return list(await self._grant(connection, key, parked))

    async def others(self, key: Key, run_id: UUID) -> list[UUID]:
        """Runs that have a slot of a key of runs, or wait for one, and are older than this one."""
        async with self._connect() as connection:
            return [row["run_id"] for row in await connection.fetch(self._sql["others"], *key.lock, run_id)]

    async def sweep(self) -> list[Job]:
        """Free what dead holders have, and give what is free to those who wait; jobs to publish."""
        async with self._connect() as connection:
            stale = [Key(*row) for row in await connection.fetch(self._sql["stale"], SWEEP)]
        return [job for key in stale for job in await self.grant(key)]

    async def forget(self) -> None:
        """Remove what nothing will meet again."""
        async with self._connect() as connection:
            for verb in ("forget_turns", "forget_cached", "forget_breakers"):
                await connection.fetch(self._sql[verb])

    async def count_breakers(self) -> dict[str, int]:
        """Breakers that are not closed, by state."""
        async with self._connect() as connection:
            (row,) = await connection.fetch(self._sql["count_breakers"])
            return dict(row)

    # -- buckets --------------------------------------------------------------------------------------------------

    async def take(self, claim: Claimed, key: Key, rate: Rate) -> Taken:
        """Ask for a start, or come back when it is due."""
        async with self._connect() as connection, connection.transaction():
            rows = await connection.fetch(self._sql["ask_bucket"], claim.runner, *claim.address, *key.lock)
            if not rows:
                return Taken(lost=True)
            (row,) = rows
            if row["begun"] and row["attempt"] == claim.number:
                return Taken(went_on=True)
            due = None if row["begun"] else row["due"]  # begun by a runner that is gone: it starts again
            bucket, answer = turn(Bucket(row["line"], row["spent"]), rate.interval, rate.burst, row["now"], due)
            await connection.fetch(
                self._sql["take"],
                *claim.address,
                *key.lock,
                bucket.line,
                bucket.spent,
                answer.due,
                answer.counted,
            )
            return Taken(wait=max(0.0, answer.due - row["now"]), counted=answer.counted)

    # -- breakers -------------------------------------------------------------------------------------------------

    async def ask(self, claim: Claimed, key: Key, fuse: Fuse) -> Pass:
        """May the attempt go? While the breaker is closed this is one look."""
        async with self._connect() as connection:
            switch, now, probe = await self._switch(connection, key)
            if probe == claim.address:
                return Pass(allowed=True, probe=True)  # its own answer was lost
            answer = ask(switch, fuse, now)
            if not answer.probe:
                return answer
            async with connection.transaction():
                await connection.fetch(self._sql["lock_breaker"], *key.lock, fuse.cool_down)
                switch, now, _ = await self._switch(connection, key)
                answer = ask(switch, fuse, now)
                if answer.probe:
                    await self._set(connection, key, switch, claim.address)
                return answer

    async def tell(self, claim: Claimed, key: Key, fuse: Fuse, *, failed: bool) -> Position:
        """How an attempt ended that the breaker had let through; what the breaker is now."""
        async with self._connect() as connection, connection.transaction():
            await connection.fetch(self._sql["lock_breaker"], *key.lock, fuse.cool_down)
            switch, now, probe = await self._switch(connection, key)
            after = heard(switch, fuse, now, failed=failed, probe=probe == claim.address)
            if after != switch:
                await self._set(connection, key, after, None)
            return after.position(now)

    async def _switch(
        self, connection: PoolConnectionProxy, key: Key
    ) -> tuple[Switch, float, tuple[UUID, int, int, int] | None]:
        rows = await connection.fetch(self._sql["breaker"], *key.lock)
        if not rows:
            return Switch(), 0.0, None
        (row,) = rows
        probe = None if row["run_id"] is None else (row["run_id"], row["scope"], row["step_id"], row["attempt"])
        return Switch(tuple(row["failures"]), row["open_until"], row["probing"]), row["now"], probe

    async def _set(
        self, connection: PoolConnectionProxy, key: Key, switch: Switch, probe: tuple[UUID, int, int, int] | None
    ) -> None:
        columns = probe or (None, None, None, None)
        await connection.fetch(self._sql["set_breaker"], *key.lock, list(switch.failures), switch.open_until, *columns)

    # -- cache ----------------------------------------------------------------------------------------------------

    async def cached(self, key: Key) -> tuple[Any] | None:
        """A result that may be taken, in a tuple of its own: null is a result too."""
        async with self._connect() as connection:
            rows = await connection.fetch(self._sql["cached"], *key.lock)
        return (json_of(rows[0]["output"]),) if rows else None

    async def keep(self, key: Key, output: Any, ttl: float, run_id: UUID) -> None:
        """Let this result be taken from now on."""
        text = None if output is None else dumps(output)
        async with self._connect() as connection:
            await connection.fetch(self._sql["keep_result"], *key.lock, text, ttl, run_id)

    # -- for people who read ---------------------------------------------------------------------------------------

    async def show(self, namespace: str | None) -> ShownLimits:
        """The limits of a namespace, or of all, that hold something back now or may soon."""
        async with self._connect() as connection:
            slots, buckets, breakers = [
                await connection.fetch(self._sql[verb], namespace)
                for verb in ("show_slots", "show_buckets", "show_breakers")
            ]
        return ShownLimits(
            tuple(ShownSlots(**{**row, "holders": tuple(row["holders"])}) for row in slots),
            tuple(ShownBucket(**row) for row in buckets),
            tuple(_shown_breaker(row) for row in breakers),
        )

    async def _grant(
        self, connection: PoolConnectionProxy, key: Key, parked: Sequence[StepKey] = ()
    ) -> tuple[Job, ...]:
        columns = [[step[index] for step in parked] for index in range(3)]
        rows: list[asyncpg.Record] = await connection.fetch(self._sql["grant"], *key.lock, *columns)
        return tuple(job_of(row) for row in rows)


def _shown_breaker(row: asyncpg.Record) -> ShownBreaker:
    switch = Switch(tuple(row["failures"]), row["open_until"])
    seconds = None if row["open_until"] is None else max(0.0, row["open_until"] - row["now"])
    return ShownBreaker(row["namespace"], row["key"], switch.position(row["now"]).value, len(switch.failures), seconds)
