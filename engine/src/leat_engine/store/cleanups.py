"""What runs have to do at their end: the crossing of `cleanup`, a statement each."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from leat_engine.cleanup import Cleanup
from leat_engine.decide import End
from leat_engine.job import StepKey, dumps
from leat_engine.plan import Undo
from leat_engine.records import Block
from leat_engine.result import Phase, Result, State
from leat_engine.store.access import Connect
from leat_engine.store.rows import json_of


class Cleanups:
    """Cleanups of runs. Every method raises `StoreUnavailable` when Postgres does not answer."""

    def __init__(self, connection: Connect, sql: Mapping[str, str]) -> None:
        self._connection = connection
        self._sql = sql

    async def settle(self, runner: int, run_id: UUID, attempt: int, end: End, undoing: Sequence[Undo]) -> None:
        """Settle how a run ends, and list what is to be undone for it.

        Nothing happens when it is settled already, or when ``attempt`` of its `END` is not the runner's.
        """
        async with self._connection() as connection:
            await connection.fetch(
                self._sql["settle_run"],
                runner,
                run_id,
                attempt,
                int(end.phase),
                None if end.output is None else dumps(end.output),
                None if end.error is None else dumps(end.error),
                [undo.node for undo in undoing],
                [undo.by for undo in undoing],
                [undo.rank for undo in undoing],
            )

    async def nodes(self, run_id: UUID) -> frozenset[int]:
        """Every node that has begun to exist in a run: compensations too, which tell what was undone."""
        async with self._connection() as connection:
            return frozenset(row["id"] for row in await connection.fetch(self._sql["nodes"], run_id))

    async def look(self, run_id: UUID) -> Cleanup | None:
        """How far a run is that cleans up; None when how it ends is not settled."""
        async with self._connection() as connection:
            rows = await connection.fetch(self._sql["cleanup"], run_id)
        if not rows:
            return None
        (row,) = rows
        step, state, final = row["undo_step"], row["undo_state"], row["final_state"]
        return Cleanup(
            outcome=Phase(row["outcome"]),
            output=json_of(row["output"]),
            error=json_of(row["error"]),
            block=Block(**{name: row[name] for name in Block.__slots__}),
            undo=None if step is None else StepKey(run_id, row["undo_scope"], step),
            undo_state=None if state is None else State(state),
            undo_error=json_of(row["undo_error"]),
            final=None if final is None else Result(State(final), error=json_of(row["final_error"])),
        )
