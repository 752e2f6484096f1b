"""Spec to Plan, or Rejected with every reason. What is decided here is never looked up in the spec again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from graphlib import TopologicalSorter
from hashlib import blake2b
from typing import Any

import orjson
from pydantic import BaseModel

from leat_engine import limits
from leat_engine.compile import PURE_KINDS, CompiledStep, Workshop, check_name, compile_step, nothing_written, seconds
from leat_engine.compile_opener import NoFields, compile_opener
from leat_engine.errors import Reason, Rejected
from leat_engine.expression import MEMBERS_OF_RUN, Members, Outlets, SecretRef, Template, compile_template
from leat_engine.graph import DONE, END, Edge, check_needs, cycles, edges_of
from leat_engine.layout import FINALLY, Draft, Placed, lay_out
from leat_engine.look import Look, looks_of, undeclared
from leat_engine.opener import Body, Choice, Fan, Opener
from leat_engine.restraint import Restraint, Slots, compile_slots
from leat_engine.result import State
from leat_engine.retry import NO_RETRY, RetryPolicy
from leat_engine.spec import WorkflowSpec
from leat_engine.spec.inputs import InputsSchema, compile_inputs
from leat_engine.spec.kinds import outward_fields
from leat_engine.spec.workflow import Artifact

__all__ = ["END", "PURE_KINDS", "Edge", "InputsSchema", "Plan", "PlanStep", "compile_plan", "revision_id"]


@dataclass(frozen=True, slots=True)
class PlanStep:
    """A node of the plan.

    Attributes:
        id: 1..n, the workflow's own steps in the order of the spec, then those of bodies. `END` is 0; the end of body
            k is -k.
        kind: Name of the kind; "end" for `END`; the word by which it is written for a step that opens bodies.
        fields: The kind's fields with their expressions; evaluates to what the kind's spec model takes.
        model: The kind's spec model.
        next: Nodes that need this one, the end of the body included if this is a leaf.
        reads: Nodes whose results its expressions read, of its own body or of those around it.
        timeout: Seconds per attempt; deadline: seconds from first queued over all attempts.
        path: Field path of the step in the spec, for messages.
        body: The body that it is a step of; 0 for the workflow itself.
        opens: The bodies that it opens, if it does.
        fatal: Its failure, if nothing handles it, is the failure of the run: nothing around it takes it.
        output: Of the end of a body: what the body gives.
        restraint: What holds its attempts back, or None.
        looks: What its expressions read of outputs, by node: a large one is fetched for those that look into it.
        artifacts: What it leaves, by name.
        undoes: It is a compensation: of this node, in the same scope. It needs nothing, and `END` begins it.
        cleanup: It is part of what a run does at its end: its failure does not stop the run.
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
    body: int = 0
    opens: Opener | None = None
    fatal: bool = True
    output: Template | None = None
    restraint: Restraint | None = None
    looks: tuple[tuple[int, Look], ...] = ()
    artifacts: Mapping[str, Artifact] = field(default_factory=dict)
    undoes: int = 0
    cleanup: bool = False

    @property
    def light(self) -> bool:
        """Whether it takes no slot: it ends or opens bodies, or the decider does it itself."""
        return self.id <= END or self.opens is not None or self.pure

    @property
    def pure(self) -> bool:
        """Whether the decider does it itself."""
        return self.kind in PURE_KINDS

    @property
    def secrets(self) -> tuple[SecretRef, ...]:
        """What has to be read before its fields can be evaluated."""
        return self.fields.secrets


@dataclass(frozen=True, slots=True)
class Undo:
    """What ``node`` did is undone by ``by``.

    Attributes:
        rank: Grows from a step to what needs it, and from what is in a body to its opener: of two that ended in the
            same moment, the higher one ended later.
    """

    node: int
    by: int
    rank: int


