"""Spec to Plan, or Rejected with every reason. What is decided here is never looked up in the spec again."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import orjson
from pydantic import BaseModel

from leat_engine import limits
from leat_engine.compile import PURE_KINDS, CompiledStep, Workshop, check_name, compile_step, seconds
from leat_engine.errors import Reason, Rejected
from leat_engine.expression import MEMBERS_OF_RUN, Outlets, SecretRef, Template, compile_template
from leat_engine.graph import DONE, END, Edge, check_needs, cycles, edges_of
from leat_engine.restraint import Restraint, Slots, compile_slots
from leat_engine.retry import NO_RETRY, RetryPolicy
from leat_engine.spec import WorkflowSpec
from leat_engine.spec.inputs import InputsSchema, compile_inputs
from leat_engine.spec.kinds import outward_fields
from leat_engine.spec.model import Model

__all__ = ["END", "PURE_KINDS", "Edge", "InputsSchema", "Plan", "PlanStep", "compile_plan", "revision_id"]


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
        restraint: What holds its attempts back, or None.
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
    restraint: Restraint | None = None

    @property
    def pure(self) -> bool:
        """Whether the decider does it itself."""
        return self.kind in PURE_KINDS

    @property
    def secrets(self) -> tuple[SecretRef, ...]:
        """What has to be read before its fields can be evaluated."""
        return self.fields.secrets


@dataclass(frozen=True, slots=True)
class Plan:
    """One revision of a workflow, compiled. ``steps[i].id == i``; ``steps[0]`` is `END`.

    Attributes:
        roots: Nodes without needs.
        by_name: Nodes by the names of their steps.
        inputs: What a run's inputs are checked against.
        vars: An object of the variables; reads ``inputs`` and ``run``.
        output: The run's output; reads everything.
        timeout: Seconds that a run may take.
        sensitive: Names of inputs whose values nobody may see.
        slots: How many runs may be under way at once; its key reads ``inputs``, ``vars`` and ``run``.
    """

    revision: str
    steps: tuple[PlanStep, ...]
    roots: tuple[int, ...]
    by_name: Mapping[str, int]
    inputs: InputsSchema
    vars: Template | None
    output: Template | None
    timeout: float | None
    sensitive: frozenset[str]
    slots: Slots | None = None


class End(Model):
    """`END` has no fields."""


def revision_id(spec: Mapping[str, Any]) -> str:
    """The name of a revision: the hash of its spec's canonical JSON (`WorkflowSpec.as_json`), 16 hex digits."""
    return blake2b(orjson.dumps(spec, option=orjson.OPT_SORT_KEYS), digest_size=8).hexdigest()


def compile_plan(spec: WorkflowSpec, models: Mapping[str, type[BaseModel]], revision: str, path: str = "spec") -> Plan:
    """Compile a workflow.

    Args:
        spec: What the user wrote.
        models: Spec models by kind.
        revision: Name of the plan.
        path: Where the spec is in its resource; ``spec.inline`` for a run that brings its own.

    Raises:
        Rejected: With every reason that was found.
    """
    by_name = {step.name: node for node, step in reversed([*enumerate(spec.steps, 1)])}
    shop = Workshop(spec, models, _names(spec, by_name), path, _outlets(models))
    _check_spec(spec, path, shop.reasons)
    inputs, variables, output = InputsSchema({}), None, None
    with shop.collecting():
        inputs = compile_inputs(spec.inputs, f"{path}.inputs")
    with shop.collecting():
        names = {name: shop.names[name] for name in ("inputs", "run")}
        variables = compile_template(spec.vars, f"{path}.vars", names, outlets=shop.outlets) if spec.vars else None
    with shop.collecting():
        if spec.output is not None:
            output = compile_template(spec.output, f"{path}.output", shop.names, outlets=shop.outlets)
    names = {name: shop.names[name] for name in ("inputs", "vars", "run")}
    slots = compile_slots(spec.concurrency, f"{path}.concurrency", names, shop.reasons)
    compiled = [compile_step(step, f"{path}.steps[{index}]", shop) for index, step in enumerate(spec.steps)]
    edges = _edges(spec, compiled, by_name, shop.reasons, path)
    if shop.reasons:
        raise Rejected(shop.reasons)
    return Plan(
        revision=revision,
        steps=_assemble(spec, [step for step in compiled if step], edges, by_name, output),
        roots=tuple(node for node, needs in edges.items() if not needs),
        by_name=by_name,
        inputs=inputs,
        vars=variables,
        output=output,
        timeout=seconds(spec.timeout),
        sensitive=inputs.sensitive,
        slots=slots,
    )


