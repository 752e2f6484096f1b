"""Records of the store, to what is shown of them. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from leat_cli.snapshot import AttemptSnapshot, RunSnapshot, StepSnapshot, sensitive_inputs
from leat_engine.records import AttemptRecord, RunRecord, StepRecord
from leat_engine.redaction import REDACTED, Redaction
from leat_engine.result import State
from leat_engine.spec import Step
from leat_engine.status import shown_phase


def snapshot_of(
    run: RunRecord,
    spec: Mapping[str, Any],
    steps: Iterable[StepRecord] | None = None,
    attempts: Iterable[AttemptRecord] = (),
) -> RunSnapshot:
    """Return what is shown of a run in the store. ``spec`` is its revision's; without ``steps`` only the summary."""
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
        steps=None if steps is None else tuple(_steps_of(spec, run, steps, attempts)),
    )


def _steps_of(
    spec: Mapping[str, Any], run: RunRecord, steps: Iterable[StepRecord], attempts: Iterable[AttemptRecord]
) -> Iterator[StepSnapshot]:
    """Yield each step of the spec, in its order, whether anything is recorded of it or not."""
    hide = Redaction.of(sensitive_inputs(spec), run.inputs)
    records = {record.key.step: record for record in steps}
    earlier: dict[int, list[AttemptSnapshot]] = defaultdict(list)
    for tried in sorted(attempts, key=lambda record: record.attempt):
        error = hide.value(tried.error)
        snapshot = AttemptSnapshot(tried.attempt, error, tried.queued_at, tried.started_at, tried.finished_at)
        earlier[tried.key.step].append(snapshot)
    for number, step in enumerate(spec.get("steps", ()), start=1):
        record = records.get(number)
        label = _state_of(record, run_ended=run.phase.done).label
        if record is None:
            yield StepSnapshot(step["name"], kind_of(step), label)
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
        )


def _state_of(record: StepRecord | None, *, run_ended: bool) -> State:
    """Return the step's state. What had not started when the run ended was stopped: it waits for nothing any more."""
    state = record.state if record else State.WAITING
    return State.CANCELLED if run_ended and not state.done else state


def kind_of(step: Mapping[str, Any]) -> str:
    """Return the name of a written step's kind: its one field that is not of every step."""
    return next((name for name in step if name not in _STEP_FIELDS), "")


_STEP_FIELDS = frozenset(field.alias or name for name, field in Step.model_fields.items())
