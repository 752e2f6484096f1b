"""Telling a Workflow whether runs can start, one write per change of its spec, and how it stands, one now and then."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from leat_engine.errors import Reason
from leat_engine.records import Revision
from leat_engine.status import Status, workflow_status
from leat_engine.store import Store
from leat_operator.catalog import Catalog, Listed
from leat_operator.cluster import Cluster
from leat_operator.insist import insist
from leat_operator.objects import WORKFLOWS, Ref
from leat_operator.patch import Patcher
from leat_operator.standing import Key, Standing, part_of

Reasons = Sequence[Reason]


async def tell_workflow(patcher: Patcher, listed: Listed, body: Mapping[str, Any], incapable: Reasons = ()) -> None:
    """Write the status of a Workflow, unless it says so already. How it stands is left as it is shown.

    ``incapable``: why its pools cannot run it.
    """
    shown = body.get("status") or {}
    status = wanted_status(listed, shown, datetime.now(UTC), incapable) | part_of(shown)
    if status != shown:
        await patcher.patch(listed.ref, lambda: status)


async def retell_workflow(cluster: Cluster, patcher: Patcher, catalog: Catalog, ref: Ref) -> None:
    """Write the status of a Workflow again, of which nothing has changed but what its pools can do."""
    body = await insist(lambda: cluster.get(WORKFLOWS, ref.namespace, ref.name))
    if body is not None:
        listed = catalog.put(body)
        await tell_workflow(patcher, listed, body, catalog.incapable(listed.compiled))


class Versions:
    """Notes in the store which revisions Workflows have, those too that no run has had yet."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._noted: dict[Key, str] = {}
        self._turn = asyncio.Lock()  # in the order in which they were applied

    async def note(self, revision: Revision) -> None:
        """Write it, unless it is what was written last."""
        key = (revision.namespace, revision.workflow)
        async with self._turn:
            if self._noted.get(key) != revision.id:
                await insist(lambda: self._store.versions.note(revision))
                self._noted[key] = revision.id


class Standings:
    """Writes how Workflows stand, each at most once in ``interval`` seconds, and none that shows it already."""

    def __init__(self, standing: Standing, catalog: Catalog, patcher: Patcher, interval: float) -> None:
        self._standing = standing
        self._catalog = catalog
        self._patcher = patcher
        self._interval = interval

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await asyncio.sleep(self._interval)
            await asyncio.gather(*map(self._tell, self._standing.changed()))

    async def _tell(self, key: Key) -> None:
        if (listed := self._catalog.get(*key)) is not None:
            await self._patcher.patch(listed.ref, lambda: self._status(key, self._catalog.get(*key) or listed))

    def _status(self, key: Key, listed: Listed) -> Status:
        shown, incapable = self._standing.shown(key), self._catalog.incapable(listed.compiled)
        return wanted_status(listed, shown, datetime.now(UTC), incapable) | self._standing.part(key)


def wanted_status(listed: Listed, shown: Mapping[str, Any], now: datetime, incapable: Reasons = ()) -> Status:
    """Whether runs of a Workflow can start. A condition keeps its transition time while its status stays."""
    revision = None if listed.compiled is None else listed.compiled.revision.id
    status = workflow_status(revision, listed.reasons or incapable, listed.generation, now)
    since = {(each.get("type"), each.get("status")): each for each in shown.get("conditions", ())}
    for condition in status["conditions"]:
        if (before := since.get((condition["type"], condition["status"]))) is not None:
            condition["lastTransitionTime"] = before["lastTransitionTime"]
    return status
