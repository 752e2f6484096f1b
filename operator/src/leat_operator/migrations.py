"""Migrations that resources ask for: a run goes on by the revision that `spec.revision` names, or is told why not."""

from uuid import UUID

import structlog

from leat_engine.errors import Reason, Rejected
from leat_engine.job import Job
from leat_engine.migrate import migrate
from leat_engine.plan import Plan
from leat_engine.records import Revision, RunRecord
from leat_engine.status import Refusal, reasons_message
from leat_engine.store import Store
from leat_engine.store.versions import Claimed
from leat_operator.catalog import Catalog
from leat_operator.insist import insist
from leat_operator.report import Reporter

PATIENCE = 600.0
"""Seconds that running steps are waited for; the sweep asks again."""

log = structlog.get_logger(__name__)


class Migrations:
    """At most one migration of each run is under way. Their ends are told with the run's status."""

    def __init__(self, store: Store, catalog: Catalog, reporter: Reporter) -> None:
        self._store = store
        self._catalog = catalog
        self._reporter = reporter
        self._going: set[UUID] = set()

    def going(self, run_id: UUID) -> bool:
        """Whether the run is being migrated: it is suspended and resumed for that."""
        return run_id in self._going

    async def carry_out(self, run_id: UUID, revision: str, generation: int) -> list[Job]:
        """Let a run go on by a revision, or tell its resource why it does not; jobs to publish.

        ``generation``: of the resource that asks for it.
        """
        if run_id in self._going:
            return []
        self._going.add(run_id)
        jobs: list[Job] = []
        refusal: Refusal | None = None
        try:
            jobs = await insist(lambda: self._migrate(run_id, revision))
        except Rejected as rejected:
            refusal = Refusal("Incompatible", f"{revision}: {reasons_message(rejected.reasons)}", generation)
        except Claimed as error:
            refusal = Refusal("StepsRunning", f"{revision}: {error} after {PATIENCE:g} s: asked again soon", generation)
        finally:
            self._going.discard(run_id)
        if refusal is not None:
            log.info("run not migrated", run=str(run_id), revision=revision, reason=refusal.message)
        self._reporter.refuse(run_id, refusal)
        await insist(lambda: self._reporter.refresh(run_id))
        return jobs

    async def _migrate(self, run_id: UUID, revision: str) -> list[Job]:
        run = await self._store.run(run_id)
        if run is None or run.phase.done or run.revision == revision:
            return []
        plans = await self._plan(run, run.revision), await self._plan(run, revision)
        _, jobs = await migrate(self._store, run_id, plans, PATIENCE)
        return jobs

    async def _plan(self, run: RunRecord, name: str) -> Plan:
        listed = self._catalog.get(run.namespace, run.workflow)
        if listed is not None and listed.compiled is not None and listed.compiled.revision.id == name:
            await self._store.versions.note(listed.compiled.revision)  # its own note may be on its way
            return listed.compiled.plan
        found: Revision | None = await self._store.versions.revision(run.namespace, run.workflow, name)
        if found is None:
            message = f"Workflow {run.workflow} has had no revision {name}"
            raise Rejected([Reason("spec.revision", f"{message}: `kubectl leat revisions {run.workflow}` lists them")])
        return self._catalog.plan(name) or self._catalog.restore(found)
