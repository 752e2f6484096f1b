"""Intake: resources become runs. Whatever arrived while the last batch was accepted is the next batch.

Everything here may be told twice: accepting is idempotent by the resource's uid, and what was accepted is remembered. A
store that is away only makes the inbox longer.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import structlog

from leat_engine.errors import Reason, Rejected
from leat_engine.pools import Announced
from leat_engine.records import RunRecord
from leat_engine.status import cancelled_status, rejected_status, unable_status, waiting_status
from leat_operator import metrics
from leat_operator.accept import Acceptor
from leat_operator.admit import Admitted, Lacking, Unable, admit, created_at, generation, run_id, withdrawn
from leat_operator.again import predecessor, readmit, recall
from leat_operator.catalog import Catalog
from leat_operator.inbox import Absent, Inbox, News, Notice, Present
from leat_operator.insist import insist
from leat_operator.migrations import Migrations
from leat_operator.notes import Notes
from leat_operator.objects import RUNS, WORKFLOWS, Ref
from leat_operator.shelf import Shelf
from leat_operator.waiting import Waiter, WaitingRoom
from leat_operator.wishes import Crossings, Errands, Known, Wishes
from leat_operator.workflows import Versions, retell_workflow, tell_workflow

log = structlog.get_logger(__name__)

BATCH = 500


@dataclass(slots=True)
class Batch:
    """What one look into the inbox leads to, in the order in which it is done."""

    admitted: dict[str, Admitted] = field(default_factory=dict)
    changed: list[Mapping[str, Any]] = field(default_factory=list)
    absent: list[Absent] = field(default_factory=list)


class Intake:
    """Takes notices from the inbox. ``grace``: seconds that a run waits for its Workflow."""

    def __init__(self, inbox: Inbox, catalog: Catalog, crossings: Crossings, *, grace: float) -> None:
        self._inbox = inbox
        self._catalog = catalog
        self._to = crossings
        self._known: dict[str, Known] = {}
        self._waiting = WaitingRoom(grace)
        self._acceptor = Acceptor(crossings.store)
        self._versions = Versions(crossings.store)
        self._errands = Errands()
        self._notes = Notes(crossings.patcher)
        migrations = Migrations(crossings.store, catalog, crossings.reporter)
        self._wishes = Wishes(crossings, self._errands, migrations)
        self.shelf = Shelf(crossings.store, crossings.cluster, catalog)

    async def run(self) -> None:
        """Take in until cancelled."""
        try:
            while True:
                wait = self._waiting.next_end(datetime.now(UTC))
                await self.handle(await self._inbox.take(BATCH, wait))
        finally:
            self._errands.cancel()
            self._notes.cancel()

    async def handle(self, notices: Sequence[Notice]) -> None:
        """Act on notices, and on runs that have waited for too long."""
        batch = Batch()
        for notice in notices:
            await self._sort(notice, batch)
        for waiter in self._waiting.ended(datetime.now(UTC)):
            reasons = waiter.reasons or [_never_came(waiter.workflow, self._waiting.grace)]
            self._refuse(Ref.of(RUNS, waiter.body), generation(waiter.body["metadata"]), reasons)
        await self._accept(list(batch.admitted.values()))
        for body in batch.changed:
            await self._change(body)
        for absent in batch.absent:
            await self._absent(absent)

    async def _sort(self, notice: Notice, batch: Batch) -> None:
        match notice:
            case Present(resource, body) if resource == WORKFLOWS:
                await self._workflow(body, batch)
            case Present(_, body):
                await self._run(body, batch)
            case News(pools):
                await self._judge(pools, batch)
            case Absent(ref) if ref.resource == WORKFLOWS:
                self._errands.start(self.shelf.remove(ref))
                if self._catalog.remove(ref):
                    self._to.tidier.heed(ref.namespace, ref.name, None)
                    self._to.standing.forget((ref.namespace, ref.name))
            case Absent(ref):
                self._forget(ref, batch)
                batch.absent.append(notice)

    async def align(self, body: Mapping[str, Any], record: RunRecord) -> None:
        """Bring the store to what the resource asks for, and the resource to what the store says.

        Raises:
            StoreUnavailable: Postgres does not answer.
        """
        ref, spec = Ref.of(RUNS, body), body["spec"]
        newer = self._known.get(ref.uid)
        if newer is not None and newer.generation > generation(body["metadata"]):
            return
        cancelled = record.stopping is not None
        known = Known(
            record.run_id,
            generation(body["metadata"]),
            record.suspended,
            cancelled,
            record.priority,
            record.revision,
        )
        await self._wishes.obey(ref, known, spec)
        self._known[ref.uid] = known
        self._to.reporter.observe(record.run_id, ref, known.generation)
        await self._to.reporter.refresh(record.run_id)

    def prune(self, present: Container[str]) -> None:
        """Forget the resources that are not ``present`` (uids) and were told their end: a watch may lose a deletion."""
        over = [
            uid
            for uid, known in self._known.items()
            if uid not in present and (known.run_id is None or self._to.reporter.settled(uid))
        ]
        for uid in over:
            del self._known[uid]

    def count(self, unfinished: Mapping[str, Mapping[str, Any]]) -> None:
        """Learn which resources are active, of all that are not over (by uid)."""
        settled = self._to.reporter.settled
        self._to.standing.count(body for uid, body in unfinished.items() if not settled(uid))

    async def _workflow(self, body: Mapping[str, Any], batch: Batch) -> None:
        listed = self._catalog.put(body)
        self._to.tidier.heed(listed.ref.namespace, listed.ref.name, listed.history)
        self._to.standing.show((listed.ref.namespace, listed.ref.name), body.get("status") or {})
        self._errands.start(self.shelf.put(listed, body))
        incapable = self._catalog.incapable(listed.compiled)
        self._errands.start(tell_workflow(self._to.patcher, listed, body, incapable))
        if listed.compiled is not None:
            self._errands.start(self._versions.note(listed.compiled.revision))
        for waiting in self._waiting.leave(listed.ref.namespace, listed.ref.name):
            await self._run(waiting, batch)

    async def _judge(self, pools: Mapping[str, Announced], batch: Batch) -> None:
        """Tell Workflows what pools that have changed make of them, and let runs in that waited for it."""
        for listed in self._catalog.announce(pools):
            self._errands.start(retell_workflow(self._to.cluster, self._to.patcher, self._catalog, listed.ref))
        for waiting in self._waiting.leave_unable():
            await self._run(waiting, batch)

    async def _run(self, body: Mapping[str, Any], batch: Batch) -> None:
        ref, metadata = Ref.of(RUNS, body), body["metadata"]
        known = self._known.get(ref.uid)
        if known is None:
            await self._enter(ref, body, batch)
        elif metadata.get("deletionTimestamp"):
            batch.absent.append(Absent(ref, known.run_id))
        elif generation(metadata) > known.generation:
            batch.changed.append(body)

    async def _enter(self, ref: Ref, body: Mapping[str, Any], batch: Batch) -> None:
        """Take in a resource that is not known. Only one that was accepted before may be in the store already."""
        why = withdrawn(body)
        answer = await self._answer(ref, body) if why is None else None
        if isinstance(answer, Lacking) and await self._look_for(ref.namespace, answer.workflow):
            answer = await self._answer(ref, body)
        if isinstance(answer, Admitted):
            batch.admitted[ref.uid] = answer
        elif await self._adopt(body):
            if body["metadata"].get("deletionTimestamp"):
                batch.absent.append(Absent(ref, run_id(body["metadata"])))
        elif isinstance(answer, Rejected):
            self._refuse(ref, generation(body["metadata"]), answer.reasons)
        elif isinstance(answer, Lacking | Unable):
            self._wait(ref, body, answer)
        else:
            self._forget(ref, batch)
            self._withdraw(ref, body, why or "")

    def _wait(self, ref: Ref, body: Mapping[str, Any], answer: Lacking | Unable) -> None:
        since, observed = created_at(body["metadata"]), generation(body["metadata"])
        if isinstance(answer, Unable):
            waiter = Waiter(body, answer.workflow, answer.reasons)
            status = unable_status(answer.reasons, observed, since)
        else:
            waiter, status = Waiter(body, answer.workflow), waiting_status(answer.workflow, observed, since)
        if self._waiting.enter(ref, waiter, status):
            self._notes.tell(ref, status)

    async def _answer(self, ref: Ref, body: Mapping[str, Any]) -> Admitted | Lacking | Unable | Rejected | None:
        """What becomes of a resource; None when it went on from another run already, and is to be adopted."""
        name, old = predecessor(body), None
        if name is not None:
            run = run_id(body["metadata"])
            if await insist(lambda: self._to.store.run(run)) is not None:
                return None
            old = await recall(self._to.store, ref.namespace, name)
        try:
            return admit(body, self._catalog) if name is None else readmit(body, old, self._catalog)
        except Rejected as rejected:
            return rejected
        except Exception as error:  # a defect that one resource meets must not stop the others
            log.exception("run not admitted", uid=ref.uid, namespace=ref.namespace, name=ref.name)
            return Rejected([Reason("spec", f"cannot be read: {type(error).__name__}; see the operator's log")])

    async def _adopt(self, body: Mapping[str, Any]) -> bool:
        """Go on with a run that an earlier operator accepted, whatever has become of its Workflow since."""
        run = run_id(body["metadata"])
        record = await insist(lambda: self._to.store.run(run))
        if record is not None:
            await insist(lambda: self.align(body, record))
        return record is not None

    def _forget(self, ref: Ref, batch: Batch) -> None:
        """A run that has not begun is not to begin."""
        self._waiting.forget(ref)
        batch.admitted.pop(ref.uid, None)

    async def _look_for(self, namespace: str, workflow: str) -> bool:
        """Ask for a Workflow: its own event may come after that of a run which was created after it."""
        found = await insist(lambda: self._to.cluster.get(WORKFLOWS, namespace, workflow))
        if found is not None:
            self._catalog.put(found)
        return found is not None

    async def _accept(self, admitted: Sequence[Admitted]) -> None:
        entered = await self._acceptor.accept(admitted)
        self._wishes.publish(entered.jobs)
        for run in (each.run for each in admitted):
            ref = Ref(RUNS, run.namespace, run.name, run.uid or "")
            if (reason := entered.refused.get(run.run_id)) is not None:
                self._refuse(ref, run.generation, [reason])
                continue
            self._notes.take_back(ref.uid)
            known = Known(run.run_id, run.generation, run.suspended, priority=run.priority, revision=run.revision)
            self._known[ref.uid] = known
            if run.run_id in entered.created:
                log.info("run accepted", run=str(run.run_id), uid=run.uid, namespace=run.namespace, name=run.name)
                self._to.reporter.expect(run)
            else:  # told again after a restart: the sweep compares what it asks for with what the store says
                self._to.reporter.observe(run.run_id, ref, run.generation)

    async def _change(self, body: Mapping[str, Any]) -> None:
        ref, metadata = Ref.of(RUNS, body), body["metadata"]
        known = self._known.get(ref.uid)
        if known is None or known.run_id is None or generation(metadata) <= known.generation:
            return
        run = known.run_id
        known.generation = generation(metadata)
        await insist(lambda: self._wishes.obey(ref, known, body["spec"]))
        self._to.reporter.observe(run, ref, known.generation)
        await insist(lambda: self._to.reporter.refresh(run))

    async def _absent(self, absent: Absent) -> None:
        ref = absent.ref
        known = self._known.pop(ref.uid, None)
        run = absent.run_id if known is None else known.run_id
        if run is not None and not self._to.reporter.settled(ref.uid) and await self._wishes.bury(ref, run) and known:
            self._known[ref.uid] = known
        else:
            self._to.standing.gone(ref)

    def _refuse(self, ref: Ref, observed: int, reasons: Sequence[Reason]) -> None:
        metrics.REJECTED.inc()
        self._known[ref.uid] = Known(None, observed)
        self._notes.tell(ref, rejected_status(reasons, observed, datetime.now(UTC)))
        log.info("run rejected", uid=ref.uid, namespace=ref.namespace, name=ref.name, reasons=len(reasons))

    def _withdraw(self, ref: Ref, body: Mapping[str, Any], why: str) -> None:
        observed = generation(body["metadata"])
        self._known[ref.uid] = Known(None, observed)
        self._notes.tell(ref, cancelled_status(why, observed, datetime.now(UTC)))
        log.info("run cancelled before it began", uid=ref.uid, namespace=ref.namespace, name=ref.name, reason=why)


def _never_came(workflow: str, grace: float) -> Reason:
    message = f"there is no Workflow {workflow} after {grace:g} s; create it, then a new WorkflowRun"
    return Reason("spec.workflow.name", message)
