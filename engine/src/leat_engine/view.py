"""What one runner knows about one run: the plan, the inputs, and the results it has seen committed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from leat_engine.plan import Plan, PlanStep
from leat_engine.result import Phase, Result, State

UNLOADED: Any = object()
"""Stands for an output that is in the store and was not read yet."""


@dataclass(slots=True, eq=False)
class RunView:
    """A runner's knowledge of a run. Changed only after the store has confirmed the change.

    Attributes:
        results: How steps ended, by node. Outputs may be `UNLOADED`.
        live: Nodes that this runner has claimed.
        complete: Every step outside ``results`` and ``live`` has not begun, so nobody else can change the run but by
            stopping it. Then joins, and the end, are decided here without asking the store.
        stopping: The phase that the run is to end with before its time, once known.
        interrupted: Its running steps were told to end.
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
    error: Mapping[str, Any] | None = None
    results: dict[int, Result] = field(default_factory=dict)
    live: set[int] = field(default_factory=set)
    _vars: Any = None

    def bindings(self, reads: Iterable[int], fresh: Mapping[int, Result], now: datetime) -> dict[str, Any]:
        """What expressions may name. ``fresh`` holds results that are decided but not yet committed.

        Raises:
            ExpressionError: One of the workflow's ``vars`` cannot be evaluated.
        """
        steps = {}
        for node in reads:
            result = fresh.get(node) or self.results.get(node)
            if result is not None:
                steps[self.plan.steps[node].name] = {
                    "state": result.state.label,
                    "output": result.output,
                    "error": None if result.error is None else flattened(result.error),
                }
        bound: dict[str, Any] = {"inputs": self.inputs, "steps": steps, "run": self._run(), "now": now, "vars": {}}
        if self.plan.vars is not None:
            if self._vars is None:
                self._vars = self.plan.vars.evaluate(bound)
            bound["vars"] = self._vars
        return bound

    def missing(self, node: PlanStep, fresh: Mapping[int, Result]) -> list[int]:
        """Nodes whose results must be read from the store before ``node`` can be decided or executed."""
        absent = [edge.step for edge in node.needs if edge.step not in self.results and edge.step not in fresh]
        for read in node.reads:
            result = fresh.get(read) or self.results.get(read)
            if result is None or result.output is UNLOADED:
                absent.append(read)
        return absent

    def _run(self) -> dict[str, Any]:
        phase = self.stopping or Phase.RUNNING
        return {
            "id": str(self.run_id),
            "name": self.name,
            "namespace": self.namespace,
            "workflow": self.workflow,
            "phase": phase.label,
        }


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
        if follower and any(edge.step == node and State.FAILED in edge.on for edge in plan.steps[follower].needs)
    ]
