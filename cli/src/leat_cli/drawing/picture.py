"""What is drawn of a plan: its steps, the steps inside of these, and what each one needs."""

import re
from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, replace

from leat_engine.expression import Template
from leat_engine.graph import DONE, TAKEN_BY_DEFAULT, Edge
from leat_engine.inside import AT_THE_END
from leat_engine.opener import Choice, Fan, Loop, Opener
from leat_engine.plan import END, Plan, PlanStep
from leat_engine.result import State

_CASE = re.compile(r"switch\[(\d+)\]")
_WORDS = ((State.SUCCEEDED, "Succeeded"), (State.FAILED, "Failed"), (State.SKIPPED, "Skipped"))


@dataclass(frozen=True, slots=True)
class Node:
    """A step.

    Attributes:
        when: The source of its condition, or "".
        how: How often its body is done, or "".
    """

    id: int
    name: str
    kind: str
    when: str = ""
    bodies: "tuple[Body, ...]" = ()
    how: str = ""

    @property
    def remarks(self) -> tuple[str, ...]:
        """What there is to say of it besides its name and kind."""
        return (*([self.how] if self.how else []), *([f"when {self.when}"] if self.when else []))


@dataclass(frozen=True, slots=True)
class Body:
    """Steps inside of a step. ``label`` tells which, if the step has several of them: a case, and when it is taken."""

    label: str
    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Link:
    """A need: ``target`` needs ``source``. ``on`` names the ends that it takes, "" for those taken by default."""

    source: int
    target: int
    on: str = ""

    @property
    def handles(self) -> bool:
        """Whether it takes a failure and nothing else."""
        return self.on == "Failed"


@dataclass(frozen=True, slots=True)
class Picture:
    """A workflow. Links connect nodes of the same body."""

    title: str
    nodes: tuple[Node, ...]
    links: tuple[Link, ...]


def picture_of(plan: Plan, title: str) -> Picture:
    """Return what is drawn of a plan. A step stands inside of the one whose field path its own begins with."""
    steps = [step for step in plan.steps if step.id > END]
    by_path: dict[str, PlanStep] = {}
    ids: dict[int, int] = {}
    for step in steps:
        # What is done for each item is a node of its own in the plan, and the same step to whoever wrote it.
        ids[step.id] = by_path.setdefault(step.path, step).id
    drawn = _Drawn(by_path, steps)
    links = (Link(ids[edge.step], ids[step.id], ends(edge)) for step in steps for edge in step.needs if edge.step > END)
    return Picture(title, tuple(drawn.roots()), tuple(links))


def ends(edge: Edge) -> str:
    """Return the ends that an edge takes as users write them, "" for those taken by default."""
    if edge.on == TAKEN_BY_DEFAULT:
        return ""
    return "Finished" if edge.on == DONE else ", ".join(word for state, word in _WORDS if state in edge.on)


def condition(template: Template | None) -> str:
    """Return the source of a condition, or "" where there is none."""
    if template is None:
        return ""
    if template.constant:
        return "true" if template.evaluate({}) else "false"
    return " ".join(next(template.expressions()).text.split())


def manner(opens: Opener | None) -> str:
    """Return how often a body is done, in a few words; "" where it is done once at most."""
    match opens:
        case Fan(items=items, parallel=parallel, tolerance=tolerance):
            takes = tolerance.number or (f"{round(tolerance.share * 100)}%" if tolerance.share else "")
            tolerated = f", {takes} may fail" if takes else ""
            return f"each of {_source(items)}, {parallel} at once{tolerated}"
        case Loop(until=until, max=times, delay=delay):
            pause = f", {delay:g}s apart" if delay else ""
            return (f"until {condition(until)}, {times} times at most" if until else f"{times} times") + pause
        case _:
            return ""


def _source(items: Template) -> str:
    """Return the source of a list, or how long it is if it is written out."""
    if items.dynamic == {()}:
        return " ".join(next(items.expressions()).text.split())
    written = items.evaluate({}) if items.constant else None
    return "a list" if written is None else f"{len(written)} items" if isinstance(written, Sized) else str(written)


class _Drawn:
    """The steps by where they stand."""

    def __init__(self, by_path: Mapping[str, PlanStep], steps: Sequence[PlanStep]) -> None:
        self._inside: dict[str, list[tuple[str, PlanStep]]] = {}
        self._again = {by_path[step.path].id: step for step in steps if by_path[step.path] is not step}
        for path, step in by_path.items():
            around = path
            while around and (around == path or around not in by_path):
                around = around.rpartition(".")[0]
            within = path.removeprefix(around).removeprefix(".")
            opens = by_path[around].opens if around else None
            self._inside.setdefault(around, []).append((_label(within, opens) if around else _root(step), step))

    def roots(self) -> Iterator[Node]:
        """The workflow's own steps, and what it does at the end as one more."""
        for body in self._bodies(""):
            yield from (
                [Node(END, AT_THE_END, body.label, bodies=(replace(body, label=""),))] if body.label else body.nodes
            )

    def _bodies(self, path: str) -> Iterator[Body]:
        labels = dict.fromkeys(label for label, _ in self._inside.get(path, ()))
        for label in labels:
            yield Body(label, tuple(self._node(step) for found, step in self._inside[path] if found == label))

    def _node(self, step: PlanStep) -> Node:
        bodies = tuple(self._bodies(step.path))
        node = Node(step.id, step.name, step.kind, condition(step.when), bodies, manner(step.opens))
        if (again := self._again.get(step.id)) is None:
            return node
        return replace(node, kind=f"{step.kind} · {again.kind}", when=node.when or condition(again.when))


def _root(step: PlanStep) -> str:
    return "finally" if step.cleanup else ""


def _label(within: str, opens: Opener | None) -> str:
    """Return which body of a step a path within it is in: "" for `steps`, its word, or a case and its condition."""
    if case := _CASE.match(within):
        when = opens.cases[int(case[1])][0] if isinstance(opens, Choice) else None
        said = f": {condition(when)}" if when else ": default" if isinstance(opens, Choice) else ""
        return f"case {int(case[1]) + 1}{said}"
    word = re.split(r"\W", within, maxsplit=1)[0]
    return "" if word == "steps" else word
