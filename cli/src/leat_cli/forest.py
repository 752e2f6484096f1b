"""The steps of a run as a forest, by what they need. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import TopologicalSorter

from leat_cli.snapshot import StepSnapshot

_DEEPEST = 12  # levels that are indented; what lies deeper stands below its need without another indent


@dataclass(frozen=True, slots=True)
class Placed:
    """A step and where it is drawn.

    Attributes:
        guide: Lines that lead to it from the left; under: those that go on below it.
        also: What it needs besides the step that it hangs from.
    """

    step: StepSnapshot
    guide: str
    also: tuple[str, ...]
    under: str = ""


def placed(steps: Sequence[StepSnapshot]) -> Iterator[Placed]:
    """Yield every step once, from top to bottom.

    A step hangs from the need that is farthest from the start, of several the last one: whatever it waits for is above.
    """
    known = {step.name: step for step in steps}
    needs = {step.name: [need for need in step.needs if need in known] for step in steps}
    depths = _depths(needs)
    order = {step.name: number for number, step in enumerate(steps)}
    parents = {
        name: max(found, key=lambda need: (depths[need], order[need])) if found else "" for name, found in needs.items()
    }
    children: dict[str, list[str]] = {"": [], **{step.name: [] for step in steps}}
    for step in steps:
        children[parents[step.name]].append(step.name)
    open_ends = [(name, "", name == children[""][-1]) for name in reversed(children[""])]
    while open_ends:
        name, before, last = open_ends.pop()
        parent = parents[name]
        under = before + ("   " if last else "│  ")
        below = under if depths[name] < _DEEPEST else before
        guide, also = before + ("└─ " if last else "├─ "), tuple(n for n in needs[name] if n != parent)
        yield Placed(known[name], guide, also, under)
        open_ends += [(child, below, child == children[name][-1]) for child in reversed(children[name])]


def outline(steps: Sequence[StepSnapshot], before: str = "") -> Iterator[Placed]:
    """Yield every step, and below each one with bodies what it has opened.

    An item, an iteration, a case is a line of its own above its steps; where `forEach` or `repeat` is written on a
    kind, that kind's step is the line. A line without a state says how many more there are.
    """
    for place in placed(steps):
        yield replace(place, guide=before + place.guide, under=before + place.under)
        below = before + place.guide.replace("├─ ", "│  ").replace("└─ ", "   ")
        yield from _inside(place.step, place.step.name, below + "┆ ")


def _inside(step: StepSnapshot, name: str, guide: str) -> Iterator[Placed]:
    if step.scopes is None:
        return
    for scope in step.scopes.shown:
        if not scope.label:
            yield from outline(scope.steps, guide)
        elif [inner.name for inner in scope.steps] == [name]:
            (inner,) = scope.steps
            yield Placed(replace(inner, name=scope.label), guide, ())
            yield from _inside(inner, name, guide + "┆ ")
        else:
            yield Placed(StepSnapshot(scope.label, "", scope.state), guide, ())
            yield from outline(scope.steps, guide + "┆ ")
    if rest := step.scopes.rest:
        states = ", ".join(f"{count:,} {state}" for state, count in rest.items())
        yield Placed(StepSnapshot(f"… and {sum(rest.values()):,} more: {states}", "", ""), guide, ())


def _depths(needs: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Return how many steps lie before each one on its longest way. A plan has no cycles."""
    depths: dict[str, int] = {}
    for name in TopologicalSorter(needs).static_order():
        depths[name] = 1 + max((depths[need] for need in needs[name]), default=-1)
    return depths
