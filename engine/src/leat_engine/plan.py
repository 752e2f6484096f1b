"""Spec to Plan, or Rejected with every reason. What is decided here is never looked up in the spec again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from leat_engine.expression import Template
from leat_engine.result import State
from leat_engine.retry import RetryPolicy
from pydantic import BaseModel

END = 0
"""The node that ends a scope: it needs every leaf, evaluates the scope's output and settles its phase."""

PURE_KINDS = frozenset({"transform", "fail"})
"""Kinds without effects: the decider does them, in the commit of their predecessor."""


@dataclass(frozen=True, slots=True)
class Edge:
    """A need of a step: the predecessor's node, and the states of it that satisfy the edge."""

    step: int
    on: frozenset[State]


@dataclass(frozen=True, slots=True)
class PlanStep:
    """A node of the plan.

    Attributes:
        id: 1..n in the order of the spec; `END` is 0.
        kind: Name of the kind; "end" for `END`.
        fields: The kind's fields with their expressions; evaluates to what the kind's spec model takes.
        model: The kind's spec model.
        next: Nodes that need this one, `END` included if this is a leaf.
        reads: Nodes whose results its expressions read.
        timeout: Seconds per attempt; deadline: seconds from first queued over all attempts.
        path: Field path of the step in the spec, for messages.
    """

    id: int
    name: str
    kind: str
    fields: Template
    model: type[BaseModel]
    needs: tuple[Edge, ...]
    next: tuple[int, ...]
    reads: tuple[int, ...]
    when: Template | None
    retry: RetryPolicy
    timeout: float | None
    deadline: float | None
    pool: str
    path: str

    @property
    def pure(self) -> bool:
        """Whether the decider does it itself."""
        return self.kind in PURE_KINDS


@dataclass(frozen=True, slots=True)
class Plan:
    """One revision of a workflow, compiled. ``steps[i].id == i``; ``steps[0]`` is `END`."""

    revision: str
    steps: tuple[PlanStep, ...]
    roots: tuple[int, ...]
    by_name: Mapping[str, int]
    inputs: "InputsSchema"
    vars: Template | None
    output: Template | None
    timeout: float | None
    sensitive: frozenset[str]


class InputsSchema:
    """To be written: `apply(values) -> dict`, raising `Rejected`."""

    def apply(self, values: Mapping[str, Any]) -> dict[str, Any]:
        raise NotImplementedError
