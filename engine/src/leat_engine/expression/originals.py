"""Large outputs in expressions: what looks into one gets its value, what only hands it on gets the reference."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from leat_engine.expression.tree import Path
from leat_engine.reference import reference_in

ORIGINALS = "\0originals"
"""The binding of outputs as they are in the store, by step, of those steps whose large outputs were fetched."""


@dataclass(frozen=True, slots=True)
class Found:
    """A value that is there, null included."""

    value: Any


def original(path: Path, originals: Mapping[str, Any]) -> Found | None:
    """What is at the path, references left as they are; None when it leads into one, or to another step."""
    if len(path) < 3 or path[0] != "steps" or path[2] != "output" or path[1] not in originals:
        return None
    value = originals[path[1]]
    for name in path[3:]:
        if reference_in(value) is not None or not isinstance(value, Mapping) or name not in value:
            return None
        value = value[name]
    return Found(value)
