"""Whether an object is still as it was applied. Pure but for its memory.

What is applied and what is shown differ: the API server fills in defaults and rewrites quantities. So the answer to an
apply is remembered, as far as it was asked for; whatever differs from that later was changed by somebody else. An
operator that has just started remembers nothing and applies everything once, which costs etcd nothing where nothing
differs.
"""

from collections.abc import Hashable, Mapping
from typing import Any

Body = Mapping[str, Any]


class Drift:
    """What was applied, and how the API server showed it then."""

    def __init__(self) -> None:
        self._applied: dict[Hashable, tuple[Body, Any]] = {}

    def differs(self, key: Hashable, body: Body, shown: Body) -> bool:
        """Whether ``body`` has to be applied to what is ``shown`` now."""
        known = self._applied.get(key)
        return known is None or known[0] != body or known[1] != _seen(shown, body)

    def applied(self, key: Hashable, body: Body, answer: Body) -> None:
        """Remember what the API server answered."""
        self._applied[key] = body, _seen(answer, body)

    def forget(self, key: Hashable) -> None:
        """Apply it again, whatever is shown."""
        self._applied.pop(key, None)


def _seen(shown: Body, asked: Body) -> Any:
    """What is shown without what an object in a list does not have."""
    return projected(shown, {key: value for key, value in asked.items() if key not in {"apiVersion", "kind"}})


def projected(shown: Any, asked: Any) -> Any:
    """The parts of what is shown that were asked for."""
    if isinstance(asked, Mapping) and isinstance(shown, Mapping):
        return {key: projected(shown.get(key), value) for key, value in asked.items()}
    if isinstance(asked, list) and isinstance(shown, list) and len(asked) == len(shown):
        return [projected(*pair) for pair in zip(shown, asked, strict=True)]
    return shown
