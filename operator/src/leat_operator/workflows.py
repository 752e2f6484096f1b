"""Telling a Workflow whether runs can start: one write per change of its spec, none when it knows."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from leat_engine.status import Status, workflow_status
from leat_operator.catalog import Listed
from leat_operator.patch import Patcher


async def tell_workflow(patcher: Patcher, listed: Listed, body: Mapping[str, Any]) -> None:
    """Write the status of a Workflow, unless it says so already."""
    status = wanted_status(listed, body.get("status") or {}, datetime.now(UTC))
    if status != body.get("status"):
        await patcher.patch(listed.ref, lambda: status)


def wanted_status(listed: Listed, shown: Mapping[str, Any], now: datetime) -> Status:
    """The status that a Workflow is to have. A condition keeps its transition time while its status stays."""
    revision = None if listed.compiled is None else listed.compiled.revision.id
    status = workflow_status(revision, listed.reasons, listed.generation, now)
    since = {(each.get("type"), each.get("status")): each for each in shown.get("conditions", ())}
    for condition in status["conditions"]:
        if (before := since.get((condition["type"], condition["status"]))) is not None:
            condition["lastTransitionTime"] = before["lastTransitionTime"]
    return status
