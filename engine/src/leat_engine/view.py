"""What one runner knows about one scope of a run: the plan, the inputs, and the results it has seen committed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from leat_engine.expression import ORIGINALS
from leat_engine.job import ROOT_SCOPE, StepKey
from leat_engine.look import wanted
from leat_engine.plan import Plan, PlanStep
from leat_engine.redaction import Redaction
from leat_engine.result import Phase, Result, State

UNLOADED: Any = object()
"""Stands for an output that is in the store and was not read yet."""


@dataclass(slots=True, eq=False)
class RunView:
    """A runner's knowledge of a scope: of the run itself, or of a body opened within it.

    Changed only after the store has confirmed the change.

    Attributes:
        results: How steps of the scope ended, by node. Outputs may be `UNLOADED`.
        live: Nodes that this runner has claimed.
        complete: Every step outside ``results`` and ``live`` has not begun, so nobody else can change the scope but by
            stopping the run. Then joins, and the end, are decided here without asking the store.
        stopping: The phase that the run is to end with before its time, once known. Set by `stop`, for all its scopes.
        interrupted: Its running steps were told to end.
        shut: A body around it has taken too long: nothing begins in it any more.
        outcome: How the run ends, once that is settled and it cleans up; then it is not stopping any more. Set by
            `settle`, for all its scopes; ``error`` says why it does not end well, and ``output`` is the run's.
        scope: Its number; 0 is the run itself.
        body: The number of the body that it executes.
        index: Which item, iteration or case it is.
        parent: The scope around it.
        names: What its body's expressions read beyond those around it, such as `item`; None until it is known.
        scopes: Every scope of the run that is known here, by number; one dictionary, which they share.
        inner: How many of these are directly within this one.
        awaited: Of the run itself: a step of another run waits for its end.
        hidden: Of the run itself: texts that are sensitive in other runs, which gave them to this one.
        pins: Of the run itself: how many wait for the store to say where its scopes are; it is not forgotten meanwhile.
        cancelled: Steps of the run, in any scope, that were cancelled; read when a stopped run is to end.
        items: What steps with `forEach` are over, as it was written, and as a list, once it was evaluated.
        fetched: Outputs of its steps with the large values in them, of those that expressions look into.
        epoch: How often the run was migrated. Of an older one than the store's nothing is written any more.
    """

    run_id: UUID
    plan: Plan
    namespace: str
    name: str
    inputs: Mapping[str, Any]
    workflow: str = ""
    priority: int = 0
    traceparent: str = ""
    uid: str = ""
    complete: bool = False
    stopping: Phase | None = None
    interrupted: bool = False
    shut: bool = False
    error: Mapping[str, Any] | None = None
    outcome: Phase | None = None
    output: Any = None
    results: dict[int, Result] = field(default_factory=dict)
    live: set[int] = field(default_factory=set)
    scope: int = ROOT_SCOPE
    body: int = 0
    index: int = 0
    parent: "RunView | None" = None
    names: Mapping[str, Any] | None = field(default_factory=dict)
    scopes: "dict[int, RunView]" = field(default_factory=dict)
    inner: int = 0
    awaited: bool = False
    hidden: tuple[str, ...] = ()
    pins: int = 0
    cancelled: Sequence[StepKey] = ()
    items: dict[int, tuple[Any, list[Any]]] = field(default_factory=dict)
    fetched: dict[int, Any] = field(default_factory=dict)
    epoch: int = 0
    _vars: Any = None

    def __post_init__(self) -> None:
        self.scopes[self.scope] = self

    @property
    def root(self) -> "RunView":
        """The scope that is the run itself."""
        return self if self.parent is None else self.parent.root

    @property
    def idle(self) -> bool:
        """Whether nothing of the run is here any more. Asked of the run itself."""
        return not self.live and len(self.scopes) <= 1 and not self.pins

    @property
    def halted(self) -> bool:
        """Whether nothing begins here any more: the run is stopping, or a body around takes too long."""
        return self.shut or self.stopping is not None

    @property
    def unnamed(self) -> bool:
        """Whether it is not known yet what expressions of this scope, or of one around it, may read."""
        return self.names is None or (self.parent is not None and self.parent.unnamed)

    def open(self, scope: int, body: int, index: int, names: Mapping[str, Any] | None) -> "RunView":
        """The view of a scope within this one."""
        found = self.scopes.get(scope)
        if found is None:
            self.inner += 1
            found = RunView(
                self.run_id, self.plan, self.namespace, self.name, self.inputs, self.workflow, self.priority,
                self.traceparent, self.uid, complete=False, stopping=self.stopping, interrupted=self.interrupted,
                shut=self.shut, error=self.error, outcome=self.outcome, scope=scope, body=body, index=index,
                parent=self, names=names, scopes=self.scopes, epoch=self.epoch,
            )  # fmt: skip
        return found

    def close(self) -> None:
        """Forget the scope, and those around it that nothing is known of any more; never the run itself."""
        if self.parent is not None and not self.live and not self.inner:
            if self.scopes.pop(self.scope, None) is not None:
                self.parent.inner -= 1
            self.parent.close()

    def leave(self) -> None:
        """The run is forgotten: let go of the circle of scopes that know each other, so that it needs no collector."""
        self.scopes.clear()

    def share(self) -> None:
        """Others may have steps of the scope from now on: what they do is not seen here."""
        self.complete = False
        if self.parent is not None:
            self.parent.share()

    def stop(self, phase: Phase, error: Mapping[str, Any] | None) -> None:
        """The run is to end before its time; once its outcome is settled it is not, whatever was said before."""
        if self.outcome is not None:
            return
        for view in self.scopes.values():
            view.stopping = phase
            if error is not None:
                view.error = error

    def settle(self, outcome: Phase, error: Mapping[str, Any] | None) -> None:
        """How the run ends is decided, and it cleans up: what it has still to do may begin."""
        for view in self.scopes.values():
            view.outcome, view.error = outcome, error
            view.stopping, view.interrupted, view.shut = None, False, False

    def chain(self) -> "list[RunView]":
        """The scopes around this one and itself, the run first."""
        return [*(self.parent.chain() if self.parent is not None else ()), self]

    def of(self, node: int) -> "RunView":
        """The scope that has the step: this one, or one around it."""
        view, body = self, self.plan.steps[node].body
        while view.body != body and view.parent is not None:
            view = view.parent
        return view

    def bindings(self, reads: Iterable[int], fresh: Mapping[int, Result], now: datetime) -> dict[str, Any]:
        """What expressions may name. ``fresh`` holds results that are decided but not yet committed.

        Raises:
            ExpressionError: One of the workflow's ``vars`` cannot be evaluated.
        """
        steps: dict[str, Any] = {}
        originals: dict[str, Any] = {}
        for node in reads:
            result = self.result(node, fresh)
            if result is not None:
                step, fetched = self.plan.steps[node], self.of(node).fetched
                if node in fetched:
                    originals[step.name] = result.output
                steps[step.name] = _shown(step, result, fetched.get(node, result.output))
        bound: dict[str, Any] = {"inputs": self.inputs, "steps": steps, "run": self._run(), "now": now, "vars": {}}
        if originals:
            bound[ORIGINALS] = originals
        if self.plan.vars is not None:
            if self._vars is None:
                self._vars = self.plan.vars.evaluate(bound)
            bound["vars"] = self._vars
        if self.outcome is not None:
            bound["error"] = None if self.error is None else flattened(self.error)
        if self.parent is not None:
            for view in self.chain():
                bound.update(view.names or {})
        return bound

    def result(self, node: int, fresh: Mapping[int, Result]) -> Result | None:
        """How a step of this scope, or of one around it, has ended, as far as it is known here."""
        found = fresh.get(node) or self.results.get(node)
        if found is not None or self.parent is None:
            return found
        return self.of(node).results.get(node)

    @property
    def redaction(self) -> Redaction:
        """What must not be shown of the run."""
        return Redaction.of(self.plan.sensitive, self.inputs, self.root.hidden)

    def missing(self, node: PlanStep, fresh: Mapping[int, Result]) -> list[int]:
        """Nodes whose results must be read from the store before ``node`` can be decided or executed.

        They are steps of this scope, or of scopes around it.
        """
        absent = [edge.step for edge in node.needs if edge.step not in self.results and edge.step not in fresh]
        for read in node.reads:
            result = self.result(read, fresh)
            if result is None or result.output is UNLOADED:
                absent.append(read)
        return absent

    def unfetched(self, node: PlanStep, fresh: Mapping[int, Result]) -> list[int]:
        """Nodes with large outputs that expressions of ``node`` look into and that were not fetched yet."""
        absent = []
        for read, look in node.looks:
            result = self.result(read, fresh)
            if result is None or result.output is None or result.output is UNLOADED:
                continue
            if next(wanted(look, self.of(read).fetched.get(read, result.output)), None) is not None:
                absent.append(read)
        return absent

    def _run(self) -> dict[str, Any]:
        phase = self.outcome or self.stopping or Phase.RUNNING
        return {
            "id": str(self.run_id),
            "name": self.name,
            "namespace": self.namespace,
            "workflow": self.workflow,
            "phase": phase.label,
        }


def _shown(step: PlanStep, result: Result, output: Any) -> dict[str, Any]:
    """A step's end as expressions see it."""
    error = None if result.error is None else flattened(result.error)
    shown = {"state": result.state.label, "output": output, "error": error}
    return {**shown, "artifacts": result.artifacts or {}} if step.artifacts else shown


def flattened(error: Mapping[str, Any]) -> dict[str, Any]:
    """An error as expressions see it: keys of ``details`` readable as ``error.KEY``; the error's own keys win."""
    return {**error.get("details", {}), **error}


def unhandled(plan: Plan, results: Mapping[int, Result]) -> list[int]:
    """Failed nodes whose failure nobody took: no step with an edge for it has run."""
    lost = []
    for node, result in results.items():
        if result.state is State.FAILED:
            takers = (results.get(taker) for taker in handlers(plan, node))
            if not any(taker is not None and taker.state in (State.SUCCEEDED, State.FAILED) for taker in takers):
                lost.append(node)
    return lost


def handlers(plan: Plan, node: int) -> list[int]:
    """Steps with an edge that takes the failure of ``node``."""
    return [
        follower
        for follower in plan.steps[node].next
        if follower > 0 and any(edge.step == node and State.FAILED in edge.on for edge in plan.steps[follower].needs)
    ]
