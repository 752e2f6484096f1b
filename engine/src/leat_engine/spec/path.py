"""Field paths, as messages name them."""

from collections.abc import Sequence

Location = Sequence[str | int]


def field_path(base: str, location: Location) -> str:
    """``spec.steps[2].http.url`` of a base and the keys and indexes below it."""
    for part in location:
        base += f"[{part}]" if isinstance(part, int) else f".{part}" if base else part
    return base
