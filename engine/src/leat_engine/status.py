"""The store's truth about a run, as its resource's ``.status``.

A projection: the same record gives the same status, so writing it again changes nothing. Times come from the record
alone, and a condition's ``lastTransitionTime`` moves only with its ``status``. Conditions read as kstatus reads them:
a running run is InProgress, a failed one is Failed, one that succeeded or was cancelled on request is Current.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from leat_engine.errors import Reason
from leat_engine.job import dumps
from leat_engine.limits import KIB
from leat_engine.plan import Plan
from leat_engine.records import Report, RunRecord, StepRecord
from leat_engine.redaction import Redaction
from leat_engine.result import Phase

OUTPUT_BYTES = 4 * KIB
FAILURES = 20
MESSAGE_CHARS = 1024
FAILURE_CHARS = 512

POOL_CANNOT_RUN = "PoolCannotRun"
"""Reason of a condition: a pool announced what it can do, and a step needs something else."""

QUOTA_EXCEEDED = "QuotaExceeded"
"""Reason of a condition: a run waits until there is room in the quotas of its namespace."""

Status = dict[str, Any]

_LIVE_MESSAGES = {
    Phase.PENDING: "Accepted; no runner has taken a step yet",
    Phase.RUNNING: "Running",
    Phase.SUSPENDED: "Suspended: nothing new starts until spec.suspend is false",
    Phase.COMPENSATING: "Undoing the steps that succeeded",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the three conditions of a run say.

    Attributes:
        succeeded: Status of `Succeeded`: "Unknown", "True" or "False".
        stalled: Whether the run failed and nobody will go on with it.
        since: When `Succeeded` took this status.
        begun: When the run began, which is when it began to be reconciled.
    """

    succeeded: str
    stalled: bool
    reason: str
    message: str
    since: datetime
    begun: datetime

    def conditions(self, generation: int) -> list[Status]:
        """The conditions, in the order that people read them."""
        live = self.succeeded == "Unknown"
        return [
            self._condition("Succeeded", self.succeeded, self.since, generation),
            self._condition("Reconciling", str(live), self.since, generation),
            self._condition("Stalled", str(self.stalled), self.since if self.stalled else self.begun, generation),
        ]

    def _condition(self, name: str, status: str, since: datetime, generation: int) -> Status:
        return {
            "type": name,
            "status": status,
            "reason": self.reason,
            "message": self.message,
            "lastTransitionTime": _time(since),
            "observedGeneration": generation,
        }


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a run is not migrated. ``generation``: of the resource that asked for it."""

    reason: str
    message: str
    generation: int


def run_status(
    report: "Report",
    plan: Plan | None,
    generation: int = 0,
    refusal: Refusal | None = None,
    finish: datetime | None = None,
) -> Status:
    """The status of the resource that stands for a run.

    Args:
        report: The run and its failed steps.
        plan: The run's plan: names the failed steps and the sensitive inputs. None when its revision is not to be had;
            then nothing is shown that may hold a sensitive value.
        generation: The newest generation of the resource that was seen; the record's own if that is newer.
        refusal: Why it does not go on by the revision that its resource asks for.
        finish: When the run is likely to have ended.
    """
    run = report.run
    redaction = None if plan is None else Redaction.of(plan.sensitive, run.inputs, run.hidden)
    phase = shown_phase(run)
    output, note = _output(run, redaction)
    waiting = _waiting(report, phase, plan, redaction)
    message = bounded(waiting or _message(run, phase, redaction) + note, MESSAGE_CHARS)
    generation = max(generation, run.generation)
    done = run.succeeded + run.failed + run.skipped
    begun = begun_at(run.run_id)
    verdict = Verdict(
        succeeded={Phase.SUCCEEDED: "True", Phase.FAILED: "False", Phase.CANCELLED: "False"}.get(phase, "Unknown"),
        stalled=phase is Phase.FAILED,
        reason=_reason(run, phase),
        message=message,
        since=(run.finished_at or begun) if phase.done else begun,
        begun=begun,
    )
    status: Status = {
        "observedGeneration": generation,
        "phase": phase.label,
        "conditions": verdict.conditions(generation),
        "runId": str(run.run_id),
        "revision": run.revision,
        "steps": {
            "total": run.total,
            "succeeded": run.succeeded,
            "failed": run.failed,
            "running": run.live,
            "skipped": run.skipped,
        },
        "progress": f"{done}/{run.total}",
        "message": message,
    }
    if refusal is not None:
        status["conditions"].append(_migrated("False", refusal.reason, refusal.message, begun, refusal.generation))
    elif run.epoch:
        message = f"It goes on by revision {run.revision}"
        status["conditions"].append(_migrated("True", "Migrated", message, begun, generation))
    if phase is Phase.FAILED:
        status["reason"] = verdict.reason
    if run.rerun_of is not None:
        status["rerunOf"] = run.rerun_of
    if phase is not Phase.PENDING:
        status["startedAt"] = _time(run.started_at, "milliseconds")
    if run.finished_at is not None:
        status["finishedAt"] = _time(run.finished_at, "milliseconds")
    if finish is not None and not phase.done:
        status["estimatedFinishAt"] = _time(finish)
    if failures := _failures(report.failures, plan, redaction):
        status["failures"] = failures
    if output is not None:
        status["output"] = output
    return status


def _migrated(status: str, reason: str, message: str, since: datetime, generation: int) -> Status:
    return {
        "type": "Migrated",
        "status": status,
        "reason": reason,
        "message": bounded(message, MESSAGE_CHARS),
        "lastTransitionTime": _time(since),
        "observedGeneration": generation,
    }


def rejected_status(reasons: Sequence[Reason], generation: int, at: datetime) -> Status:
    """The status of a run that cannot be accepted, ever: Failed, with every reason."""
    message = reasons_message(reasons)
    verdict = Verdict("False", stalled=True, reason="Rejected", message=message, since=at, begun=at)
    return _never_begun(Phase.FAILED, verdict, generation)


def cancelled_status(why: str, generation: int, at: datetime) -> Status:
    """The status of a run that was cancelled before it was accepted: the store never hears of it."""
    message = f"{why}; the run had not begun"
    verdict = Verdict("False", stalled=False, reason="Cancelled", message=message, since=at, begun=at)
    return _never_begun(Phase.CANCELLED, verdict, generation)


def waiting_status(workflow: str, generation: int, since: datetime) -> Status:
    """The status of a run whose Workflow is not there (yet): a GitOps tool may apply them in any order."""
    message = f"Workflow {workflow} is not there yet; the run starts when it is"
    verdict = Verdict("Unknown", stalled=False, reason="WorkflowNotFound", message=message, since=since, begun=since)
    return {
        "observedGeneration": generation,
        "phase": Phase.PENDING.label,
        "conditions": verdict.conditions(generation),
        "message": message,
    }


def unable_status(reasons: Sequence[Reason], generation: int, since: datetime) -> Status:
    """The status of a run whose pool cannot run it (yet): its runners may be about to be replaced by others."""
    message = f"Waits for its pool: {reasons_message(reasons)}"
    verdict = Verdict("Unknown", stalled=False, reason=POOL_CANNOT_RUN, message=message, since=since, begun=since)
    return {
        "observedGeneration": generation,
        "phase": Phase.PENDING.label,
        "conditions": verdict.conditions(generation),
        "message": message,
    }


def workflow_status(revision: str | None, reasons: Sequence[Reason], generation: int, at: datetime) -> Status:
    """The status of a Workflow: ``Ready``, or not with every reason and field path.

    Then it is ``Stalled`` as well: kstatus takes what is only not Ready for something that is about to be.

    Args:
        revision: The id of the compiled revision, None when the spec is rejected.
        reasons: Why it is rejected; with a revision, why its pool cannot run it.
        generation: The generation that was compiled.
        at: When the conditions took their status; the caller keeps it while the status stays.
    """
    ready = revision is not None and not reasons
    shared = {
        "reason": "Compiled" if ready else "Rejected" if revision is None else POOL_CANNOT_RUN,
        "message": "Runs can start" if ready else reasons_message(reasons),
        "lastTransitionTime": _time(at),
        "observedGeneration": generation,
    }
    conditions = [
        {"type": "Ready", "status": str(ready), **shared},
        {"type": "Stalled", "status": str(revision is None), **shared},
    ]
    status: Status = {"observedGeneration": generation, "conditions": conditions}
    if revision is not None:
        status["revision"] = revision
    return status


def observed(status: Status, generation: int) -> Status:
    """The status of what is over, when its spec has changed since: the change was seen, and nothing follows from it."""
    conditions = [{**condition, "observedGeneration": generation} for condition in status.get("conditions", ())]
    return {**status, "observedGeneration": generation, "conditions": conditions}


def shown_phase(run: "RunRecord") -> Phase:
    """The phase that people read: a suspended run says so from the moment that nothing new starts."""
    return Phase.SUSPENDED if run.suspended and run.phase <= Phase.RUNNING and run.stopping is None else run.phase


def waits_for_quota(run: "RunRecord") -> str:
    """What a run says that a quota holds, or nothing."""
    if run.held is None or shown_phase(run) is not Phase.PENDING:
        return ""
    return f"Waits for the quota of the namespace. {run.held}".rstrip(". ")


def begun_at(run_id: UUID) -> datetime:
    """When the run began: the millisecond in its UUIDv7, the same in every record of it."""
    return datetime.fromtimestamp((run_id.int >> 80) / 1000, UTC)


def reasons_message(reasons: Sequence[Reason]) -> str:
    """All reasons in one bounded text; those that do not fit are counted."""
    shown: list[str] = []
    for index, reason in enumerate(reasons):
        text = bounded(str(reason), FAILURE_CHARS)
        rest = len(reasons) - index
        if sum(map(len, shown)) + 2 * len(shown) + len(text) > MESSAGE_CHARS - 20 and shown:
            shown.append(f"and {rest} more")
            break
        shown.append(text)
    return "; ".join(shown)


def bounded(text: str, limit: int) -> str:
    """The text, cut at ``limit`` characters with an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _never_begun(phase: Phase, verdict: Verdict, generation: int) -> Status:
    return {
        "observedGeneration": generation,
        "phase": phase.label,
        **({"reason": verdict.reason} if phase is Phase.FAILED else {}),
        "conditions": verdict.conditions(generation),
        "finishedAt": _time(verdict.since, "milliseconds"),
        "message": verdict.message,
    }


