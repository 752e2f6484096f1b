"""The read API (`read.leat.dev`), which the operator serves behind the API server: its paths and answers. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from leat_cli.snapshot import (
    AttemptSnapshot,
    ChildSnapshot,
    Outlook,
    RunSnapshot,
    ScopeSnapshot,
    ScopesSnapshot,
    StepSnapshot,
    rfc3339,
)
from leat_engine.result import State

if TYPE_CHECKING:
    from leat_engine.durations import Facts

GROUP, VERSION = "read.leat.dev", "v1alpha1"
ROOT = f"/apis/{GROUP}/{VERSION}"
POOLS = f"{ROOT}/pools"
_OPEN = frozenset({"Pending", *(state.label for state in State if not state.done)})
_CANCELLED = State.CANCELLED.label
STEPS, LOG, ARTIFACTS = "workflowruns/steps", "workflowruns/log", "workflowruns/artifacts"
REVISIONS, DURATIONS = "workflows/revisions", "workflows/durations"


def steps_path(namespace: str, name: str) -> str:
    """Return where the steps of a run are."""
    return f"{ROOT}/namespaces/{namespace}/workflowruns/{name}/steps"


def durations_path(namespace: str, workflow: str) -> str:
    """Return where it is told how long the steps of a workflow take."""
    return f"{ROOT}/namespaces/{namespace}/workflows/{workflow}/durations"


def log_path(namespace: str, name: str) -> str:
    """Return where the log of a run is."""
    return f"{ROOT}/namespaces/{namespace}/workflowruns/{name}/log"


def artifacts_path(namespace: str, name: str) -> str:
    """Return where it is told what the steps of a run have left."""
    return f"{ROOT}/namespaces/{namespace}/workflowruns/{name}/artifacts"


def revisions_path(namespace: str, workflow: str, revision: str = "") -> str:
    """Return where the revisions of a workflow are, or one of them."""
    path = f"{ROOT}/namespaces/{namespace}/workflows/{workflow}/revisions"
    return f"{path}/{revision}" if revision else path


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line that a step wrote. ``seq`` ascends within a run."""

    seq: int
    at: datetime | None
    step: str
    attempt: int
    stream: str
    text: str


@dataclass(frozen=True, slots=True)
class LogPage:
    """Lines of a run. ``after`` is where the next page begins; ``finished``: nothing comes behind these lines."""

    lines: tuple[LogLine, ...]
    after: int | None
    finished: bool


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which lines are asked for: those after ``after``, of one step or attempt where these are named."""

    step: str | None = None
    attempt: int | None = None
    after: int | None = None
    limit: int = 1000

    def as_query(self) -> dict[str, str | int]:
        """Return the parameters of the request."""
        known = {"step": self.step, "attempt": self.attempt, "after": self.after, "limit": self.limit}
        return {name: value for name, value in known.items() if value is not None}


@dataclass(frozen=True, slots=True)
class PoolSnapshot:
    """The load of a pool, by the word of its runners.

    Attributes:
        oldest: Seconds that its oldest waiting step has waited.
        desired: Runners that its RunnerPool wants now, between ``least`` and ``most``; None without a RunnerPool.
    """

    name: str
    runners: int = 0
    slots: int = 0
    busy: int = 0
    backlog: int = 0
    oldest: float | None = None
    kinds: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    desired: int | None = None
    least: int | None = None
    most: int | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the pool as `leat top -o json` prints it."""
        return {
            "name": self.name,
            "runners": self.runners,
            "desired": self.desired,
            "min": self.least,
            "max": self.most,
            "slots": self.slots,
            "busy": self.busy,
            "backlog": self.backlog,
            "oldestReadySeconds": self.oldest,
            "kinds": list(self.kinds),
            "functions": list(self.functions),
        }