@dataclass(frozen=True, slots=True)
class Plan:
    """One revision of a workflow, compiled.

    ``steps[i].id == i``; ``steps[0]`` is `END`, ``steps[-k]`` the end of body k.

    Attributes:
        total: Steps of the workflow itself: nodes 1 to ``total``.
        bodies: ``bodies[k]`` is body k; body 0 is the workflow itself.
        roots: Nodes without needs.
        by_name: Nodes by the names of their steps.
        inputs: What a run's inputs are checked against.
        vars: An object of the variables; reads ``inputs`` and ``run``.
        output: The run's output; reads everything.
        timeout: Seconds that a run may take.
        sensitive: Names of inputs whose values nobody may see.
        slots: How many runs may be under way at once; its key reads ``inputs``, ``vars`` and ``run``.
        undoing: Compensations: of these nodes by those, what must be undone first having the highest rank.
        final: The body that is executed at the end of every run, or None.
    """

    revision: str
    steps: tuple[PlanStep, ...]
    total: int
    bodies: tuple[Body, ...]
    roots: tuple[int, ...]
    by_name: Mapping[str, int]
    inputs: InputsSchema
    vars: Template | None
    output: Template | None
    timeout: float | None
    sensitive: frozenset[str]
    slots: Slots | None = None
    undoing: tuple[Undo, ...] = ()
    final: Body | None = None

    @property
    def cleans(self) -> bool:
        """Whether its runs may have more to do when all their steps are over."""
        return bool(self.undoing) or self.final is not None

    def full_name(self, step: PlanStep) -> str:
        """The names of the steps around a step and its own, such as ``review/ask``, or ``choose[1]/ask`` in a case.

        No two steps have the same. What `forEach` or `repeat` does with a kind has the name that these are written on.
        """
        name, body = step.name, self.bodies[step.body]
        while body.opener:
            around = self.steps[body.opener]
            if body.result < 0:  # else both have one name
                cases = [number for _, number in around.opens.cases] if isinstance(around.opens, Choice) else []
                name = f"{around.name}{f'[{cases.index(body.number)}]' if cases else ''}/{name}"
            body = self.bodies[around.body]
        return name


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
    reasons: list[Reason] = []
    drafts, placed = lay_out(spec, path, reasons)
    declared = {each.step.name: frozenset(each.step.artifacts) for each in placed if each.step.artifacts}
    shop = Workshop(spec, models, _names(spec, drafts[0], {}), path, _outlets(models), declared, reasons)
    _check_spec(spec, path, reasons)
    inputs, variables = InputsSchema({}), None
    with shop.collecting():
        inputs = compile_inputs(spec.inputs, f"{path}.inputs")
    with shop.collecting():
        names = {name: shop.names[name] for name in ("inputs", "run")}
        variables = compile_template(spec.vars, f"{path}.vars", names, outlets=shop.outlets) if spec.vars else None
    names = {name: shop.names[name] for name in ("inputs", "vars", "run")}
    slots = compile_slots(spec.concurrency, f"{path}.concurrency", names, reasons)
    inside = _inside(placed)
    shops = [replace(shop, names=_names(spec, draft, inside)) for draft in drafts]
    outputs = [_output(draft, shops[draft.number]) for draft in drafts]
    compiled = _compile_steps(placed, shops)
    edges = _edges(drafts, placed, compiled, outputs, reasons)
    if reasons:
        raise Rejected(reasons)
    bodies = tuple(_body(draft, edges) for draft in drafts)
    return Plan(
        revision=revision,
        steps=_Assembly(spec, drafts, [step for step in compiled if step], edges, outputs).steps(),
        total=len(spec.steps),
        bodies=bodies,
        roots=tuple(node for node in drafts[0].nodes if not edges[node]),
        by_name={each.step.name: each.node for each in reversed(placed)},
        inputs=inputs,
        vars=variables,
        output=outputs[0],
        timeout=seconds(spec.timeout),
        sensitive=inputs.sensitive,
        slots=slots,
        undoing=_undoing(drafts, placed, edges),
        final=bodies[FINALLY] if spec.finally_ else None,
    )


def _undoing(
    drafts: Sequence[Draft], placed: Sequence[Placed], edges: Mapping[int, tuple[Edge, ...]]
) -> tuple[Undo, ...]:
    """The compensations, with their order."""
    order: dict[int, int] = {}

    def walk(draft: Draft) -> None:
        needs = {node: [edge.step for edge in edges[node]] for node in draft.nodes}
        for node in TopologicalSorter(needs).static_order():
            for body in placed[node - 1].bodies:
                walk(body)
                order[-body.number] = len(order)
            order[node] = len(order)

    walk(drafts[0])
    return tuple(Undo(draft.undoes, draft.first, order[draft.undoes]) for draft in drafts if draft.undoes)


def _inside(placed: Sequence[Placed]) -> dict[str, str]:
    """What to say to those outside who read a step of a body."""
    found: dict[str, str] = {}
    for one in placed:
        if one.draft.opener and not one.draft.alone and not one.draft.cleanup:
            around = placed[one.draft.opener - 1].step.name
            found.setdefault(
                one.step.name, f"step {one.step.name!r} is inside of step {around!r}; read steps.{around}.output"
            )
    return found