def _reason(run: "RunRecord", phase: Phase) -> str:
    if phase is Phase.FAILED and run.error is not None:
        return str(run.error.get("type") or phase.label)
    if waits_for_quota(run):
        return QUOTA_EXCEEDED
    return "Stopping" if run.stopping is not None and not phase.done else phase.label


def _message(run: "RunRecord", phase: Phase, redaction: Redaction | None) -> str:
    why = "" if run.error is None else _shown(run.error.get("message", ""), redaction)
    if phase is Phase.SUCCEEDED:
        return "All steps ended well"
    if phase.done:
        return why or ("Cancelled on request" if phase is Phase.CANCELLED else "A step failed")
    if run.outcome is not None:
        doing = "Undoing the steps that succeeded" if run.phase is Phase.COMPENSATING else "Doing what is in `finally`"
        return f"{doing}; ending as {run.outcome.label}" + (f": {why}" if why else "")
    if run.stopping is not None:
        return f"Ending as {run.stopping.label}: {why}" if why else f"Ending as {run.stopping.label}"
    return waits_for_quota(run) or _LIVE_MESSAGES[phase]


def _waiting(report: "Report", phase: Phase, plan: Plan | None, redaction: Redaction | None) -> str:
    """What a running step of a running run waits for, or nothing."""
    if phase is not Phase.RUNNING or report.run.stopping is not None or not report.waiting_step:
        return ""
    name = str(report.waiting_step) if plan is None else plan.steps[report.waiting_step].name
    return f"step {name} is waiting: {_shown(report.waiting, redaction)}"


def _output(run: "RunRecord", redaction: Redaction | None) -> tuple[Any, str]:
    if run.phase is not Phase.SUCCEEDED or run.output is None:
        return None, ""
    if redaction is None:
        return None, ". The output is not shown here because the run's revision cannot be read"
    size = len(dumps(run.output).encode())
    if size > OUTPUT_BYTES:
        return None, f". The output of {size} bytes is over the {OUTPUT_BYTES} shown here; `leat describe` shows it"
    return redaction.value(run.output), ""


def _failures(steps: Sequence["StepRecord"], plan: Plan | None, redaction: Redaction | None) -> list[Status]:
    return [
        {
            "step": str(step.key.step) if plan is None else plan.steps[step.key.step].name,
            "reason": str((step.error or {}).get("reason", "Failed")),
            "message": bounded(_shown((step.error or {}).get("message", ""), redaction), FAILURE_CHARS),
        }
        for step in steps[:FAILURES]
    ]


def _shown(text: Any, redaction: Redaction | None) -> str:
    return "(not shown)" if redaction is None else redaction.text(str(text))


def _time(at: datetime, precision: str = "seconds") -> str:
    return at.astimezone(UTC).isoformat(timespec=precision).replace("+00:00", "Z")
