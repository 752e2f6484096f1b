"""Records of the store, to what is shown of them. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from leat_cli.snapshot import (
    AttemptSnapshot,
    ChildSnapshot,
    Outlook,
    RunSnapshot,
    ScopeSnapshot,
    ScopesSnapshot,
    StepSnapshot,
    sensitive_inputs,
)
from leat_engine.errors import Rejected
from leat_engine.estimate import Estimate
from leat_engine.inside import (
    AT_THE_END,
    NOTHING,
    Inside,
    ShownBlock,
    ShownScope,
    Spot,
    compensations_of,
    label,
    nodes_of,
)
from leat_engine.job import ROOT_SCOPE
from leat_engine.kin import Kin
from leat_engine.plan import END, Plan, PlanStep, compile_plan
from leat_engine.records import RunRecord, ShownAttempt, ShownStep, StepRecord
from leat_engine.redaction import REDACTED, Redaction
from leat_engine.result import Phase, State
from leat_engine.spec import Step
from leat_engine.spec.kinds import load_models
from leat_engine.spec.parse import parse_spec
from leat_engine.status import shown_phase, waits_for_quota

Edges = Mapping[str, tuple[str, tuple[str, ...]]]
"""Of each step its pool, and the names of those that it needs."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the store has of the steps of a run."""

    steps: Sequence[ShownStep]
    attempts: Sequence[ShownAttempt] = ()
    edges: Edges = field(default_factory=dict)
    plan: Plan | None = None
    inside: Inside = NOTHING
    kin: Mapping[int, tuple[Kin, ...]] = field(default_factory=dict)
    outlook: Outlook | None = None


def plan_of(spec: Mapping[str, Any]) -> Plan | None:
    """Return the plan of a workflow; None for one that this program does not take any more."""
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
    hide = Redaction.of(sensitive, run.inputs, run.hidden)
    done = run.succeeded + run.failed + run.skipped
    return RunSnapshot(
        namespace=run.namespace,
        name=run.name,
        workflow=run.workflow,
        phase=shown_phase(run).label,
        run_id=str(run.run_id),
        revision=run.revision,
        progress=f"{done}/{run.total}",
        message=hide.text((run.error or {}).get("message", "")) or waits_for_quota(run),
        inputs={name: REDACTED if name in sensitive else hide.value(value) for name, value in run.inputs.items()},
        output=hide.value(run.output),
        error=hide.value(run.error),
        started_at=run.started_at,
        finished_at=run.finished_at,
        steps=None if recorded is None else tuple(_steps_of(spec, run, recorded)),
        reason=str((run.error or {}).get("type", "")) if run.phase is Phase.FAILED else "",
        rerun_of=run.rerun_of or "",
        outlook=None if recorded is None else recorded.outlook,
        parent=run.parent or "",
        children=() if recorded is None else tuple(map(_child, recorded.kin.get(0, ()))),
    )


def _steps_of(spec: Mapping[str, Any], run: RunRecord, recorded: Recorded) -> Iterator[StepSnapshot]:
    """Yield each step of the spec, in its order, whether anything is recorded of it or not."""
    hide = Redaction.of(sensitive_inputs(spec), run.inputs, run.hidden)
    found = {shown.record.key.step: shown for shown in recorded.steps}
    tell = _Teller(recorded.plan, recorded.inside, hide, run.phase.done)
    earlier = tell.earlier(recorded.attempts)
    for number, step in enumerate(spec.get("steps", ()), start=1):
        pool, needs = recorded.edges.get(step["name"], ("", _written_needs(step)))
        planned = StepSnapshot(step["name"], kind_of(step), "", pool=pool, needs=needs)
        told = tell.step(planned, found.get(number), earlier[number], tell.scopes(0, number))
        yield replace(told, children=tuple(map(_child, recorded.kin.get(number, ()))))
    yield from tell.cleanups()


def steps_within(plan: Plan, run: RunRecord, spot: Spot, own: Sequence[ShownStep]) -> tuple[StepSnapshot, ...]:
    """Return what is at a path: the steps of a scope, or a step with some of its scopes.

    Args:
        plan: The run's.
        run: Whose they are.
        spot: What is there.
        own: If the scope is the run itself, its steps that have begun.
    """
    tell = _Teller(plan, spot.inside, Redaction.of(plan.sensitive, run.inputs, run.hidden), run.phase.done)
    nodes = nodes_of(plan, spot.body) if spot.node is None else [plan.steps[spot.node]]
    if spot.node is None:
        nodes += compensations_of(plan, spot.body, spot.inside.steps.get(spot.scope, own))
    return tuple(tell.steps(spot.scope, nodes, own))


