"""What is shown of the bodies of a run: which scopes of a step, in which words, and how people name one. Pure."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from leat_engine.opener import Choice, Fan, Loop, Opener
from leat_engine.plan import END, Plan, PlanStep
from leat_engine.records import Block, ShownAttempt, ShownStep
from leat_engine.result import State
from leat_engine.spelling import unknown

SCOPES = 20
"""Scopes of one step that are shown, unless more are asked for."""

ROWS = 500
"""Steps within bodies that are shown at once."""

OUTPUT_BYTES = 1024
"""JSON bytes of an output within a body that is shown; of a larger one only the size is."""

AT_THE_END = "at the end"
"""What `finally` is called among the steps of a run: no step can have this name."""

_SEGMENT = re.compile(r"(?P<name>[A-Za-z][A-Za-z0-9_-]*)(\[(?P<index>[0-9]{1,9})\])?")


@dataclass(frozen=True, slots=True)
class Within:
    """What somebody wants to see: the scope at ``path``, or ``limit`` scopes of the step there from ``after`` on."""

    path: str
    after: int = 0
    limit: int = SCOPES


@dataclass(frozen=True, slots=True)
class ShownScope:
    """A scope that was opened. ``state`` is None while it is under way."""

    number: int
    index: int
    state: State | None


@dataclass(frozen=True, slots=True)
class ShownBlock:
    """What a step has opened.

    Attributes:
        scopes: Those that are shown, in the order of their indexes.
        states: How many of all there are in which state, by the words that people read.
    """

    block: Block
    scopes: tuple[ShownScope, ...]
    states: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Inside:
    """Bodies of a run.

    Attributes:
        blocks: By the scope and the node of the step that has opened them; node 0 has opened `finally`.
        steps: By their scopes, as far as they have begun to exist; those of the run itself are its compensations.
        attempts: Those that were followed by others.
    """

    blocks: Mapping[tuple[int, int], ShownBlock] = field(default_factory=dict)
    steps: Mapping[int, Sequence[ShownStep]] = field(default_factory=dict)
    attempts: Mapping[int, Sequence[ShownAttempt]] = field(default_factory=dict)


NOTHING = Inside()


@dataclass(frozen=True, slots=True)
class Spot:
    """What is at a path.

    Attributes:
        node: The step whose scopes are listed; None: all steps of the scope are meant.
        inside: Of the scope, with its own steps unless it is the run itself.
    """

    scope: int
    body: int
    node: int | None
    inside: Inside

    @property
    def after(self) -> int | None:
        """The index behind the last scope that is listed, if there are more."""
        block = self.inside.blocks.get((self.scope, self.node or 0))
        if block is None or not block.scopes:
            return None
        after = block.scopes[-1].index + 1
        return after if after < block.block.opened else None


class NotThere(LookupError):
    """Nothing is where somebody wants to look; the message says where it ends."""


def segments(path: str) -> Iterator[tuple[str, int | None]]:
    """The names and indexes of a path such as ``each[4]/ask``.

    Raises:
        NotThere: It is none.
    """
    for part in path.split("/"):
        match = _SEGMENT.fullmatch(part)
        if match is None:
            raise NotThere(f"scope: found {part!r}, expected the name of a step, or STEP[INDEX], such as each[4]/ask")
        yield match["name"], None if match["index"] is None else int(match["index"])


def opener_in(plan: Plan, body: int, name: str) -> PlanStep:
    """The step of a body that has bodies itself.

    Raises:
        NotThere: It has none, or there is none of this name.
    """
    steps = {step.name: step for step in nodes_of(plan, body)}
    if name not in steps:
        raise NotThere(f"scope: {unknown('step', name, steps)}")
    if steps[name].opens is None:
        raise NotThere(f"scope: step {name!r} has no body")
    return steps[name]


def nodes_of(plan: Plan, body: int) -> list[PlanStep]:
    """The steps of a body, in the order of the spec."""
    return [step for step in plan.steps if step.id > END and step.body == body and not step.undoes]


def compensations_of(plan: Plan, body: int, begun: Iterable[ShownStep]) -> list[PlanStep]:
    """The compensations that have begun in a scope of a body."""
    known = {shown.record.key.step for shown in begun}
    return [step for step in plan.steps if step.undoes and step.body == body and step.id in known]


def many(opens: Opener | None) -> bool:
    """Whether a step may have several scopes, so that one is named with its index."""
    return isinstance(opens, Fan | Loop)


def label(step: PlanStep, block: Block, index: int) -> str:
    """What a scope is to people: ``item 4``, ``iteration 0``, ``case 2`` (from 1, as in drawings); "" for a group."""
    match step.opens:
        case Fan():
            return f"item {index}"
        case Loop():
            return f"iteration {index}"
        case Choice(cases=cases):
            return f"case {1 + [number for _, number in cases].index(block.body)}"
        case _:
            return ""


def chosen(scopes: Sequence[ShownScope], most: int) -> tuple[ShownScope, ...]:
    """Those that are worth showing: first what failed, then what is under way, then what did not simply succeed."""
    ranked = sorted(scopes, key=lambda scope: (_interest(scope.state), scope.index))
    return tuple(sorted(ranked[:most], key=lambda scope: scope.index))


def _interest(state: State | None) -> int:
    return {State.FAILED: 0, None: 1, State.SUCCEEDED: 3}.get(state, 2)


def states_of(step: PlanStep, block: Block, window: Mapping[State | None, int]) -> dict[str, int]:
    """How many scopes are in which state.

    Args:
        step: Whose they are.
        block: What it knows of them: of those before ``settled``, how many failed.
        window: Of those from ``settled`` to ``opened``; None is under way.
    """
    states = Counter({"Succeeded": block.settled - block.failed, "Failed": block.failed})
    for state, count in window.items():
        states["Running" if state is None else state.label] += count
    if isinstance(step.opens, Fan):
        states["Pending"] = block.size - block.opened
    return {state: count for state, count in states.items() if count}
