"""What the steps of a run have left in the artifact store, as `leat artifacts` lists it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from leat_engine.store.artifacts import Kept


@dataclass(frozen=True, slots=True)
class ArtifactSnapshot:
    """One artifact. ``scope``: of a step in a body, which time; ``size`` in bytes; ``sha256`` in hex."""

    step: str
    name: str
    scope: int
    size: int
    sha256: str
    content_type: str
    key: str

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> "ArtifactSnapshot":
        """Return an item of a `RunArtifacts`."""
        names = ("step", "name", "scope", "size", "sha256", "contentType", "key")
        return cls(*(found[name] for name in names))

    @classmethod
    def recorded(cls, kept: "Kept") -> "ArtifactSnapshot":
        """Return what the store has."""
        found = kept.reference
        return cls(kept.step, kept.name, kept.key.scope, found.size, found.sha256, found.content_type, found.key)

    def as_json(self) -> dict[str, Any]:
        """Return it as `leat artifacts list -o json` prints it."""
        return {
            "step": self.step,
            "name": self.name,
            "scope": self.scope,
            "size": self.size,
            "sha256": self.sha256,
            "contentType": self.content_type,
            "key": self.key,
        }
