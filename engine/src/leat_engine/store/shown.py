"""Runs for people who read: bounded, however large they are."""

from uuid import UUID

from leat_engine.records import RunRecord, ShownAttempt, ShownStep
from leat_engine.store.access import Fetch
from leat_engine.store.rows import run_of, shown_attempt_of, shown_step_of


class Shown:
    """What lists and pages show. Every method raises `StoreUnavailable` when Postgres does not answer."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    async def runs(self, namespace: str | None, limit: int) -> list[RunRecord]:
        """Runs of a namespace, or of all; newest first."""
        return [run_of(row) for row in await self._fetch("runs", namespace, limit)]

    async def steps(self, run_id: UUID, nodes: range, output_bytes: int) -> list[ShownStep]:
        """Steps of a run's own scope that have begun to exist, of these nodes; outputs up to so many bytes of JSON."""
        rows = await self._fetch("show_steps", run_id, nodes.start, nodes.stop - 1, output_bytes)
        return [shown_step_of(row) for row in rows]

    async def attempts(self, run_id: UUID, nodes: range, most: int) -> list[ShownAttempt]:
        """The ``most`` last attempts of each of these nodes that were followed by another one."""
        rows = await self._fetch("show_attempts", run_id, nodes.start, nodes.stop - 1, most)
        return [shown_attempt_of(row) for row in rows]
