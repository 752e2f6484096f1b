"""Which variables an expression may read, and the reasons when it reads others."""

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from leat_engine.expression.tree import Path
from leat_engine.spelling import unknown

Names = Mapping[str, frozenset[str] | None]
"""Variables by name; the members each is known to have, or None when any member may be there."""


class Members(frozenset[str]):
    """Names that may be read. ``elsewhere``: what to say of some that are there and may not."""

    elsewhere: Mapping[str, str] = MappingProxyType({})


MEMBERS_OF_STEP = frozenset({"state", "output", "error", "artifacts"})
MEMBERS_OF_RUN = frozenset({"id", "name", "namespace", "workflow", "phase"})
_NOUNS = {"inputs": "input", "steps": "step", "vars": "variable", "run": "field of run"}


def check_names(paths: Iterable[Path], names: Names) -> Iterator[str]:
    """A sentence for each path that leads to nothing."""
    for variable, *fields in paths:
        members = names[variable]
        if variable == "steps" and not fields:
            yield "reads `steps` as a whole; name the step, as in steps.NAME.output, so that its need is known"
        elif isinstance(members, Members) and fields and fields[0] not in members and fields[0] in members.elsewhere:
            yield members.elsewhere[fields[0]]
        elif members is not None and fields and fields[0] not in members:
            yield unknown(_NOUNS.get(variable, "field"), fields[0], members)
        elif variable == "steps" and len(fields) > 1 and fields[1] not in MEMBERS_OF_STEP:
            yield unknown(f"field of steps.{fields[0]}", fields[1], MEMBERS_OF_STEP)