def _names(spec: WorkflowSpec, draft: Draft, inside: Mapping[str, str]) -> dict[str, frozenset[str] | None]:
    """What expressions of a body's steps and of its output may read."""
    steps = Members(draft.visible)
    steps.elsewhere = inside
    return {
        "inputs": frozenset(spec.inputs),
        "steps": steps,
        "vars": frozenset(spec.vars),
        "run": MEMBERS_OF_RUN,
        "now": None,
        **dict.fromkeys(draft.known),
    }


def _outlets(models: Mapping[str, type[BaseModel]]) -> Outlets:
    """Where secrets may stand: by default nowhere, and said with the fields of every kind that is installed."""
    fields = [f"{kind}.{name}" for kind, model in sorted(models.items()) for name in sorted(outward_fields(model))]
    return Outlets(everywhere=", ".join(fields))


def _check_spec(spec: WorkflowSpec, path: str, reasons: list[Reason]) -> None:
    """Size, and names that are odd."""
    size = len(orjson.dumps(spec.as_json()))
    if size > limits.SPEC_BYTES:
        reasons.append(Reason(path, f"is {size} bytes of JSON; a workflow may have {limits.SPEC_BYTES}"))
    for noun, member, names in (("input", "inputs", spec.inputs), ("variable", "vars", spec.vars)):
        for name in names:
            check_name(noun, name, f"{path}.{member}.{name}", reasons)


def _output(draft: Draft, shop: Workshop) -> Template | None:
    with shop.collecting():
        if draft.output is not None:
            output = compile_template(draft.output, f"{draft.path}.output", shop.names, outlets=shop.outlets)
            shop.reasons.extend(undeclared([output], shop.artifacts))
            return output
    return None


def _compile_steps(placed: Sequence[Placed], shops: Sequence[Workshop]) -> list[CompiledStep | None]:
    """Every step by itself. A condition on the item, written beside `forEach`, goes to the step of the body."""
    compiled: list[CompiledStep | None] = []
    each: dict[int, Template | None] = {}
    for one in placed:
        shop = shops[one.draft.number]
        when = each.get(one.draft.opener) if one.draft.alone else None
        if not one.draft.alone:
            check_name("step", one.step.name, f"{one.path}.name", shop.reasons)
            shop.reasons.extend(nothing_written(one.step, one.path))
        if one.bodies:
            step, each[one.node] = compile_opener(one.step, one.path, shop, one.bodies, when)
        else:
            step = compile_step(one.step, one.path, shop, when)
        compiled.append(step)
    return compiled


def _edges(
    drafts: Sequence[Draft],
    placed: Sequence[Placed],
    compiled: Sequence[CompiledStep | None],
    outputs: Sequence[Template | None],
    reasons: list[Reason],
) -> dict[int, tuple[Edge, ...]]:
    """The needs of every node, written and inferred. What a body reads of the steps around it, its opener needs."""
    outside: dict[int, set[str]] = {}
    for draft, output in zip(drafts, outputs, strict=True):
        if draft.around is not None and output is not None:
            outside.setdefault(draft.opener, set()).update(
                output.reads - {placed[n - 1].step.name for n in draft.nodes}
            )
    edges: dict[int, tuple[Edge, ...]] = {}
    for one, done in reversed([*zip(placed, compiled, strict=True)]):  # bodies before their openers
        own = {placed[node - 1].step.name: node for node in one.draft.nodes}
        written = () if one.draft.alone else tuple(one.step.needs)
        elsewhere = {} if all(need.step in own for need in written) else _elsewhere(one, placed)
        reasons.extend(check_needs(one.step.name, written, one.path, own, elsewhere))
        reads = (done.reads if done else frozenset()) | outside.get(one.node, set())
        if one.step.name in reads:
            reasons.append(Reason(one.path, f"an expression of step {one.step.name!r} reads its own result"))
        outside.setdefault(one.draft.opener, set()).update(reads - own.keys())
        edges[one.node] = edges_of(written, sorted(reads & own.keys()), own)
        if len(edges[one.node]) > limits.NEEDS:
            reasons.append(Reason(one.path, f"needs {len(edges[one.node])} steps; a step may need {limits.NEEDS}"))
    for cycle in cycles({node: [edge.step for edge in edges[node]] for node in sorted(edges)}):
        names = " needs ".join(placed[node - 1].step.name for node in cycle)
        reasons.append(Reason(placed[cycle[0] - 1].path, f"needs itself by a cycle: {names}"))
    return edges


