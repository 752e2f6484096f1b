"""What steps say."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from leat_engine.job import StepKey
from leat_engine.lines import LogLine, NewLine
from leat_engine.store.access import Fetch
from leat_engine.store.rows import line_of


class Logs:
    """Lines of logs. Every method raises `StoreUnavailable` when Postgres does not answer."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    async def write(self, lines: Sequence[NewLine]) -> None:
        """Keep lines that steps said, in this order; those of runners that were declared dead are left out.

        Texts hold no NUL.
        """
        await self._fetch(
            "write_logs",
            [line.key.run_id for line in lines],
            [line.key.scope for line in lines],
            [line.key.step for line in lines],
            [line.attempt for line in lines],
            [line.at for line in lines],
            [line.stream for line in lines],
            [line.text for line in lines],
            [line.runner for line in lines],
        )

    async def read(
        self,
        run_id: UUID,
        *,
        step: int | None = None,
        attempt: int | None = None,
        after: int | None = None,
        limit: int = 1000,
    ) -> list[LogLine]:
        """What the steps of a run said, behind the line with the ``seq`` ``after``.

        Who goes on behind the last line of an answer misses none.
        """
        return [line_of(row) for row in await self._fetch("logs", run_id, step, attempt, after or 0, limit)]

    async def until(self, key: StepKey) -> datetime | None:
        """When the last line was said that the store has of a step, or None."""
        at: datetime | None = (await self._fetch("logged_until", key.run_id, key.scope, key.step))[0]["at"]
        return at
