"""Runs whose resources in Kubernetes are to catch up with them: the crossing of `status`."""

from collections.abc import Sequence
from uuid import UUID

from leat_engine.records import Report, RunRecord, StepRecord
from leat_engine.store.access import Fetch
from leat_engine.store.rows import run_of, step_of

FAILURES_SHOWN = 20


class Reports:
    """Reports of runs. Every method raises `StoreUnavailable` when Postgres does not answer."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    async def behind(self, limit: int) -> list[Report]:
        """Runs whose resource is behind, longest behind first."""
        rows = await self._fetch("reports", limit)
        troubled = [row["id"] for row in rows if row["failed"]]
        failures: dict[UUID, list[StepRecord]] = {}
        if troubled:
            for row in await self._fetch("failures", troubled, FAILURES_SHOWN):
                failures.setdefault(row["run_id"], []).append(step_of(row))
        return [
            Report(
                row["version"],
                run_of(row),
                tuple(failures.get(row["id"], ())),
                row["waiting_step"] or 0,
                row["waiting"] or "",
            )
            for row in rows
        ]

    async def told(self, done: Sequence[tuple[UUID, int]]) -> None:
        """The resources of these runs have caught up with these versions of their reports."""
        await self._fetch("reported", [run_id for run_id, _ in done], [version for _, version in done])

    async def unfinished(self, after: UUID | None, limit: int) -> list[RunRecord]:
        """Runs with a resource that are not over, by id, beginning after ``after``."""
        return [run_of(row) for row in await self._fetch("unfinished", after, limit)]
