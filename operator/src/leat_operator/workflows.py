"""Telling a Workflow whether runs can start: one write per change of its spec, none when it knows."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from leat_engine.errors import Reason
from leat_engine.status import Status, workflow_status
from leat_operator.catalog import Catalog, Listed
from leat_operator.cluster import Cluster
from leat_operator.insist import insist
from leat_operator.objects import WORKFLOWS, Ref
from leat_operator.patch import Patcher

Reasons = Sequence[Reason]


async def tell_workflow(patcher: Patcher, listed: Listed, body: Mapping[str, Any], incapable: Reasons = ()) -> None:
    """Write the status of a Workflow, unless it says so already. ``incapable``: why its pools cannot run it."""
    status = wanted_status(listed, body.get("status") or {}, datetime.now(UTC), incapable)
    if status != body.get("status"):
        await patcher.patch(listed.ref, lambda: status)


async def retell_workflow(cluster: Cluster, patcher: Patcher, catalog: Catalog, ref: Ref) -> None:
    """Write the status of a Workflow again, of which nothing has changed but what its pools can do."""
    body = await insist(lambda: cluster.get(WORKFLOWS, ref.namespace, ref.name))
    if body is not None:
        listed = catalog.put(body)
        await tell_workflow(patcher, listed, body, catalog.incapable(listed.compiled))


def wanted_status(listed: Listed, shown: Mapping[str, Any], now: datetime, incapable: Reasons = ()) -> Status:
    """The status that a Workflow is to have. ``Ready`` keeps its transition time while its status stays."""
    revision = None if listed.compiled is None else listed.compiled.revision.id
    status = workflow_status(revision, listed.reasons or incapable, listed.generation, now)
    ready = status["conditions"][0]
    for condition in shown.get("conditions", ()):
        if (condition.get("type"), condition.get("status")) == (ready["type"], ready["status"]):
            ready["lastTransitionTime"] = condition["lastTransitionTime"]
    return status
