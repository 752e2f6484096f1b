"""Records of the store, to what is shown of them. Pure."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from leat_cli.snapshot import AttemptSnapshot, Outlook, RunSnapshot, StepSnapshot, sensitive_inputs
from leat_engine.errors import Rejected
from leat_engine.estimate import Estimate
from leat_engine.plan import Plan, compile_plan
from leat_engine.records import RunRecord, ShownAttempt, ShownStep, StepRecord
from leat_engine.redaction import REDACTED, Redaction
from leat_engine.result import Phase, State
from leat_engine.spec import Step
from leat_engine.spec.kinds import load_models
from leat_engine.spec.parse import parse_spec
from leat_engine.status import shown_phase

Edges = Mapping[str, tuple[str, tuple[str, ...]]]
"""Of each step its pool, and the names of those that it needs."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the store has of the steps of a run."""

    steps: Sequence[ShownStep]
    attempts: Sequence[ShownAttempt] = ()
    edges: Edges = field(default_factory=dict)
    outlook: Outlook | None = None


def plan_of(spec: Mapping[str, Any]) -> Plan | None:
    """Return the plan of a spec; None for a workflow that this program does not take any more."""
    try:
        return compile_plan(parse_spec(spec), load_models(), "")
    except Rejected:
        return None


def outlook_of(estimate: Estimate | None) -> Outlook | None:
    """Return what is shown of an estimate."""
    if estimate is None:
        return None
    path = tuple((part.step, part.share) for part in estimate.path)
    return Outlook(estimate.finish, estimate.late, path, estimate.unknown, estimate.people)


def edges_of(plan: Plan | None) -> Edges:
    """Return pools and needs by step; nothing without a plan."""
    if plan is None:
        return {}
    return {
        step.name: (step.pool, tuple(plan.steps[edge.step].name for edge in step.needs))
        for step in plan.steps[1 : plan.total + 1]
    }


def snapshot_of(run: RunRecord, spec: Mapping[str, Any], recorded: Recorded | None = None) -> RunSnapshot:
    """Return what is shown of a run in the store. ``spec`` is its revision's; without records only the summary."""
    sensitive = sensitive_inputs(spec)
    hide = Redaction.of(sensitive, run.inputs)
    done = run.succeeded + run.failed + run.skipped
    return RunSnapshot(
        namespace=run.namespace,
        name=run.name,
        workflow=run.workflow,
        phase=shown_phase(run).label,
        run_id=str(run.run_id),
        revision=run.revision,
        progress=f"{done}/{run.total}",
        message=hide.text((run.error or {}).get("message", "")),
        inputs={name: REDACTED if name in sensitive else value for name, value in run.inputs.items()},
        output=hide.value(run.output),
        error=hide.value(run.error),
        started_at=run.started_at,
        finished_at=run.finished_at,
        steps=None if recorded is None else tuple(_steps_of(spec, run, recorded)),
        reason=str((run.error or {}).get("type", "")) if run.phase is Phase.FAILED else "",
        rerun_of=run.rerun_of or "",
        outlook=None if recorded is None else recorded.outlook,
    )


def _steps_of(spec: Mapping[str, Any], run: RunRecord, recorded: Recorded) -> Iterator[StepSnapshot]:
    """Yield each step of the spec, in its order, whether anything is recorded of it or not."""
    hide = Redaction.of(sensitive_inputs(spec), run.inputs)
    found = {shown.record.key.step: shown for shown in recorded.steps}
    earlier: dict[int, list[AttemptSnapshot]] = defaultdict(list)
    for shown in sorted(recorded.attempts, key=lambda shown: shown.record.attempt):
        tried, error = shown.record, hide.value(shown.record.error)
        times = (tried.queued_at, tried.started_at, tried.finished_at)
        earlier[tried.key.step].append(AttemptSnapshot(tried.attempt, error, *times, shown.runner or ""))
    for number, step in enumerate(spec.get("steps", ()), start=1):
        begun = found.get(number)
        record = begun.record if begun else None
        pool, needs = recorded.edges.get(step["name"], ("", _written_needs(step)))
        label = _state_of(record, run_ended=run.phase.done).label
        if begun is None or record is None:
            yield StepSnapshot(step["name"], kind_of(step), label, pool=pool, needs=needs)
            continue
        yield StepSnapshot(
            name=step["name"],
            kind=kind_of(step),
            state=label,
            attempts=record.attempt,
            output=hide.value(record.output),
            error=hide.value(record.error),
            queued_at=record.queued_at,
            started_at=record.started_at,
            finished_at=record.finished_at,
            earlier=tuple(earlier[number]),
            needs=needs,
            pool=pool,
            runner=begun.runner or "",
            note=hide.text(record.note or ""),
        )


def _written_needs(step: Mapping[str, Any]) -> tuple[str, ...]:
    needs = step.get("needs") or ()
    return tuple(need["step"] if isinstance(need, Mapping) else str(need) for need in needs)


def _state_of(record: StepRecord | None, *, run_ended: bool) -> State:
    """Return the step's state. What had not started when the run ended was stopped: it waits for nothing any more."""
    state = record.state if record else State.WAITING
    return State.CANCELLED if run_ended and not state.done else state


def kind_of(step: Mapping[str, Any]) -> str:
    """Return the name of a written step's kind: its one field that is not of every step."""
    return next((name for name in step if name not in _STEP_FIELDS), "")


_STEP_FIELDS = frozenset(field.alias or name for name, field in Step.model_fields.items())