def _names(spec: WorkflowSpec, by_name: Mapping[str, int]) -> dict[str, frozenset[str] | None]:
    """What expressions of steps and of the output may read."""
    return {
        "inputs": frozenset(spec.inputs),
        "steps": frozenset(by_name),
        "vars": frozenset(spec.vars),
        "run": MEMBERS_OF_RUN,
        "now": None,
    }


def _outlets(models: Mapping[str, type[BaseModel]]) -> Outlets:
    """Where secrets may stand: by default nowhere, and said with the fields of every kind that is installed."""
    fields = [f"{kind}.{name}" for kind, model in sorted(models.items()) for name in sorted(outward_fields(model))]
    return Outlets(everywhere=", ".join(fields))


def _check_spec(spec: WorkflowSpec, path: str, reasons: list[Reason]) -> None:
    """Size, and names that are odd or taken."""
    size = len(orjson.dumps(spec.as_json()))
    if size > limits.SPEC_BYTES:
        reasons.append(Reason(path, f"is {size} bytes of JSON; a workflow may have {limits.SPEC_BYTES}"))
    for noun, field, names in (("input", "inputs", spec.inputs), ("variable", "vars", spec.vars)):
        for name in names:
            check_name(noun, name, f"{path}.{field}.{name}", reasons)
    first: dict[str, int] = {}
    for index, step in enumerate(spec.steps):
        if first.setdefault(step.name, index) != index:
            taken = f"{path}.steps[{first[step.name]}]"
            reasons.append(Reason(f"{path}.steps[{index}].name", f"{step.name!r} is the name of {taken} already"))


def _edges(
    spec: WorkflowSpec,
    compiled: list[CompiledStep | None],
    by_name: Mapping[str, int],
    reasons: list[Reason],
    path: str,
) -> dict[int, tuple[Edge, ...]]:
    """The needs of every node, written and inferred."""
    edges: dict[int, tuple[Edge, ...]] = {}
    for node, (step, done) in enumerate(zip(spec.steps, compiled, strict=True), 1):
        here = f"{path}.steps[{node - 1}]"
        reasons.extend(check_needs(step.name, step.needs, here, by_name))
        reads = sorted(done.reads) if done else []
        if step.name in reads:
            reasons.append(Reason(here, f"an expression of step {step.name!r} reads its own result"))
        edges[node] = edges_of(step.needs, reads, by_name)
        if len(edges[node]) > limits.NEEDS:
            reasons.append(Reason(here, f"needs {len(edges[node])} steps; a step may need {limits.NEEDS}"))
    for cycle in cycles({node: [edge.step for edge in needs] for node, needs in edges.items()}):
        names = " needs ".join(spec.steps[node - 1].name for node in cycle)
        reasons.append(Reason(f"{path}.steps[{cycle[0] - 1}]", f"needs itself by a cycle: {names}"))
    return edges


def _assemble(
    spec: WorkflowSpec,
    compiled: list[CompiledStep],
    edges: Mapping[int, tuple[Edge, ...]],
    by_name: Mapping[str, int],
    output: Template | None,
) -> tuple[PlanStep, ...]:
    """The nodes in the order of their ids."""
    following: dict[int, list[int]] = {node: [] for node in edges}
    for node, needs in edges.items():
        for edge in needs:
            following[edge.step].append(node)
    last = [node for node, nodes in following.items() if not nodes]
    steps = [_end(last, tuple(sorted(by_name[name] for name in output.reads)) if output else (), spec.pool)]
    for node, step in enumerate(compiled, 1):
        steps.append(
            PlanStep(
                id=node,
                name=step.spec.name,
                kind=step.kind,
                fields=step.fields,
                model=step.model,
                needs=edges[node],
                next=tuple(following[node]) or (END,),
                reads=tuple(sorted(by_name[name] for name in step.reads)),
                when=step.when,
                retry=step.retry,
                timeout=step.timeout,
                deadline=step.deadline,
                pool=step.pool,
                path=step.path,
                restraint=step.restraint,
            )
        )
    return tuple(steps)


def _end(last: list[int], reads: tuple[int, ...], pool: str) -> PlanStep:
    nothing = compile_template(None, "", {})
    needs = tuple(Edge(node, DONE) for node in last)
    return PlanStep(END, "end", "end", nothing, End, needs, (), reads, None, NO_RETRY, None, None, pool, "")
