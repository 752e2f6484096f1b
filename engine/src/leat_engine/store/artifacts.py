"""The store's methods about objects in the object store: what an attempt puts, what counts, what is left to remove."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg

from leat_engine.job import StepKey
from leat_engine.reference import Reference
from leat_engine.store import schema
from leat_engine.store.access import Connect


class ObjectId(NamedTuple):
    """Whose object, and which. ``attempt`` is the one that put it."""

    key: StepKey
    attempt: int
    name: str

    @property
    def address(self) -> tuple[UUID, int, int, int, str]:
        """The row."""
        return (*self.key, self.attempt, self.name)


@dataclass(frozen=True, slots=True)
class Kept:
    """An object that counts: the attempt that put it is the one that succeeded."""

    key: StepKey
    name: str
    reference: Reference

    @property
    def step(self) -> str:
        """Name of the step."""
        return self.reference.step

    @property
    def place(self) -> "KeptAt":
        """Where it is among those of its run."""
        return KeptAt(self.key.scope, self.key.step, self.name)


class KeptAt(NamedTuple):
    """A place among the artifacts of a run, by scope, step and name."""

    scope: int
    step: int
    name: str


FIRST = KeptAt(-1, 0, "")
"""Before all of them."""


class ArtifactRows:
    """The crossing to the table `artifact`. Everything raises `StoreUnavailable` when Postgres does not answer."""

    def __init__(self, connect: Connect, sql: Mapping[str, str]) -> None:
        self._connect = connect
        self._sql = sql

    async def intend(self, runner: int, this: ObjectId, namespace: str, key: str, content_type: str) -> bool:
        """Say that an object is about to be put. False when the step is not the runner's any more."""
        (run_id, scope, step), attempt, name = this
        columns = (runner, run_id, scope, step, attempt, name, namespace, key, content_type)
        return bool(await self._fetch("intend_artifact", *columns))

    async def inherit(self, runner: int, this: ObjectId, key: str) -> None:
        """Take over the object that an earlier attempt of the same try was about to have put, if there is one."""
        (run_id, scope, step), attempt, name = this
        await self._fetch("inherit_artifact", runner, run_id, scope, step, attempt, name, key)

    async def keep(self, this: ObjectId, size: int, sha256: str) -> bool:
        """Say that the object is there. False when it was removed as a leftover meanwhile."""
        return bool(await self._fetch("keep_artifact", *this.address, size, sha256))

    async def of(self, keys: Sequence[StepKey]) -> dict[StepKey, dict[str, Reference]]:
        """What counts of steps that have succeeded, by name."""
        found: dict[StepKey, dict[str, Reference]] = {}
        for kept in map(
            _kept, await self._fetch("artifacts_of", *(list(column) for column in zip(*keys, strict=True)))
        ):
            found.setdefault(kept.key, {})[kept.name] = kept.reference
        return found

    async def kept(self, run_id: UUID, after: KeptAt = FIRST, count: int | None = None) -> list[Kept]:
        """What counts of a run behind a place, by scope, step and name: ``count`` at most, or all."""
        return [_kept(row) for row in await self._fetch("list_artifacts", run_id, *after, count)]

    async def settle(self, count: int) -> None:
        """Look no more at those that count, ``count`` at most."""
        await self._fetch("settle_artifacts", count)

    async def leftovers(self, count: int) -> list[tuple[ObjectId, str]]:
        """Objects that do not count, with their keys: ``count`` at most."""
        rows = await self._fetch("leftover_artifacts", count)
        return [
            (ObjectId(StepKey(row["run_id"], row["scope"], row["step_id"]), row["attempt"], row["name"]), row["key"])
            for row in rows
        ]

    async def drop(self, this: ObjectId) -> None:
        """The object is gone."""
        await self._fetch("drop_artifact", *this.address)

    async def expired(self, before: datetime, count: int) -> list[tuple[str, UUID]]:
        """Namespaces and ids of runs from before a moment that are gone and have left objects: ``count`` at most."""
        rows = await self._fetch("expired_artifacts", UUID(schema.bound(before)), count)
        return [(row["namespace"], row["run_id"]) for row in rows]

    async def drop_run(self, run_id: UUID) -> None:
        """Nothing is left of a run that is gone."""
        await self._fetch("drop_artifacts", run_id)

    async def _fetch(self, verb: str, *columns: object) -> list[asyncpg.Record]:
        async with self._connect() as connection:
            return await connection.fetch(self._sql[verb], *columns)


def _kept(row: asyncpg.Record) -> Kept:
    key = StepKey(row["run_id"], row["scope"], row["step_id"])
    return Kept(key, row["name"], Reference(row["key"], row["size"], row["sha256"], row["content_type"]))
