"""Custom resources as the API server returns them, to what is shown of them. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from leat_cli.snapshot import Outlook, RunSnapshot, rfc3339, sensitive_inputs
from leat_engine.redaction import REDACTED


@dataclass(frozen=True, slots=True)
class WorkflowSnapshot:
    """A Workflow. ``ready`` is the status of its condition: True, False or Unknown; ``message`` says why."""

    namespace: str
    name: str
    ready: str
    message: str
    revision: str
    description: str
    steps: int
    created_at: datetime | None
    spec: Mapping[str, Any]

    def summary(self) -> dict[str, Any]:
        """Return what `leat get workflows -o json` prints of it."""
        return {
            "namespace": self.namespace,
            "name": self.name,
            "ready": self.ready,
            "message": self.message,
            "revision": self.revision,
            "description": self.description,
            "steps": self.steps,
            "createdAt": rfc3339(self.created_at),
        }

    def as_json(self) -> dict[str, Any]:
        """Return what `leat get workflow NAME -o json` prints: the summary and the spec as it was written."""
        return {**self.summary(), "spec": dict(self.spec)}


def run_of_resource(resource: Mapping[str, Any], workflow_spec: Mapping[str, Any] | None) -> RunSnapshot:
    """Return what a WorkflowRun says of itself.

    Args:
        resource: As the API server returns it.
        workflow_spec: Spec of its Workflow, which says what is sensitive. Without it no input is shown at all. The
            status holds nothing sensitive: the operator sees to that.
    """
    metadata, spec, status = resource["metadata"], resource.get("spec") or {}, resource.get("status") or {}
    inputs = spec.get("inputs") or {}
    known = spec.get("inline") or workflow_spec
    sensitive = frozenset(inputs) if known is None else sensitive_inputs(known)
    return RunSnapshot(
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        workflow=(spec.get("workflow") or {}).get("name", "") or "(inline)",
        phase=status.get("phase") or "Pending",
        run_id=status.get("runId") or "",
        revision=status.get("revision") or "",
        progress=status.get("progress") or "",
        message=status.get("message") or "",
        inputs={name: REDACTED if name in sensitive else value for name, value in inputs.items()},
        output=status.get("output"),
        started_at=_time(status.get("startedAt") or metadata.get("creationTimestamp")),
        finished_at=_time(status.get("finishedAt")),
        failures=tuple(status.get("failures") or ()),
        reason=status.get("reason") or "",
        rerun_of=(spec.get("rerun") or {}).get("of", ""),
        outlook=Outlook(_time(status["estimatedFinishAt"])) if status.get("estimatedFinishAt") else None,
    )


def workflow_of_resource(resource: Mapping[str, Any]) -> WorkflowSnapshot:
    """Return what a Workflow says of itself."""
    metadata, spec, status = resource["metadata"], resource.get("spec") or {}, resource.get("status") or {}
    conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
    ready = conditions.get("Ready", {})
    return WorkflowSnapshot(
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        ready=ready.get("status", "Unknown"),
        message=ready.get("message", ""),
        revision=status.get("revision") or "",
        description=spec.get("description") or "",
        steps=len(spec.get("steps") or ()),
        created_at=_time(metadata.get("creationTimestamp")),
        spec=spec,
    )


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
