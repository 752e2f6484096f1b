"""What expressions look into, as far as large outputs are concerned. Pure.

A large output is in the object store, and a reference stands for it. An expression that is a path and nothing else
hands on what it finds there; any other one needs the value, which is then fetched before the expression is evaluated.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from leat_engine.errors import Reason
from leat_engine.expression import Template
from leat_engine.reference import Reference, places
from leat_engine.spelling import unknown


class Look(NamedTuple):
    """One reading of a step's output.

    Attributes:
        step: Its name.
        below: The fields that are read of the output.
        bare: What is found is handed on as it is.
    """

    step: str
    below: tuple[str, ...]
    bare: bool


def looks_of(templates: Iterable[Template | None], *, into: Template | None = None) -> tuple[Look, ...]:
    """What templates read of steps' outputs. ``into``: one that is always looked into, such as a list of items."""
    found: dict[Look, None] = {}
    for template in templates:
        for spot in template.expressions() if template is not None else ():
            for path in spot.reads:
                if path[0] == "steps" and len(path) > 1 and (len(path) == 2 or path[2] == "output"):
                    found[Look(path[1], path[3:], spot.bare and template is not into)] = None
    return tuple(found)


def wanted(look: Look, output: Any) -> Iterator[tuple[tuple[str, ...], Reference]]:
    """The references in an output that have to be fetched for the look, and where they are."""
    for place, reference in places(output):
        inside = look.below[: len(place)] == place
        if (inside and len(look.below) > len(place)) or (
            not look.bare and (inside or place[: len(look.below)] == look.below)
        ):
            yield place, reference


def undeclared(templates: Iterable[Template | None], declared: Mapping[str, frozenset[str]]) -> Iterator[Reason]:
    """A reason for each artifact that is read and that its step does not leave."""
    for template in templates:
        for spot in template.expressions() if template is not None else ():
            for path in spot.reads:
                if path[0] != "steps" or path[2:3] != ("artifacts",):
                    continue
                names = declared.get(path[1], frozenset())
                if not names:
                    yield Reason(spot.path, f"step {path[1]!r} has no `artifacts`; declare there what it leaves")
                elif len(path) > 3 and path[3] not in names:
                    yield Reason(spot.path, unknown(f"artifact of step {path[1]}", path[3], names))
