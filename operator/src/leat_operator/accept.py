"""Accept: admitted runs enter the store, many in one statement."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

import structlog

from leat_engine.crash import crash_point
from leat_engine.errors import Reason
from leat_engine.job import Job
from leat_engine.store import Store
from leat_operator import metrics
from leat_operator.admit import Admitted
from leat_operator.insist import insist

log = structlog.get_logger(__name__)

_OF_THE_VALUES = ("22", "23", "54")
"""Classes of SQLSTATE that speak of what was to be written: data exception, constraint violation, program limit."""


@dataclass(slots=True)
class Entered:
    """What became of admitted runs.

    Attributes:
        created: Those that were not in the store before.
        jobs: Of these; to be published.
        refused: Those that the store can never take, and why.
    """

    created: set[UUID] = field(default_factory=set)
    jobs: list[Job] = field(default_factory=list)
    refused: dict[UUID, Reason] = field(default_factory=dict)


class Acceptor:
    """Writes runs and the revisions that they need. It waits for a store that is away."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._revisions: set[str] = set()

    async def accept(self, admitted: Sequence[Admitted]) -> Entered:
        """Let runs enter, each once however often it is told.

        Raises:
            Exception: The store is not as it should be. No run is at fault, so none is refused.
        """
        entered = Entered()
        if admitted:
            metrics.ACCEPT_BATCH.observe(len(admitted))
            await self._enter(admitted, entered)
            metrics.ACCEPTED.inc(len(entered.created))
        return entered

    async def _enter(self, admitted: Sequence[Admitted], entered: Entered) -> None:
        try:
            await self._save_revisions(admitted)
            crash_point("before accept")
            accepted = await insist(lambda: self._store.accept([each.run for each in admitted]))
            crash_point("after accept")
        except Exception as error:
            if not is_of_the_values(error):
                raise
            if len(admitted) > 1:  # one that Postgres refuses must not keep the others out
                for each in admitted:
                    await self._enter([each], entered)
                return
            run = admitted[0].run
            log.exception("run not accepted", run=str(run.run_id), uid=run.uid)
            message = f"the store does not take this run: {type(error).__name__}: {error}"
            entered.refused[run.run_id] = Reason("spec", message)
            return
        entered.created |= {each.run_id for each in accepted if each.created}
        entered.jobs += [job for each in accepted for job in each.jobs]

    async def _save_revisions(self, admitted: Sequence[Admitted]) -> None:
        for revision in {each.compiled.revision.id: each.compiled.revision for each in admitted}.values():
            if revision.id not in self._revisions:
                await insist(partial(self._store.save_revision, revision))
                self._revisions.add(revision.id)


def is_of_the_values(error: Exception) -> bool:
    """Whether an error of the store lies in what it was given, rather than in itself, its schema or its rights."""
    state = str(getattr(error, "sqlstate", None) or "")
    return isinstance(error, ValueError | TypeError) or state.startswith(_OF_THE_VALUES)
