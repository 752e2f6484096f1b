"""Sweep: compare what the cluster holds with what the store holds, and hand the differences to intake and report.

A watch can lose a deletion (after an expired resource version), a status can be deleted by hand, and an operator can
die between any two steps. None of it needs a memory: both sides are listed, and what differs is put right.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import structlog

from leat_engine.errors import StoreUnavailable
from leat_engine.records import RunRecord
from leat_engine.status import shown_phase
from leat_engine.store import Store
from leat_operator.admit import generation, run_id
from leat_operator.cluster import Cluster, ClusterUnavailable, Expired, Forbidden
from leat_operator.inbox import Absent, Inbox, Present
from leat_operator.intake import Intake
from leat_operator.objects import RUNS, UNFINISHED, Ref
from leat_operator.report import Reporter

log = structlog.get_logger(__name__)

PAGE = 500
Body = Mapping[str, Any]


@dataclass(slots=True)
class Differences:
    """What differs between the unfinished resources and the unfinished runs.

    Attributes:
        gone: Runs whose resource is not among the unfinished: it was deleted, or says that the run is over.
        unknown: Resources whose run is not among the unfinished: it was never accepted, or it is over.
        apart: Resources that ask for, or show, something else than their run.
    """

    gone: list[RunRecord] = field(default_factory=list)
    unknown: list[Body] = field(default_factory=list)
    apart: list[tuple[Body, RunRecord]] = field(default_factory=list)


def compare(bodies: Mapping[str, Body], records: Sequence[RunRecord], namespaces: Sequence[str]) -> Differences:
    """What differs. ``bodies`` by uid; runs outside ``namespaces`` (if any are named) are somebody else's."""
    found, seen = Differences(), set()
    for record in records:
        uid = record.uid or ""
        body = bodies.get(uid)
        seen.add(uid)
        if body is not None:
            if is_apart(body, record):
                found.apart.append((body, record))
        elif not namespaces or record.namespace in namespaces:
            found.gone.append(record)
    found.unknown = [body for uid, body in bodies.items() if uid not in seen]
    return found


def is_apart(body: Body, record: RunRecord) -> bool:
    """Whether a resource asks for something that its run does not do, or shows something that is not so."""
    spec, status = body["spec"], body.get("status") or {}
    asked = bool(spec.get("suspend", False)) is not record.suspended and record.stopping is None
    asked = asked or (bool(spec.get("cancel", False)) and record.stopping is None)
    asked = asked or int(spec.get("priority", 0)) != record.priority
    elsewhere = (spec.get("revision") or record.revision) != record.revision
    asked = asked or (elsewhere and record.stopping is None)
    done = record.succeeded + record.failed + record.skipped
    shown = (shown_phase(record).label, f"{done}/{record.total}", generation(body["metadata"]))
    return asked or shown != (status.get("phase"), status.get("progress"), status.get("observedGeneration"))


@dataclass(slots=True)
class Sweep:
    """Compares at the start and then each ``interval`` seconds. ``namespaces``: those served, all when empty.

    The two sides are not listed in the same instant, so what is only told late is left to be told: after the first
    sweep, a status or a wish counts as different when it was so in the sweep before as well.
    """

    store: Store
    cluster: Cluster
    intake: Intake
    reporter: Reporter
    inbox: Inbox
    interval: float
    namespaces: Sequence[str] = ()
    _before: frozenset[str] | None = None

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            try:
                await self.once()
            except (StoreUnavailable, ClusterUnavailable, Expired, Forbidden) as error:
                log.warning("sweep not finished", error=str(error))
            await asyncio.sleep(self.interval)

    async def once(self) -> Differences:
        """Compare once, and hand on what differs.

        Raises:
            StoreUnavailable, ClusterUnavailable, Expired: It could not be finished; what was handed on is right.
        """
        bodies = {body["metadata"]["uid"]: body async for body in self._resources()}
        differences = compare(bodies, await self._records(), self.namespaces)
        for record in differences.gone:
            ref = Ref(RUNS, record.namespace, record.name, record.uid or "")
            self.inbox.put(Absent(ref, record.run_id))
        lasting = [body["metadata"]["uid"] for body in differences.unknown]
        for body in differences.unknown:
            await self._unknown(body)
        for body, record in differences.apart:
            lasting.append(body["metadata"]["uid"])
            if self._lasts(body):
                await self.intake.align(body, record)
        self.intake.prune(bodies)
        self.intake.count(bodies)
        await self.intake.shelf.compare(self.namespaces)
        self._before = frozenset(lasting)
        log.debug("swept", resources=len(bodies), gone=len(differences.gone), unknown=len(differences.unknown))
        return differences

    async def _unknown(self, body: Body) -> None:
        run: UUID = run_id(body["metadata"])
        record = await self.store.run(run)
        if record is None:
            # The watch tells of new ones sooner. This one may be deleted by now, and must not begin after that.
            if self._before is not None and self._lasts(body) and await self._untold(body):
                self.inbox.put(Present(RUNS, body))
        elif record.phase.done and self._lasts(body) and await self._untold(body):
            await self.reporter.refresh(run, again=True)  # its end was lost, or the status was deleted

    async def _untold(self, body: Body) -> bool:
        """Whether the resource still shows what it did when it was listed."""
        listed = body["metadata"]
        found = await self.cluster.get(RUNS, listed["namespace"], listed["name"])
        return found is not None and found["metadata"]["resourceVersion"] == listed["resourceVersion"]

    def _lasts(self, body: Body) -> bool:
        return self._before is None or body["metadata"]["uid"] in self._before

    async def _records(self) -> list[RunRecord]:
        records: list[RunRecord] = []
        after: UUID | None = None
        while page := await self.store.reports.unfinished(after, PAGE):
            records += page
            after = page[-1].run_id
        return records

    async def _resources(self) -> Any:
        for namespace in self.namespaces or (None,):
            async for page in self.cluster.pages(RUNS, namespace, UNFINISHED, PAGE):
                for body in page:
                    yield body