def outlook_of(answer: Mapping[str, Any]) -> Outlook | None:
    """Return what a `RunSteps` says is to be expected of the run; an older operator says nothing."""
    found = (answer.get("run") or {}).get("estimate")
    if not found:
        return None
    path = tuple((part["step"], float(part["share"])) for part in found["criticalPath"])
    times = moment(found["finishAt"]), moment(found["lateAt"])
    return Outlook(*times, path, tuple(found["unknown"]), tuple(found["people"]))


def durations_of(answer: Mapping[str, Any]) -> "dict[str, Facts]":
    """Return what a `StepDurations` tells of steps, by path."""
    from leat_engine.durations import Facts

    return {path: Facts.of(found["kind"], found) for path, found in answer["steps"].items()}


def steps_of(answer: Mapping[str, Any], *, ended: bool) -> Iterator[StepSnapshot]:
    """Yield the steps of a `RunSteps`, in the order of the workflow.

    What had not ended when its run did was stopped: it waits for nothing any more.
    """
    for found in answer["steps"]:
        yield _step(found, ended=ended)


def _step(found: Mapping[str, Any], *, ended: bool) -> StepSnapshot:
    number = found.get("attempt") or 0
    tried = [attempt for attempt in found.get("attempts") or () if attempt["attempt"] < number]
    return StepSnapshot(
        name=found["name"],
        kind=found.get("kind") or "",
        state=_CANCELLED if ended and found["state"] in _OPEN else found["state"],
        attempts=number,
        output=found.get("output"),
        error=found.get("error"),
        queued_at=moment(found.get("queuedAt")),
        started_at=moment(found.get("startedAt")),
        finished_at=moment(found.get("finishedAt")),
        earlier=tuple(map(_attempt, tried)),
        needs=tuple(found.get("needs") or ()),
        pool=found.get("pool") or "",
        runner=str(found.get("runner") or ""),
        note=found.get("note") or "",
        scopes=_scopes(found.get("scopes"), ended=ended),
        cleanup=bool(found.get("cleanup")),
        children=tuple(map(_child, found.get("children") or ())),
    )


def _child(found: Mapping[str, Any]) -> ChildSnapshot:
    return ChildSnapshot(
        name=found["name"],
        workflow=found.get("workflow") or "",
        phase=found["phase"],
        run_id=found.get("id") or "",
        progress=found.get("progress") or "",
        started_at=moment(found.get("startedAt")),
        finished_at=moment(found.get("finishedAt")),
        children=tuple(map(_child, found.get("children") or ())),
    )


def run_of(namespace: str, name: str, answer: Mapping[str, Any]) -> RunSnapshot:
    """Return the run of a `RunSteps`, without its steps: all that is known of one that has no resource."""
    run = answer["run"]
    return RunSnapshot(
        namespace=namespace,
        name=name,
        workflow=run.get("workflow") or "",
        phase=run["phase"],
        run_id=run.get("id") or "",
        revision=run.get("revision") or "",
        progress=run.get("progress") or "",
        message=run.get("message") or "",
        started_at=moment(run.get("startedAt")),
        finished_at=moment(run.get("finishedAt")),
        parent=run.get("parent") or "",
        children=children_of(answer),
    )


def children_of(answer: Mapping[str, Any]) -> tuple[ChildSnapshot, ...]:
    """Return the runs that no line of a `RunSteps` has: those of `finally`."""
    return tuple(map(_child, answer["run"].get("children") or ()))


def _scopes(found: Mapping[str, Any] | None, *, ended: bool) -> ScopesSnapshot | None:
    if not found:
        return None
    shown = (
        ScopeSnapshot(
            each["index"],
            each.get("label") or "",
            each["state"],
            tuple(_step(step, ended=ended) for step in each.get("steps") or ()),
        )
        for each in found.get("shown") or ()
    )
    scopes = ScopesSnapshot(found.get("states") or {}, tuple(shown))
    return scopes.ended() if ended else scopes


