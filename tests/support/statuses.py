"""Resources with the statuses that Leat gives them, and how GitOps tools are to read each."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from leat_engine.errors import Reason
from leat_engine.job import run_id_of
from leat_engine.records import Report, RunRecord
from leat_engine.result import Phase
from leat_engine.status import (
    Status,
    cancelled_status,
    observed,
    rejected_status,
    run_status,
    waiting_status,
    workflow_status,
)
from leat_engine.store.quotas import Usage
from leat_engine.waits import Delivery, Fate
from leat_operator.quotas import quota_status
from leat_operator.signals import signal_status

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
UNSEEN: Status = {"observedGeneration": -1}
"""What the API server shows until the operator has written a status: the default of the CRDs."""
HOOK = {"argocd.argoproj.io/hook": "PreSync"}
RECORD = RunRecord(
    run_id=run_id_of("8d1f", AT),
    namespace="shop",
    name="a",
    workflow="order",
    revision="r1",
    uid="8d1f",
    generation=1,
    phase=Phase.RUNNING,
    suspended=False,
    stopping=None,
    inputs={},
    output=None,
    error=None,
    priority=0,
    total=5,
    live=1,
    succeeded=2,
    failed=0,
    skipped=1,
    started_at=AT,
    finished_at=None,
)


@dataclass(frozen=True)
class Case:
    """A resource. ``kstatus`` and ``argo``: the words in which they are to judge it."""

    name: str
    resource: Mapping[str, Any]
    kstatus: str
    argo: str


def cases() -> list[Case]:
    return [*_runs(), *_workflows(), *_pools(), *_quotas(), *_signals()]


def _runs() -> Iterator[Case]:
    over = timedelta(seconds=9)
    ends = {phase: _status(phase=phase, live=0, finished_at=AT + over) for phase in Phase if phase.done}
    told = [
        ("not seen", UNSEEN, "InProgress", "Progressing"),
        ("waits for its Workflow", waiting_status("order", 1, AT), "InProgress", "Progressing"),
        ("over a quota", _status(phase=Phase.PENDING, held="activeRuns: 3 of 3 used"), "InProgress", "Progressing"),
        ("accepted", _status(phase=Phase.PENDING), "InProgress", "Progressing"),
        ("running", _status(), "InProgress", "Progressing"),
        ("suspended", _status(suspended=True), "InProgress", "Suspended"),
        ("compensating", _status(phase=Phase.COMPENSATING), "InProgress", "Progressing"),
        ("ending", _status(stopping=Phase.FAILED), "InProgress", "Progressing"),
        ("succeeded", ends[Phase.SUCCEEDED], "Current", "Healthy"),
        ("failed", ends[Phase.FAILED], "Failed", "Degraded"),
        ("cancelled", ends[Phase.CANCELLED], "Current", "Healthy"),
        ("cancelled before it began", cancelled_status("spec.cancel is true", 1, AT), "Current", "Healthy"),
        ("rejected", rejected_status([Reason("spec", "is wrong")], 1, AT), "Failed", "Degraded"),
    ]
    for name, status, kstatus, argo in told:
        yield Case(f"run {name}", _resource("WorkflowRun", status), kstatus, argo)
    for phase, argo in ((Phase.SUCCEEDED, "Healthy"), (Phase.FAILED, "Degraded")):
        changed = _resource("WorkflowRun", ends[phase], generation=2)
        yield Case(f"run {phase.label}, its ttl changed after that", changed, "InProgress", argo)
        seen = {**changed, "status": observed(ends[phase], 2)}
        yield Case(f"run {phase.label}, the change seen", seen, "Current" if argo == "Healthy" else "Failed", argo)
    suspended = _resource("WorkflowRun", _status(suspended=True), generation=2)
    yield Case("run suspended, resumed and not seen", suspended, "InProgress", "Progressing")
    hook = _resource("WorkflowRun", ends[Phase.CANCELLED], annotations=HOOK)
    yield Case("run as a hook, cancelled", hook, "Current", "Degraded")
    leaving = _resource("WorkflowRun", _status(), deletionTimestamp="2026-03-01T12:00:00Z")
    yield Case("run deleted", leaving, "Terminating", "Progressing")


def _workflows() -> Iterator[Case]:
    ready = workflow_status("r1", (), 1, AT)
    wrong = workflow_status(None, [Reason("spec.steps[1].needs", "there is no step chrage")], 1, AT)
    yield Case("workflow not seen", _resource("Workflow", UNSEEN), "InProgress", "Progressing")
    yield Case("workflow ready", _resource("Workflow", ready), "Current", "Healthy")
    yield Case("workflow wrong", _resource("Workflow", wrong), "Failed", "Degraded")
    yield Case("workflow changed", _resource("Workflow", ready, generation=2), "InProgress", "Progressing")
    yield Case("workflow mended, not seen", _resource("Workflow", wrong, generation=2), "InProgress", "Progressing")


def _pools() -> Iterator[Case]:
    shapes = {
        "ready": ({"Ready": "True", "Reconciling": "False", "Stalled": "False"}, "Current", "Healthy"),
        "coming": ({"Ready": "False", "Reconciling": "True", "Stalled": "False"}, "InProgress", "Progressing"),
        "in a wrong namespace": ({"Ready": "False", "Reconciling": "False", "Stalled": "True"}, "Failed", "Degraded"),
    }
    yield Case("pool not seen", _resource("RunnerPool", UNSEEN), "InProgress", "Progressing")
    for name, (conditions, kstatus, argo) in shapes.items():
        yield Case(f"pool {name}", _resource("RunnerPool", _conditions(conditions)), kstatus, argo)


def _quotas() -> Iterator[Case]:
    yield Case("quota not seen", _resource("RunQuota", UNSEEN), "InProgress", "Progressing")
    for name, wrong, kstatus, argo in (("in force", "", "Current", "Healthy"), ("wrong", "is", "Failed", "Degraded")):
        status = quota_status(_resource("RunQuota", UNSEEN), Usage(0, 0, 0, 0, 0), wrong, AT)
        yield Case(f"quota {name}", _resource("RunQuota", status), kstatus, argo)
        changed = _resource("RunQuota", status, generation=2)
        yield Case(f"quota {name}, changed", changed, "InProgress", "Progressing")


def _signals() -> Iterator[Case]:
    fates = {
        Fate.EARLY: ("InProgress", "Progressing"),
        Fate.DELIVERED: ("Current", "Healthy"),
        Fate.REFUSED: ("Failed", "Degraded"),
    }
    yield Case("signal not seen", _resource("WorkflowSignal", UNSEEN), "InProgress", "Progressing")
    for fate, (kstatus, argo) in fates.items():
        status = signal_status(Delivery(fate, "said"), 1, AT)
        yield Case(f"signal {fate}", _resource("WorkflowSignal", status), kstatus, argo)


def _status(**changes: Any) -> Status:
    return run_status(Report(1, replace(RECORD, **changes)), None)


def _conditions(found: Mapping[str, str]) -> Status:
    since = "2026-03-01T12:00:00Z"
    conditions = [
        {"type": name, "status": value, "reason": "Said", "message": f"{name}: {value}", "lastTransitionTime": since}
        for name, value in found.items()
    ]
    return {"observedGeneration": 1, "conditions": conditions}


def _resource(kind: str, status: Status, generation: int = 1, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "leat.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": "a", "namespace": "shop", "generation": generation, **metadata},
        "spec": {},
        "status": status,
    }
