"""Migration: whether a run that is under way can go on by another revision, and how. Pure.

What has begun stays: an end as it was written, and a step that was executed already, with the key of its effects. What
has not begun is planned anew. Steps are the same when their names are, within bodies that are the same.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from leat_engine.errors import Reason, Rejected
from leat_engine.opener import Choice, Fan, Loop, Opener
from leat_engine.plan import END, PURE_KINDS, Plan, PlanStep
from leat_engine.result import State

KEYLESS = PURE_KINDS | {"wait", "signal", "approval"}
"""Kinds without effects outside, for which nobody has a key that holds the number of their step."""

_INPUTS = "spec.inputs"


@dataclass(frozen=True, slots=True)
class Progress:
    """A step that has a row.

    Attributes:
        executed: A runner has had it.
    """

    scope: int
    node: int
    state: State
    attempt: int
    executed: bool

    @property
    def begun(self) -> bool:
        """Whether it is more than planned: not only counted, and not ready for the first time."""
        if self.state is State.WAITING:
            return self.attempt > 0
        return self.state is not State.READY or self.executed or self.attempt > 1


@dataclass(frozen=True, slots=True)
class Span:
    """The scopes that a step has opened: ``base`` is the first one."""

    scope: int
    node: int
    body: int
    base: int
    size: int
    opened: int


@dataclass(frozen=True, slots=True)
class Ready:
    """A step that may be claimed. ``fresh``: it gets its row now."""

    scope: int
    node: int
    attempt: int
    pool: str
    fresh: bool


@dataclass(frozen=True, slots=True)
class Counted:
    """A step that waits for ``missing`` of its ``needs``."""

    scope: int
    node: int
    needs: int
    missing: int


@dataclass(frozen=True, slots=True)
class Transfer:
    """How a run goes on by another plan.

    Attributes:
        inputs: With the defaults of inputs that are new.
        nodes: New numbers by old ones, of all that has begun.
        bodies: The same of bodies that were opened.
        dropped: Scope and old number of what has not begun: it is planned anew.
        ready: All that may be claimed.
        more: How many steps the run has more; below zero, less.
        live: Steps that are ready, claimed or delayed.
        pool: Whose runners evaluate the end of the run.
    """

    inputs: Mapping[str, Any]
    nodes: Mapping[int, int]
    bodies: Mapping[int, int]
    dropped: tuple[tuple[int, int], ...]
    ready: tuple[Ready, ...]
    counted: tuple[Counted, ...]
    more: int
    live: int
    pool: str


def compare(
    old: Plan, new: Plan, inputs: Mapping[str, Any], progress: Sequence[Progress], spans: Sequence[Span]
) -> Transfer:
    """How a run of ``old`` goes on by ``new``.

    Args:
        old: Of the run's revision. Where a step is in both, field paths of reasons are those of ``new``.
        new: Of the other one.
        inputs: Of the run.
        progress: Every step that has a row, in all scopes, ends of bodies and of the run included.
        spans: What steps with bodies have opened.

    Raises:
        Rejected: With every reason why it cannot.
    """
    comparison = _Comparison(old, new, _Pairs(old, new), progress, spans)
    reasons = [*comparison.reasons()]
    applied: Mapping[str, Any] = {}
    try:
        applied = _inputs(old, new, inputs)
    except Rejected as rejected:
        reasons += rejected.reasons
    if reasons:
        raise Rejected(reasons)
    return comparison.transfer(applied)


def _inputs(old: Plan, new: Plan, inputs: Mapping[str, Any]) -> dict[str, Any]:
    shown = sorted((old.sensitive & new.inputs.names) - new.sensitive)
    if shown:  # not even looked at: what is wrong with a value tells the value
        message = "is sensitive in the run's revision, and would be shown by this one: keep `sensitive: true`"
        raise Rejected(Reason(f"{_INPUTS}.{name}", message) for name in shown)
    taken = new.inputs.names
    given = {name: value for name, value in inputs.items() if name in taken or not old.inputs.is_default(name, value)}
    return new.inputs.apply(given, _INPUTS)


class _Pairs:
    """Which nodes and bodies of two plans are the same."""

    def __init__(self, old: Plan, new: Plan) -> None:
        self.nodes: dict[int, int] = {END: END}
        self.bodies: dict[int, int] = {0: 0}
        self._old, self._new = _members(old), _members(new)
        self._plans = old, new
        self._pair(0, 0)

    def _pair(self, one: int, other: int) -> None:
        for name, node in self._old[one].items():
            twin = self._new[other].get(name)
            if twin is None:
                continue
            self.nodes[node] = twin
            mine, theirs = (plan.steps[number].opens for plan, number in zip(self._plans, (node, twin), strict=True))
            if type(mine) is not type(theirs):
                continue
            for body, counterpart in zip(bodies_of(mine), bodies_of(theirs), strict=False):
                self.bodies[body] = counterpart
                self.nodes[-body] = -counterpart
                self._pair(body, counterpart)


def _members(plan: Plan) -> dict[int, dict[str, int]]:
    """The steps of each body, by name."""
    found: dict[int, dict[str, int]] = {body.number: {} for body in plan.bodies}
    for step in plan.steps:
        if step.id > END:
            found[step.body][step.name] = step.id
    return found


def bodies_of(opens: Opener | None) -> tuple[int, ...]:
    """The numbers of the bodies that a step may open."""
    match opens:
        case None:
            return ()
        case Choice(cases=cases):
            return tuple(body for _, body in cases)
        case _:
            return (opens.body,)


@dataclass(slots=True)
class _Comparison:
    old: Plan
    new: Plan
    pairs: _Pairs
    progress: Sequence[Progress]
    spans: Sequence[Span]
    done: dict[int, set[int]] = field(init=False)
    """Steps of each scope that are over, by their new numbers; ``open``: those that have begun and are not."""
    open: dict[int, set[int]] = field(init=False)
    body: dict[int, int] = field(init=False)
    """The body, of the old plan, of each scope that is not over."""

    def __post_init__(self) -> None:
        self.done, self.open = defaultdict(set), defaultdict(set)
        over = {(row.scope, row.node) for row in self.progress if row.state.done}
        for row in self.progress:
            if row.begun and (twin := self.pairs.nodes.get(row.node)) is not None:
                (self.done if row.state.done else self.open)[row.scope].add(twin)
        self.body = {0: 0}
        for span in self.spans:
            if (span.scope, span.node) not in over:
                result = self.old.bodies[span.body].result
                scopes = range(span.base, span.base + span.opened)
                self.body.update((scope, span.body) for scope in scopes if (scope, result) not in over)

    # -- what is in the way ---------------------------------------------------------------------------------------

    def reasons(self) -> Iterator[Reason]:
        spans = {(span.scope, span.node): span for span in self.spans}
        for row in self.progress:
            if not row.begun:
                continue
            mine, twin = self.old.steps[row.node], self.pairs.nodes.get(row.node)
            if twin is None:
                if mine.body in self.pairs.bodies:
                    yield self._missing(row, mine)
                continue
            if row.scope in self.body:
                yield from self._late(row, self.new.steps[twin])
            if not row.state.done:
                yield from self._under_way(mine, self.new.steps[twin])
                if (span := spans.get((row.scope, row.node))) is not None:
                    yield from self._opened(span, mine, self.new.steps[twin])
        for span in self.spans:
            step = self.old.steps[span.node]
            if span.body not in self.pairs.bodies and span.node in self.pairs.nodes:
                found = f"step {step.name!r} has opened a body, and has none like it in revision {self.new.revision}"
                yield Reason(step.path, f"{found}: keep the body, or give the new step another name")

    def _missing(self, row: Progress, step: PlanStep) -> Reason:
        what = f"has ended {row.state.label}" if row.state.done else "is under way"
        message = f"step {step.name!r} {what}, and is not there in revision {self.new.revision}"
        return Reason(step.path, f"{message}: keep it, under its name and in its body")

    def _late(self, row: Progress, step: PlanStep) -> Iterator[Reason]:
        what = f"has ended {row.state.label}" if row.state.done else "is under way"
        for edge in step.needs:
            if edge.step not in self.done[row.scope]:
                need = self.new.steps[edge.step].name
                message = f"step {step.name!r} {what}, and would need {need!r}, which has not ended"
                yield Reason(step.path, f"{message}: let a step need it that has not begun")

    def _under_way(self, mine: PlanStep, step: PlanStep) -> Iterator[Reason]:
        for word, was, found in (("kind", mine.kind, step.kind), ("pool", mine.pool, step.pool)):
            if was != found:
                message = f"step {mine.name!r} is under way as {word} {was!r}, found {found!r}"
                yield Reason(step.path, f"{message}: keep it, or migrate when the step has ended")
        if mine.opens is None and mine.kind not in KEYLESS and mine.id != step.id and mine.id > END:
            message = f"step {mine.name!r} is under way as step number {mine.id}, and would be number {step.id}"
            why = "the key of its effects holds that number"
            yield Reason(step.path, f"{message}; {why}: add and remove steps behind it in the list, not before it")

    def _opened(self, span: Span, mine: PlanStep, step: PlanStep) -> Iterator[Reason]:
        match mine.opens, step.opens:
            case Fan() as was, Fan() as fan:
                if was.items.source != fan.items.source or ("vars" in fan.items.variables and self._varied):
                    message = "its list would be another one, and it works on that list"
                    yield Reason(f"{step.path}.forEach", f"step {step.name!r} is under way; {message}: keep it")
            case Loop(), Loop(max=times) if times != span.size:
                message = f"step {step.name!r} is under way with max {span.size}, found {times}"
                yield Reason(f"{step.path}.repeat.max", f"{message}: keep it")

    @property
    def _varied(self) -> bool:
        return (self.old.vars and self.old.vars.source) != (self.new.vars and self.new.vars.source)

    # -- how it goes on -------------------------------------------------------------------------------------------

    def transfer(self, inputs: Mapping[str, Any]) -> Transfer:
        """Nothing is in the way."""
        kept = [row for row in self.progress if row.begun]
        ready: list[Ready] = []
        for row in kept:
            if row.state is State.READY:
                step = self.new.steps[self.pairs.nodes[row.node]]
                ready.append(Ready(row.scope, step.id, row.attempt, step.pool, fresh=False))
        counted: list[Counted] = []
        for scope, body in self.body.items():
            self._plan(scope, self.pairs.bodies[body], ready, counted)
        fresh = sum(each.fresh for each in ready)
        return Transfer(
            inputs=inputs,
            nodes={row.node: self.pairs.nodes[row.node] for row in kept},
            bodies={span.body: self.pairs.bodies[span.body] for span in self.spans},
            dropped=tuple((row.scope, row.node) for row in self.progress if not row.begun),
            ready=tuple(ready),
            counted=tuple(counted),
            more=self._more(),
            live=fresh + sum(row.state.live for row in kept),
            pool=self.new.steps[END].pool,
        )

    def _plan(self, scope: int, body: int, ready: list[Ready], counted: list[Counted]) -> None:
        """What of a scope is ready, and what is counted, besides what has begun."""
        done, taken = self.done[scope], self.done[scope] | self.open[scope]
        for step in self.new.steps:
            if step.body != body or step.id in taken or step.undoes or (step.id <= END and not step.needs):
                continue
            missing = sum(edge.step not in done for edge in step.needs)
            if not missing:
                ready.append(Ready(scope, step.id, 1, step.pool, fresh=True))
            elif missing < len(step.needs):
                counted.append(Counted(scope, step.id, len(step.needs), missing))

    def _more(self) -> int:
        more = self.new.total - self.old.total
        for span in self.spans:
            times = span.size if isinstance(self.old.steps[span.node].opens, Fan) else span.opened
            nodes = self.new.bodies[self.pairs.bodies[span.body]].nodes - self.old.bodies[span.body].nodes
            more += times * nodes
        return more
