"""The steps of a run as a forest, by what they need. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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


def _depths(needs: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Return how many steps lie before each one on its longest way. A plan has no cycles."""
    depths: dict[str, int] = {}
    for name in TopologicalSorter(needs).static_order():
        depths[name] = 1 + max((depths[need] for need in needs[name]), default=-1)
    return depths
