"""What people read of a run and of pools, as JSON. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import orjson

from leat_engine.durations import Facts
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
from leat_engine.kin import ChildRecord, Kin, kin_of, owners_of
from leat_engine.limits import KIB, MIB
from leat_engine.lines import LogLine
from leat_engine.plan import END, Plan, PlanStep
from leat_engine.pools import Announced, Backlog, Member
from leat_engine.records import Report, Revision, RunRecord, ShownAttempt, ShownStep
from leat_engine.redaction import Redaction
from leat_engine.status import bounded, run_status, shown_phase
from leat_engine.store.durations import WorkflowKey
from leat_engine.store.versions import ShownVersion
from leat_operator.serving.answers import API_VERSION

OUTPUT_BYTES = 4 * KIB
MESSAGE_CHARS = 1024
ATTEMPTS = 20
PAGE_STEPS = 500
PAGE_BYTES = MIB
MEMBERS = 500
"""Runners of a pool that are named; more of them are counted."""

NOT_BEGUN = "Pending"
RUNNING = "Running"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """Steps of a run: those of the nodes in ``nodes``, as far as they have begun to exist, and their bodies.

    Attributes:
        children: Runs below the run, of any depth.
        estimate: What is to be expected of the run; on the first page, if anything is.
    """

    nodes: range
    steps: Sequence[ShownStep]
    attempts: Sequence[ShownAttempt]
    inside: Inside = NOTHING
    children: Sequence[ChildRecord] = ()
    estimate: Estimate | None = None


def run_steps(run: RunRecord, plan: Plan, page: Page) -> Json:
    """`RunSteps`: the run, and the steps of a page in the order of the spec."""
    told = _Told(plan, Redaction.of(plan.sensitive, run.inputs, run.hidden), page.inside)
    kin = kin_of(run.run_id, page.children, owners_of(plan))
    steps: list[Json] = []
    size, last = 0, page.nodes.stop - 1
    nodes = [plan.steps[node] for node in page.nodes]
    for node, step in zip(page.nodes, told.steps(0, nodes, page.steps, page.attempts), strict=True):
        step["children"] = list(map(_child, kin.get(node, ())))
        size += len(orjson.dumps(step))
        if steps and size > PAGE_BYTES:
            last = node - 1
            break
        steps.append(step)
    metadata: Json = {"name": run.name, "namespace": run.namespace}
    if last < plan.total:
        metadata["continue"] = str(last)
    else:
        steps += told.cleanups()
    answer = _run_steps(run, plan, steps, metadata)
    answer["run"]["estimate"] = _estimate(page.estimate)
    answer["run"]["children"] = list(map(_child, kin.get(0, ())))
    return answer


def steps_within(run: RunRecord, plan: Plan, spot: Spot, own: Sequence[ShownStep]) -> Json:
    """`RunSteps` of what is at a path: the steps of a scope, or a step with some of its scopes.

    Args:
        run: Whose they are.
        plan: Its plan.
        spot: What is there.
        own: If the scope is the run itself, the step whose scopes are listed.
    """
    seen = spot.inside
    told = _Told(plan, Redaction.of(plan.sensitive, run.inputs, run.hidden), seen)
    nodes = nodes_of(plan, spot.body) if spot.node is None else [plan.steps[spot.node]]
    begun = seen.steps.get(spot.scope, own)
    if spot.node is None:
        nodes += compensations_of(plan, spot.body, begun)
    steps = told.steps(spot.scope, nodes, begun, seen.attempts.get(spot.scope, ()))
    metadata: Json = {"name": run.name, "namespace": run.namespace}
    if (after := spot.after) is not None:
        metadata["continue"] = str(after)
    return _run_steps(run, plan, list(steps), metadata)


def _run_steps(run: RunRecord, plan: Plan, steps: Sequence[Json], metadata: Json) -> Json:
    return {
        "kind": "RunSteps",
        "apiVersion": API_VERSION,
        "metadata": metadata,
        "run": _run(run, plan),
        "steps": steps,
    }


def run_log(run: RunRecord, plan: Plan, lines: Sequence[LogLine], after: int, *, finished: bool) -> Json:
    """`RunLog`: lines behind ``after``, as far as a page goes. ``finished``: nothing comes behind these lines."""
    redaction = Redaction.of(plan.sensitive, run.inputs, run.hidden)
    shown: list[Json] = []
    size = 0
    for line in lines:
        text = redaction.text(line.text)
        size += len(text)
        if shown and size > PAGE_BYTES:
            finished = False
            break
        told = {"step": plan.steps[line.step].name, "attempt": line.attempt, "stream": line.stream, "text": text}
        shown.append({"seq": line.seq, "at": moment(line.at), **told})
    return {
        "kind": "RunLog",
        "apiVersion": API_VERSION,
        "metadata": {"name": run.name, "namespace": run.namespace},
        "lines": shown,
        "after": shown[-1]["seq"] if shown else after,
        "finished": finished,
    }


def step_durations(key: WorkflowKey, facts: Mapping[str, Facts]) -> Json:
    """`StepDurations`: what is known of how long the steps of a workflow take, by path."""
    return {
        "kind": "StepDurations",
        "apiVersion": API_VERSION,
        "metadata": {"name": key.workflow, "namespace": key.namespace},
        "steps": {path: {"kind": known.kind, **known.as_json()} for path, known in sorted(facts.items())},
    }


def pool_loads(members: Iterable[Member], backlog: Mapping[str, Backlog], announced: Mapping[str, Announced]) -> Json:
    """`PoolLoadList`: every pool that has a runner or work, or had a runner once."""
    of_pool: dict[str, list[Member]] = defaultdict(list)
    for member in members:
        of_pool[member.pool].append(member)
    pools = sorted({*of_pool, *backlog, *announced})
    items = [_load(pool, of_pool[pool], backlog.get(pool), announced.get(pool)) for pool in pools]
    return {"kind": "PoolLoadList", "apiVersion": API_VERSION, "metadata": {}, "items": items}


def workflow_revisions(namespace: str, name: str, versions: Iterable[ShownVersion]) -> Json:
    """`WorkflowRevisions`: those that a Workflow has had, the newest first."""
    items = [
        {
            "revision": version.revision,
            "since": moment(version.since),
            "returnedAt": moment(version.returned_at),
            "active": version.active,
            "finished": version.finished,
        }
        for version in versions
    ]
    metadata = {"name": name, "namespace": namespace}
    return {"kind": "WorkflowRevisions", "apiVersion": API_VERSION, "metadata": metadata, "items": items}


def workflow_revision(revision: Revision) -> Json:
    """`WorkflowRevision`: one of them, with its spec."""
    metadata = {"name": revision.workflow, "namespace": revision.namespace}
    whole = {"revision": revision.id, "spec": revision.spec}
    return {"kind": "WorkflowRevision", "apiVersion": API_VERSION, "metadata": metadata, **whole}


def _run(run: RunRecord, plan: Plan) -> Json:
    status = run_status(Report(0, run), plan)
    return {
        "id": str(run.run_id),
        "workflow": run.workflow,
        "revision": run.revision,
        "phase": shown_phase(run).label,
        "suspended": run.suspended,
        "progress": status["progress"],
        "startedAt": moment(run.started_at),
        "finishedAt": moment(run.finished_at),
        "message": status["message"],
        "parent": run.parent,
    }


def _estimate(estimate: Estimate | None) -> Json | None:
    """`{finishAt, lateAt, criticalPath: [{step, share}], unknown, people}`, as `Estimate` has them."""
    if estimate is None:
        return None
    return {
        "finishAt": moment(estimate.finish),
        "lateAt": moment(estimate.late),
        "criticalPath": [{"step": part.step, "share": round(part.share, 3)} for part in estimate.path],
        "unknown": list(estimate.unknown),
        "people": list(estimate.people),
    }


def _child(kin: Kin) -> Json:
    record = kin.record
    return {
        "name": record.name,
        "id": str(record.run_id),
        "workflow": record.workflow,
        "phase": record.phase.label,
        "progress": f"{record.done}/{record.total}",
        "startedAt": moment(record.started_at),
        "finishedAt": moment(record.finished_at),
        "children": list(map(_child, kin.children)),
    }


@dataclass(frozen=True, slots=True)
class _Told:
    """Steps of a run with what is inside of them."""

    plan: Plan
    redaction: Redaction
    inside: Inside

    def steps(
        self, scope: int, nodes: Iterable[PlanStep], begun: Iterable[ShownStep], attempts: Iterable[ShownAttempt]
    ) -> Iterator[Json]:
        """Steps of one scope, in the order of ``nodes``."""
        found = {shown.record.key.step: shown for shown in begun}
        earlier: dict[int, list[ShownAttempt]] = defaultdict(list)
        for attempt in attempts:
            earlier[attempt.record.key.step].append(attempt)
        for node in nodes:
            step = _step(self.plan, node, found.get(node.id), earlier[node.id], self.redaction)
            if (block := self.inside.blocks.get((scope, node.id))) is not None:
                step["scopes"] = {
                    "states": dict(block.states),
                    "shown": [self._scope(node, block, each) for each in block.scopes],
                }
            yield step

    def cleanups(self) -> Iterator[Json]:
        """What the run itself has done at its end: compensations, and `finally` as a step with a body."""
        begun, attempts = self.inside.steps.get(ROOT_SCOPE, ()), self.inside.attempts.get(ROOT_SCOPE, ())
        for undone in self.steps(ROOT_SCOPE, compensations_of(self.plan, 0, begun), begun, attempts):
            yield {**undone, "cleanup": True}
        if (block := self.inside.blocks.get((ROOT_SCOPE, END))) is not None:
            (scope,) = (self._scope(self.plan.steps[END], block, each) for each in block.scopes)
            final = replace(self.plan.steps[END], name=AT_THE_END, kind="finally", needs=())
            step = _step(self.plan, final, None, (), self.redaction)
            scopes = {"states": dict(block.states), "shown": [scope]}
            yield {**step, "state": scope["state"], "scopes": scopes, "cleanup": True}

    def _scope(self, node: PlanStep, block: ShownBlock, scope: ShownScope) -> Json:
        begun = self.inside.steps.get(scope.number, ())
        inner = nodes_of(self.plan, block.block.body) + compensations_of(self.plan, block.block.body, begun)
        steps = self.steps(scope.number, inner, begun, self.inside.attempts.get(scope.number, ()))
        return {
            "index": scope.index,
            "label": label(node, block.block, scope.index),
            "state": RUNNING if scope.state is None else scope.state.label,
            "steps": list(steps),
        }


def _step(
    plan: Plan, node: PlanStep, shown: ShownStep | None, earlier: Sequence[ShownAttempt], redaction: Redaction
) -> Json:
    planned = {
        "name": node.name,
        "kind": node.kind,
        "pool": node.pool,
        "needs": [plan.steps[edge.step].name for edge in node.needs],
    }
    if shown is None:
        nothing = dict.fromkeys(("queuedAt", "startedAt", "finishedAt", "runner", "note", "error", "output"))
        return {**planned, "state": NOT_BEGUN, "attempt": 0, **nothing, "attempts": []}
    record = shown.record
    return {
        **planned,
        "state": record.state.label,
        "attempt": record.attempt,
        "queuedAt": moment(record.queued_at),
        "startedAt": moment(record.started_at),
        "finishedAt": moment(record.finished_at),
        "runner": shown.runner,
        "note": None if record.note is None else bounded(redaction.text(record.note), MESSAGE_CHARS),
        "error": _error(record.error, redaction),
        "output": _output(shown, redaction),
        "attempts": [_attempt(attempt, redaction) for attempt in earlier],
    }


def _attempt(attempt: ShownAttempt, redaction: Redaction) -> Json:
    return {
        "attempt": attempt.record.attempt,
        "runner": attempt.runner,
        "error": _error(attempt.record.error, redaction),
        "queuedAt": moment(attempt.record.queued_at),
        "startedAt": moment(attempt.record.started_at),
        "finishedAt": moment(attempt.record.finished_at),
    }


def _output(shown: ShownStep, redaction: Redaction) -> Any:
    if shown.output_bytes > OUTPUT_BYTES:
        return {"truncated": True, "bytes": shown.output_bytes}
    return redaction.value(shown.record.output)


def _error(error: Mapping[str, Any] | None, redaction: Redaction) -> Json | None:
    if error is None:
        return None
    texts = {name: redaction.text(str(error.get(name) or "")) for name in ("type", "reason", "message")}
    return {name: bounded(text, MESSAGE_CHARS) for name, text in texts.items()}


def _load(pool: str, members: Sequence[Member], backlog: Backlog | None, announced: Announced | None) -> Json:
    return {
        "metadata": {"name": pool},
        "name": pool,
        "runners": len(members),
        "slots": sum(member.slots for member in members),
        "busy": sum(member.busy for member in members),
        "backlog": backlog.waiting if backlog else 0,
        "oldestReadySeconds": round(backlog.oldest_seconds, 3) if backlog else None,
        "kinds": sorted(announced.kinds) if announced else [],
        "functions": sorted(announced.functions) if announced else [],
        "members": [_member(member) for member in sorted(members, key=lambda each: each.name)[:MEMBERS]],
    }


def _member(member: Member) -> Json:
    beat = moment(member.heartbeat_at)
    return {"name": member.name, "busy": member.busy, "slots": member.slots, "heartbeatAt": beat}


def moment(at: datetime | None) -> str | None:
    """A time as JSON holds it, such as ``2026-03-01T09:30:00.250Z``."""
    return None if at is None else at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
