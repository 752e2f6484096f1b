"""Sensitive inputs are never shown, wherever a step has copied them to."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

REDACTED = "[redacted]"

_SHORTEST_PART = 4
"""A shorter value is part of ordinary words: replacing it inside texts would tell it by what is missing."""


@dataclass(frozen=True, slots=True)
class Redaction:
    """What must not be shown of one run: every scalar inside its sensitive inputs, as text."""

    texts: tuple[str, ...] = ()

    @classmethod
    def of(cls, sensitive: frozenset[str], inputs: Mapping[str, Any]) -> "Redaction":
        """The redaction of a run with these inputs, ``sensitive`` being the names of those that are."""
        found = {text for name in sensitive for text in _texts(inputs.get(name)) if text}
        return cls(tuple(sorted(found, key=len, reverse=True)))  # longest first: one value may hold another one

    def text(self, text: str) -> str:
        """The text with nothing sensitive left in it."""
        if text in self.texts:
            return REDACTED
        for secret in self.texts:
            if len(secret) >= _SHORTEST_PART:
                text = text.replace(secret, REDACTED)
        return text

    def value(self, value: Any) -> Any:
        """The JSON value with nothing sensitive left in it, keys included."""
        if not self.texts:
            return value
        match value:
            case str():
                return self.text(value)
            case Mapping():
                return {self.text(name): self.value(inner) for name, inner in value.items()}
            case list() | tuple():
                return [self.value(inner) for inner in value]
            case int() | float() if not isinstance(value, bool):
                return REDACTED if str(value) in self.texts else value
            case _:
                return value


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case Mapping():
            for inner in value.values():
                yield from _texts(inner)
        case list() | tuple():
            for inner in value:
                yield from _texts(inner)
        case int() | float() if not isinstance(value, bool):
            yield str(value)
        case _:  # null and booleans are no secrets: hiding them would hide every null
            return