def _elsewhere(one: Placed, placed: Sequence[Placed]) -> dict[str, str]:
    """Where the steps are that a step cannot need, by name: those around its body, and those inside of other bodies."""
    found: dict[str, str] = {}
    for other in placed:
        around = other.draft
        if around is one.draft or around.alone or around.undoes:
            continue
        if other.step.name in one.draft.visible:
            found[other.step.name] = "around this body: the step with the body needs it, so write it there"
        elif around.opener:
            opener = placed[around.opener - 1].step.name
            found.setdefault(other.step.name, f"inside of step {opener!r}: need that")
    return found


def _body(draft: Draft, edges: Mapping[int, tuple[Edge, ...]]) -> Body:
    return Body(
        number=draft.number,
        opener=draft.opener,
        parent=_home(draft.around) if draft.around else 0,
        result=draft.first if draft.alone else -draft.number,
        roots=tuple(node for node in draft.nodes if not edges[node]),
        nodes=len(draft.steps),
    )


def _home(draft: Draft) -> int:
    """The body in whose scopes its steps are: a compensation is one more step of the scope that it cleans up."""
    return draft.around.number if draft.undoes and draft.around else draft.number


@dataclass(slots=True)
class _Assembly:
    """What the nodes are put together from."""

    spec: WorkflowSpec
    drafts: Sequence[Draft]
    compiled: Sequence[CompiledStep]
    edges: Mapping[int, tuple[Edge, ...]]
    outputs: Sequence[Template | None]

    def steps(self) -> tuple[PlanStep, ...]:
        """The nodes in the order of their ids, the ends of bodies last, that of body 1 at the very end."""
        following: dict[int, list[int]] = {node: [] for node in self.edges}
        for node, needs in self.edges.items():
            for edge in needs:
                following[edge.step].append(node)
        found: dict[int, PlanStep] = {}
        for draft in self.drafts:  # outer ones first
            fatal = self._fatal(draft, found)
            for node in draft.nodes:
                found[node] = self._step(node, draft, sorted(following[node]), fatal=fatal)
        ends = [self._end(draft, found) for draft in reversed(self.drafts) if draft.number]
        return (self._end(self.drafts[0], found), *(found[node] for node in sorted(found)), *ends)

    def _step(self, node: int, draft: Draft, following: Sequence[int], *, fatal: bool) -> PlanStep:
        step = self.compiled[node - 1]
        return PlanStep(
            id=node,
            name=step.spec.name,
            kind=step.kind,
            fields=step.fields,
            model=step.model,
            needs=self.edges[node],
            next=tuple(following) or (() if draft.alone else (-draft.number,)),
            reads=tuple(sorted(draft.visible[name] for name in step.reads)),
            when=step.when,
            retry=step.retry,
            timeout=step.timeout,
            deadline=step.deadline,
            pool=step.pool,
            path=step.path,
            body=_home(draft),
            opens=step.opens,
            fatal=fatal,
            restraint=step.restraint,
            looks=tuple((draft.visible[look.step], look) for look in step.looks),
            artifacts=step.spec.artifacts,
            undoes=draft.undoes,
            cleanup=draft.cleanup,
        )

    def _fatal(self, draft: Draft, found: Mapping[int, PlanStep]) -> bool:
        """Whether a failure in the body that nothing in it takes is one of the run."""
        return not draft.cleanup and (draft.around is None or self._falls_with(found[draft.opener]))

    def _falls_with(self, step: PlanStep) -> bool:
        """Whether a failure inside the bodies of ``step`` that nothing inside takes is one of the run."""
        opens = step.opens
        tolerant = isinstance(opens, Fan) and (opens.tolerance.number > 0 or opens.tolerance.share > 0)
        takers = (edge for node in step.next if node > 0 for edge in self.edges[node] if edge.step == step.id)
        return step.fatal and not tolerant and not any(State.FAILED in edge.on for edge in takers)

    def _end(self, draft: Draft, found: Mapping[int, PlanStep]) -> PlanStep:
        nothing = compile_template(None, "", {})
        leaves = [] if draft.alone else [node for node in draft.nodes if found[node].next == (-draft.number,)]
        needs = tuple(Edge(node, DONE) for node in leaves)
        output = self.outputs[draft.number]
        reads = tuple(sorted(draft.visible[name] for name in output.reads)) if output else ()
        looks = tuple((draft.visible[look.step], look) for look in looks_of([output]))
        pool = found[draft.opener].pool if draft.opener else self.spec.pool
        fatal = self._fatal(draft, found)
        return PlanStep(
            -draft.number, "end", "end", nothing, NoFields, needs, (), reads, None, NO_RETRY, None, None, pool,
            draft.path, draft.number, None, fatal=fatal, output=output, looks=looks, cleanup=draft.cleanup,
        )  # fmt: skip