@dataclass(frozen=True, slots=True)
class _Teller:
    """Makes snapshots of steps, and of what is inside of them."""

    plan: Plan | None
    inside: Inside
    hide: Redaction
    ended: bool

    def step(
        self,
        planned: StepSnapshot,
        begun: ShownStep | None,
        earlier: Sequence[AttemptSnapshot],
        scopes: ScopesSnapshot | None,
    ) -> StepSnapshot:
        """What is known of a step whose name, kind, pool and needs are."""
        record = begun.record if begun else None
        label = _state_of(record, run_ended=self.ended).label
        if begun is None or record is None:
            return replace(planned, state=label)
        return replace(
            planned,
            state=label,
            attempts=record.attempt,
            output=self.hide.value(record.output),
            error=self.hide.value(record.error),
            queued_at=record.queued_at,
            started_at=record.started_at,
            finished_at=record.finished_at,
            earlier=tuple(earlier),
            runner=begun.runner or "",
            note=self.hide.text(record.note or ""),
            scopes=scopes,
        )

    def earlier(self, attempts: Iterable[ShownAttempt]) -> Mapping[int, list[AttemptSnapshot]]:
        """Attempts of one scope that were followed by others, by their steps."""
        found: dict[int, list[AttemptSnapshot]] = defaultdict(list)
        for shown in sorted(attempts, key=lambda shown: shown.record.attempt):
            tried, error = shown.record, self.hide.value(shown.record.error)
            times = (tried.queued_at, tried.started_at, tried.finished_at)
            found[tried.key.step].append(AttemptSnapshot(tried.attempt, error, *times, shown.runner or ""))
        return found

    def steps(self, scope: int, nodes: Iterable[PlanStep], own: Sequence[ShownStep] = ()) -> Iterator[StepSnapshot]:
        """Steps of a scope."""
        found = {shown.record.key.step: shown for shown in self.inside.steps.get(scope, own)}
        earlier = self.earlier(self.inside.attempts.get(scope, ()))
        for node in nodes:
            needs = tuple(self.plan.steps[edge.step].name for edge in node.needs) if self.plan else ()
            planned = StepSnapshot(node.name, node.kind, "", pool=node.pool, needs=needs)
            yield self.step(planned, found.get(node.id), earlier[node.id], self.scopes(scope, node.id))

    def scopes(self, scope: int, node: int) -> ScopesSnapshot | None:
        """What a step has opened."""
        block = self.inside.blocks.get((scope, node))
        if block is None or self.plan is None:
            return None
        found = ScopesSnapshot(block.states, tuple(self._scope(self.plan, node, block, each) for each in block.scopes))
        return found.ended() if self.ended else found

    def cleanups(self) -> Iterator[StepSnapshot]:
        """What the run itself has done at its end: compensations, and `finally` as a step with a body."""
        if self.plan is None:
            return
        undone = compensations_of(self.plan, 0, self.inside.steps.get(ROOT_SCOPE, ()))
        yield from (replace(step, cleanup=True) for step in self.steps(ROOT_SCOPE, undone))
        if (scopes := self.scopes(ROOT_SCOPE, END)) is not None:
            yield StepSnapshot(AT_THE_END, "finally", scopes.shown[0].state, scopes=scopes, cleanup=True)

    def _scope(self, plan: Plan, node: int, block: ShownBlock, scope: ShownScope) -> ScopeSnapshot:
        begun = self.inside.steps.get(scope.number, ())
        nodes = nodes_of(plan, block.block.body) + compensations_of(plan, block.block.body, begun)
        steps = self.steps(scope.number, nodes)
        state = State.CLAIMED if scope.state is None else scope.state
        return ScopeSnapshot(scope.index, label(plan.steps[node], block.block, scope.index), state.label, tuple(steps))


def _child(kin: Kin) -> ChildSnapshot:
    record = kin.record
    return ChildSnapshot(
        name=record.name,
        workflow=record.workflow,
        phase=record.phase.label,
        run_id=str(record.run_id),
        progress=f"{record.done}/{record.total}",
        started_at=record.started_at,
        finished_at=record.finished_at,
        children=tuple(map(_child, kin.children)),
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
