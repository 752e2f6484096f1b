"""What is shown of a run, wherever it was read. Pure: times, records and specs in, values out."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from leat_engine.result import Phase, State


@dataclass(frozen=True, slots=True)
class AttemptSnapshot:
    """An attempt that was followed by another one."""

    attempt: int
    error: Mapping[str, Any]
    queued_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    runner: str = ""


@dataclass(frozen=True, slots=True)
class ScopesSnapshot:
    """What a step has opened: its items, iterations or cases.

    Attributes:
        states: How many of them are in which state.
        shown: Some of them.
    """

    states: Mapping[str, int]
    shown: "tuple[ScopeSnapshot, ...]"

    @property
    def rest(self) -> dict[str, int]:
        """How many of those that are not shown are in which state."""
        left = Counter(self.states)
        left.subtract(Counter(scope.state for scope in self.shown))
        return {state: count for state, count in left.items() if count > 0}

    def ended(self) -> "ScopesSnapshot":
        """Return how they are once the run has ended: what was not over was stopped."""
        states: Counter[str] = Counter()
        for state, count in self.states.items():
            states[_CANCELLED if state in _OPEN else state] += count
        shown = (replace(one, state=_CANCELLED) if one.state in _OPEN else one for one in self.shown)
        return ScopesSnapshot(dict(states), tuple(shown))


@dataclass(frozen=True, slots=True)
class ScopeSnapshot:
    """An item, an iteration, a case, or a group with an empty ``label``."""

    index: int
    label: str
    state: str
    steps: "tuple[StepSnapshot, ...]"


@dataclass(frozen=True, slots=True)
class ChildSnapshot:
    """A run that a step started, with the runs below it."""

    name: str
    workflow: str
    phase: str
    run_id: str = ""
    progress: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    children: "tuple[ChildSnapshot, ...]" = ()

    def as_json(self) -> dict[str, Any]:
        """Return the run as `RunSteps` has it."""
        return {
            "name": self.name,
            "id": self.run_id,
            "workflow": self.workflow,
            "phase": self.phase,
            "progress": self.progress,
            "startedAt": rfc3339(self.started_at),
            "finishedAt": rfc3339(self.finished_at),
            "children": [child.as_json() for child in self.children],
        }


@dataclass(frozen=True, slots=True)
class StepSnapshot:
    """A step of a run.

    Attributes:
        attempts: 0 when it never became ready; ``earlier`` are those before the last one.
        needs: Names of the steps that it waits for.
        runner: Name of the runner that has it, or had it last; "" when that is not known.
        note: Why it waits, or "".
        scopes: What it has opened, if it has bodies.
        cleanup: The run has done it at its end: a compensation, or `finally`.
        children: Runs that it started, in that order; of very many not all.
    """

    name: str
    kind: str
    state: str
    attempts: int = 0
    output: Any = None
    error: Mapping[str, Any] | None = None
    queued_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    earlier: tuple[AttemptSnapshot, ...] = ()
    needs: tuple[str, ...] = ()
    pool: str = ""
    runner: str = ""
    note: str = ""
    scopes: ScopesSnapshot | None = None
    cleanup: bool = False
    children: tuple[ChildSnapshot, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return ``{state, attempts, output, error, queuedAt, startedAt, finishedAt}``."""
        return {
            "state": self.state,
            "attempts": self.attempts,
            "output": self.output,
            "error": self.error,
            "queuedAt": rfc3339(self.queued_at),
            "startedAt": rfc3339(self.started_at),
            "finishedAt": rfc3339(self.finished_at),
        }


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is to be expected of a run.

    Attributes:
        finish_at: In half of all cases it has ended by then; None when too little is known.
        late_at: In nine of ten cases.
        path: The steps that keep it from ending earlier, in their order, with their shares of the time that is left.
        unknown: Steps that have never ended yet; ``people``: steps that wait for somebody.
    """

    finish_at: datetime | None = None
    late_at: datetime | None = None
    path: tuple[tuple[str, float], ...] = ()
    unknown: tuple[str, ...] = ()
    people: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return ``{finishAt, lateAt, criticalPath: [{step, share}], unknown, people}``."""
        return {
            "finishAt": rfc3339(self.finish_at),
            "lateAt": rfc3339(self.late_at),
            "criticalPath": [{"step": step, "share": round(share, 3)} for step, share in self.path],
            "unknown": list(self.unknown),
            "people": list(self.people),
        }


