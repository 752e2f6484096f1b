"""What is drawn of a plan: its steps, the steps inside of these, and what each one needs."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from leat_engine.expression import Template
from leat_engine.graph import DONE, TAKEN_BY_DEFAULT, Edge
from leat_engine.plan import END, Plan, PlanStep
from leat_engine.result import State

_CASE = re.compile(r"switch\[(\d+)\]")
_WORDS = ((State.SUCCEEDED, "Succeeded"), (State.FAILED, "Failed"), (State.SKIPPED, "Skipped"))


@dataclass(frozen=True, slots=True)
class Node:
    """A step. ``when`` is the source of its condition, or ""."""

    id: int
    name: str
    kind: str
    when: str = ""
    bodies: "tuple[Body, ...]" = ()


@dataclass(frozen=True, slots=True)
class Body:
    """Steps inside of a step. ``label`` tells which, if the step has several of them: a case of a `switch`."""

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
    return Picture(title, drawn.below(""), tuple(links))


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
            self._inside.setdefault(around, []).append((_label(within) if around else "", step))

    def below(self, path: str) -> tuple[Node, ...]:
        return tuple(node for body in self._bodies(path) for node in body.nodes)

    def _bodies(self, path: str) -> Iterator[Body]:
        labels = dict.fromkeys(label for label, _ in self._inside.get(path, ()))
        for label in labels:
            yield Body(label, tuple(self._node(step) for found, step in self._inside[path] if found == label))

    def _node(self, step: PlanStep) -> Node:
        node = Node(step.id, step.name, step.kind, condition(step.when), tuple(self._bodies(step.path)))
        if (again := self._again.get(step.id)) is None:
            return node
        return replace(node, kind=f"{step.kind} · {again.kind}", when=node.when or condition(again.when))


def _label(within: str) -> str:
    """Return which body of a step a path within it is in: "" for `steps`, else its word, or a case's number."""
    if case := _CASE.match(within):
        return f"case {int(case[1]) + 1}"
    word = re.split(r"\W", within, maxsplit=1)[0]
    return "" if word == "steps" else word
