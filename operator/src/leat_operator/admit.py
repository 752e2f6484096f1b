"""Whether a resource can become a run, and which. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from leat_engine.errors import Reason, Rejected
from leat_engine.job import run_id_of
from leat_engine.records import NewRun, Root
from leat_engine.spec import WorkflowRun, parse_run
from leat_operator.catalog import Catalog, Compiled

TRACEPARENT = "leat.dev/traceparent"
"""Annotation of a WorkflowRun: the trace that its steps go on with."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Admitted:
    """A run for the store, with the revision that it needs there."""

    run: NewRun
    compiled: Compiled


@dataclass(frozen=True, slots=True)
class Lacking:
    """The run's Workflow is not there."""

    workflow: str


@dataclass(frozen=True, slots=True)
class Unable:
    """A pool cannot run the run's Workflow ("" when it brings its own), and why. Its next runners may."""

    workflow: str
    reasons: tuple[Reason, ...]


def admit(body: Mapping[str, Any], catalog: Catalog) -> Admitted | Lacking | Unable:
    """Decide about a WorkflowRun.

    Raises:
        Rejected: It can never run; with every reason.
    """
    document = parse_run(body)
    name, namespace = body["metadata"]["name"], body["metadata"]["namespace"]
    if document.spec.inline is not None:
        compiled = catalog.compile(document.spec.inline, namespace, name, "spec.inline")
        reasons = catalog.incapable(compiled)
        return Unable("", reasons) if reasons else admitted(body, document, compiled, name)
    workflow = document.spec.workflow.name if document.spec.workflow else ""
    if not _NAME.fullmatch(workflow):
        expected = "expected a name of lower case letters, digits, `-` and `.`"
        raise Rejected([Reason("spec.workflow.name", f"found {workflow!r}, {expected}")])
    listed = catalog.get(namespace, workflow)
    if listed is None:
        return Lacking(workflow)
    if listed.compiled is None:
        raise Rejected(
            Reason("spec.workflow.name", f"Workflow {workflow} is invalid: {reason}") for reason in listed.reasons
        )
    reasons = catalog.incapable(listed.compiled)
    return Unable(workflow, reasons) if reasons else admitted(body, document, listed.compiled, workflow)


def admitted(body: Mapping[str, Any], document: WorkflowRun, compiled: Compiled, workflow: str) -> Admitted:
    """The run of a resource, from its first step.

    Raises:
        Rejected: Its inputs are not what the plan takes, or it wants another revision.
    """
    metadata, spec, plan = body["metadata"], document.spec, compiled.plan
    if spec.revision not in (None, compiled.revision.id):
        message = f"a run begins by the revision that is there, {compiled.revision.id}, found {spec.revision}"
        raise Rejected([Reason("spec.revision", f"{message}: leave it out, and set it later to migrate the run")])
    run = NewRun(
        run_id=run_id(metadata),
        namespace=metadata["namespace"],
        name=metadata["name"],
        workflow=workflow,
        revision=compiled.revision.id,
        inputs=plan.inputs.apply(spec.inputs),
        roots=tuple(Root(node, plan.steps[node].pool) for node in plan.roots),
        total=plan.total,
        pool=compiled.pool,
        uid=metadata["uid"],
        generation=generation(metadata),
        priority=spec.priority,
        suspended=spec.suspend,
        timeout=plan.timeout,
        traceparent=traceparent(metadata),
    )
    return Admitted(run, compiled)


def withdrawn(body: Mapping[str, Any]) -> str | None:
    """Why a resource does not want its run to begin (any more), or None when it does."""
    if body["metadata"].get("deletionTimestamp"):
        return "the WorkflowRun was deleted"
    return "spec.cancel is true" if body["spec"].get("cancel") else None


def run_id(metadata: Mapping[str, Any]) -> UUID:
    """The id of the run that a resource stands for."""
    return run_id_of(metadata["uid"], created_at(metadata))


def created_at(metadata: Mapping[str, Any]) -> datetime:
    """When a resource was created."""
    return datetime.fromisoformat(metadata["creationTimestamp"])


def traceparent(metadata: Mapping[str, Any]) -> str:
    """The W3C trace context that whoever created the resource wrote into its annotation, or ""."""
    found = (metadata.get("annotations") or {}).get(TRACEPARENT, "")
    return found if re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", found) else ""


def generation(metadata: Mapping[str, Any]) -> int:
    """The count of changes of a resource's spec."""
    return int(metadata.get("generation", 1))