def _attempt(found: Mapping[str, Any]) -> AttemptSnapshot:
    return AttemptSnapshot(
        attempt=found["attempt"],
        error=found.get("error") or {},
        queued_at=moment(found.get("queuedAt")),
        started_at=moment(found.get("startedAt")),
        finished_at=moment(found.get("finishedAt")),
        runner=str(found.get("runner") or ""),
    )


def log_of(answer: Mapping[str, Any]) -> LogPage:
    """Return the lines of a `RunLog`."""
    lines = tuple(
        LogLine(
            seq=line["seq"],
            at=moment(line.get("at")),
            step=line.get("step") or "",
            attempt=line.get("attempt") or 0,
            stream=line.get("stream") or "",
            text=line.get("text") or "",
        )
        for line in answer.get("lines") or ()
    )
    return LogPage(lines, answer.get("after"), bool(answer.get("finished")))


def pools_of(answer: Mapping[str, Any]) -> tuple[PoolSnapshot, ...]:
    """Return the pools of a `PoolLoadList`, by name."""
    pools = (
        PoolSnapshot(
            name=pool["name"],
            runners=pool.get("runners") or 0,
            slots=pool.get("slots") or 0,
            busy=pool.get("busy") or 0,
            backlog=pool.get("backlog") or 0,
            oldest=pool.get("oldestReadySeconds"),
            kinds=tuple(pool.get("kinds") or ()),
            functions=tuple(pool.get("functions") or ()),
        )
        for pool in answer.get("items") or ()
    )
    return tuple(sorted(pools, key=lambda pool: pool.name))


def why_not(status: int, reason: str, resource: str, *, served: bool) -> str:
    """Return why the read API gave no answer, and what to do about it.

    Args:
        status: Of the refusal.
        reason: What it says.
        resource: Such as ``workflowruns/steps``.
        served: Whether somebody serves the read API at all.
    """
    match status:
        case HTTPStatus.NOT_FOUND if served:
            return reason
        case HTTPStatus.NOT_FOUND:
            return f"the cluster serves no {GROUP}: set `readApi.enabled: true` in the values of Leat's chart"
        case HTTPStatus.FORBIDDEN:
            verb = "list" if resource == "pools" else "get"
            right = f"apiGroups [{GROUP}], resources [{resource}], verbs [{verb}]"
            return f"you may not read {resource}: ask for a Role with {right}"
        case HTTPStatus.SERVICE_UNAVAILABLE:
            return (
                "the operator does not answer behind the API server: "
                f"`kubectl get apiservice {VERSION}.{GROUP}` says why"
            )
        case _:
            return f"the read API answered {status}: {reason}"


def moment(text: str | None) -> datetime | None:
    """Return the time that JSON holds."""
    return datetime.fromisoformat(text) if text else None


def step_as_json(step: StepSnapshot) -> dict[str, Any]:
    """Return a step as `RunSteps` has it."""
    earlier = [
        {
            "attempt": tried.attempt,
            "runner": tried.runner,
            "error": tried.error,
            "queuedAt": rfc3339(tried.queued_at),
            "startedAt": rfc3339(tried.started_at),
            "finishedAt": rfc3339(tried.finished_at),
        }
        for tried in step.earlier
    ]
    known = step.as_json()
    attempt = known.pop("attempts")
    facts = {"name": step.name, "kind": step.kind, "pool": step.pool, "needs": list(step.needs), "attempt": attempt}
    children = [child.as_json() for child in step.children]
    inside: dict[str, Any] = {} if step.scopes is None else {"scopes": _scopes_as_json(step.scopes)}
    if step.cleanup:
        inside["cleanup"] = True
    facts |= {"runner": step.runner, "note": step.note}
    return {**facts, **known, "attempts": earlier, "children": children, **inside}


def _scopes_as_json(scopes: ScopesSnapshot) -> dict[str, Any]:
    shown = [
        {
            "index": scope.index,
            "label": scope.label,
            "state": scope.state,
            "steps": [step_as_json(step) for step in scope.steps],
        }
        for scope in scopes.shown
    ]
    return {"states": dict(scopes.states), "shown": shown}