@dataclass(frozen=True, slots=True)
class RunSnapshot:
    """A run. ``steps`` is None when only the resource could be read, which counts steps and names the failed ones.

    Attributes:
        phase: As in ``.status.phase``.
        progress: Steps done of all steps, such as ``3/5``.
        message: One sentence on the state of the run, or "".
        failures: ``{step, reason, message}`` of failed steps, when ``steps`` is None.
        gap: Why ``steps`` is None, and what to do about it.
        reason: Why it failed, as a word for programs: the type of its error, or "".
        rerun_of: The run that it goes on from, or "".
        outlook: What is to be expected of it, if anything is.
        after: Of a page of scopes, where the next one begins; None when there is none.
        parent: The run of which a step started it, or "".
        children: Runs that steps of `finally` started, which have no line of their own.
    """

    namespace: str
    name: str
    workflow: str
    phase: str
    run_id: str = ""
    revision: str = ""
    progress: str = ""
    message: str = ""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    output: Any = None
    error: Mapping[str, Any] | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    steps: tuple[StepSnapshot, ...] | None = None
    failures: tuple[Mapping[str, Any], ...] = ()
    gap: str = ""
    reason: str = ""
    rerun_of: str = ""
    outlook: Outlook | None = None
    after: int | None = None
    parent: str = ""
    children: tuple[ChildSnapshot, ...] = ()

    @property
    def done(self) -> bool:
        """Whether the run will not change any more."""
        return self.phase in _DONE

    @property
    def succeeded(self) -> bool:
        """Whether the run did what it was to do."""
        return self.phase == Phase.SUCCEEDED.label

    def keeps(self, step: StepSnapshot) -> bool:
        """Whether the step ended before the run began: in the run that it goes on from, or one before that."""
        if not self.rerun_of or step.finished_at is None or self.started_at is None:
            return False
        return step.finished_at < self.started_at

    def result(self) -> dict[str, Any]:
        """Return what `leat run -o json` prints: ``{phase, output, error, steps: {NAME: ...}}``."""
        steps = {step.name: step.as_json() for step in self.steps or () if not step.cleanup}
        return {"phase": self.phase, "output": self.output, "error": self.error, "steps": steps}

    def summary(self) -> dict[str, Any]:
        """Return what `leat get -o json` prints of a run in a list: everything but its values and its steps."""
        return {
            "namespace": self.namespace,
            "name": self.name,
            "workflow": self.workflow,
            "phase": self.phase,
            "progress": self.progress,
            "reason": self.reason or None,
            "message": self.message,
            "rerunOf": self.rerun_of or None,
            "parent": self.parent or None,
            "runId": self.run_id,
            "revision": self.revision,
            "startedAt": rfc3339(self.started_at),
            "finishedAt": rfc3339(self.finished_at),
            "estimate": self.outlook.as_json() if self.outlook else None,
        }

    def as_json(self) -> dict[str, Any]:
        """Return what `leat get NAME -o json` prints: the summary, the inputs and the result."""
        known = self.result() if self.steps is not None else {"output": self.output, "failures": list(self.failures)}
        return {**self.summary(), "inputs": dict(self.inputs), **known}


_CANCELLED = State.CANCELLED.label
_OPEN = frozenset({"Pending", *(state.label for state in State if not state.done)})
_DONE = frozenset(phase.label for phase in Phase if phase.done)


def rfc3339(at: datetime | None) -> str | None:
    """Return the time as JSON holds it, such as ``2026-03-01T09:30:00.250000Z``."""
    return at.isoformat().replace("+00:00", "Z") if at else None


def sensitive_inputs(spec: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of the inputs that a workflow's spec, as JSON, calls sensitive."""
    return frozenset(name for name, schema in (spec.get("inputs") or {}).items() if schema.get("sensitive"))
