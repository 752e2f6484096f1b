"""Where the steps of a spec are: every step, those of bodies too, gets its node; every body gets its number.

The workflow's own steps are nodes 1 to n in the order of the spec, those of bodies follow, outer ones first.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from leat_engine import limits
from leat_engine.errors import Reason, Rejected
from leat_engine.expression import compile_condition
from leat_engine.opener import ITEM, TIME
from leat_engine.spec import Compensation, Step, WorkflowSpec

COMPENSATE = "compensate"
_OF_OPENERS = ("for_each", "max_parallel", "tolerate", "repeat", "when", "needs")

_FIELDS_OF_STEPS = frozenset(info.alias or name for name, info in Step.model_fields.items())
_UNDONE_ONCE = frozenset({"name", "needs", "output"})

FINALLY = 1
"""The number of the body that is written as `finally`, if there is one."""

OF_CLEANUP = frozenset({"error"})


@dataclass(slots=True)
class Draft:
    """A body before its steps are compiled.

    Attributes:
        around: The body that its opener is a step of; None for the workflow.
        opener: The node that opens it: 0 for the workflow itself, and for what its `END` begins.
        alone: Its one step is what `forEach` or `repeat` is written on, and its end is the end of the body.
        undoes: What its one step compensates: a node, -k for what body k did; 0 for no such body.
        cleanup: It is what a run does at its end, or within that: `compensate` or `finally`.
        output: What is written as its output, at the field path ``path`` + ``.output``.
        visible: Nodes by name: its own steps, and those around it.
    """

    number: int
    steps: Sequence[Step]
    path: str
    below: str
    around: "Draft | None" = None
    opener: int = 0
    alone: bool = False
    undoes: int = 0
    cleanup: bool = False
    output: object = None
    names: frozenset[str] = frozenset()
    first: int = 0
    visible: Mapping[str, int] = field(default_factory=dict)

    @property
    def depth(self) -> int:
        """How many bodies it is within."""
        return 0 if self.around is None else self.around.depth + 1

    @property
    def nodes(self) -> range:
        """Its steps' nodes."""
        return range(self.first, self.first + len(self.steps))

    @property
    def known(self) -> frozenset[str]:
        """Names beyond those of the workflow that its expressions may read."""
        return self.names | (self.around.known if self.around else frozenset())

    def path_of(self, index: int) -> str:
        """The field path of one of its steps."""
        return self.path if self.alone else f"{self.path}.{self.below}[{index}]"


@dataclass(frozen=True, slots=True)
class Placed:
    """A step at its node. ``bodies``: what it opens; none for a step with a kind of its own.

    ``undo``: how it is compensated, seen as a body.
    """

    node: int
    step: Step
    draft: Draft
    path: str
    bodies: tuple[Draft, ...] = ()
    undo: Draft | None = None


def lay_out(spec: WorkflowSpec, path: str, reasons: list[Reason]) -> tuple[list[Draft], list[Placed]]:
    """Every body and every step; what is wrong with sizes and names is added to ``reasons``."""
    drafts = [Draft(0, spec.steps, path, "steps", output=spec.output)]
    if spec.finally_:
        drafts.append(Draft(FINALLY, spec.finally_, path, "finally", drafts[0], cleanup=True, names=OF_CLEANUP))
    placed: list[Placed] = []
    for draft in drafts:  # it grows
        if draft.depth > limits.NESTING:
            reasons.append(Reason(draft.path, f"is nested in {draft.depth} bodies; the limit is {limits.NESTING}"))
            continue
        draft.first = len(placed) + 1
        around = draft.around.visible if draft.around else {}
        steps = () if draft.undoes else draft.steps
        own = {step.name: node for node, step in reversed([*enumerate(steps, draft.first)])}
        draft.visible = {**around, **own}
        reasons.extend(_taken(draft, around))
        for index, step in enumerate(draft.steps):
            node, here = len(placed) + 1, draft.path_of(index)
            bodies = tuple(_bodies(step, here, draft, node))
            for number, body in enumerate(bodies, len(drafts)):
                body.number, body.cleanup = number, draft.cleanup
            drafts += bodies
            reasons.extend(_strange(step, here))
            undo = _undo(step, here, draft, node, bodies)
            if undo is not None and draft.cleanup:
                reasons.append(Reason(undo.path, "is within a cleanup, which nothing undoes; remove it"))
            elif undo is not None:
                undo.number = len(drafts)
                drafts.append(undo)
            placed.append(Placed(node, step, draft, here, bodies, undo))
    if len(placed) > limits.STEPS:
        reasons.append(
            Reason(f"{path}.steps", f"has {len(placed)} steps, bodies included; the limit is {limits.STEPS}")
        )
    return drafts, placed


def _undo(step: Step, path: str, draft: Draft, node: int, bodies: Sequence[Draft]) -> Draft | None:
    """How a step is compensated: a step of the scope in which it ended, or, if it opened scopes, of each of these.

    A `switch` has bodies of several kinds; it is compensated as the step that it is. What `forEach` and `repeat` are
    written on is a step of the body, which has the compensation with the rest.
    """
    if step.compensate is None or (bodies and bodies[0].alone):
        return None
    inside = bool(bodies) and step.switch is None
    around, undoes = (bodies[0], -bodies[0].number) if inside else (draft, node)
    return Draft(
        0, [_compensation(step.name, step.compensate)], f"{path}.{COMPENSATE}", "", around,
        alone=True, undoes=undoes, cleanup=True, names=OF_CLEANUP,
    )  # fmt: skip


def _compensation(name: str, written: Compensation) -> Step:
    """A compensation as the step that it is executed as; no user can write its name."""
    fields = {field: getattr(written, field) for field in Compensation.model_fields}
    kinds = {field: value for field, value in (written.model_extra or {}).items() if field not in _FIELDS_OF_STEPS}
    return Step.model_construct(name=f"{name}.{COMPENSATE}", **fields, **kinds)


def _strange(step: Step, path: str) -> Iterator[Reason]:
    """Fields of a step that its compensation does not have."""
    if step.compensate is None:
        return
    for name in step.compensate.model_extra or {}:
        if name in _UNDONE_ONCE:
            message = (
                "a compensation has none: it is done once for each time that its step succeeded, and nothing reads it"
            )
        elif name in _FIELDS_OF_STEPS:
            message = "belongs to a step: put a step with it into the `steps` of the compensation"
        else:
            continue
        yield Reason(f"{path}.{COMPENSATE}.{name}", message)


def _bodies(step: Step, path: str, draft: Draft, node: int) -> Iterator[Draft]:
    repeats = step.repeat is not None
    if repeats or step.for_each is not None:
        names = TIME if repeats else ITEM
        if step.steps is not None and (repeats or not _leaves_out_items(step, draft)):
            yield Draft(0, step.steps, path, "steps", draft, node, output=step.output, names=names)
        else:
            plain = {name: Step.model_fields[name].get_default(call_default_factory=True) for name in _OF_OPENERS}
            if step.steps is not None:
                plain["timeout"] = None  # the time of all items, as without a condition
            inner = step.model_copy(update=plain)  # a condition on the item is given to it when it is compiled
            yield Draft(0, [inner], path, "", draft, node, alone=True, names=names)
    elif step.switch is not None:
        for index, case in enumerate(step.switch):
            yield Draft(0, case.steps, f"{path}.switch[{index}]", "steps", draft, node, output=case.output)
    elif step.steps is not None:
        yield Draft(0, step.steps, path, "steps", draft, node, output=step.output)


def _leaves_out_items(step: Step, draft: Draft) -> bool:
    """Whether its condition is about each item. Then its `steps` are what is done, or left out, for each."""
    names = dict.fromkeys(("inputs", "steps", "vars", "run", "now", *draft.known, *ITEM))
    if not isinstance(step.when, str):
        return False
    try:
        return bool(compile_condition(step.when, "", names).variables & ITEM)
    except Rejected:  # what is wrong with it is found where it is compiled
        return False


def _taken(draft: Draft, around: Mapping[str, int]) -> Iterator[Reason]:
    first: dict[str, int] = {}
    for index, step in enumerate(draft.steps):
        here = f"{draft.path_of(index)}.name"
        if first.setdefault(step.name, index) != index:
            yield Reason(here, f"{step.name!r} is the name of {draft.path_of(first[step.name])} already")
        elif step.name in around and not draft.alone:
            yield Reason(here, f"{step.name!r} is the name of a step around this one already; choose another name")
