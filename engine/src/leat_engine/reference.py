"""What stands for an object in the store of runs and in expressions. Pure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from leat_engine.errors import LeatError
from leat_engine.job import StepKey

MARK = "$artifact"
"""The one key of a reference as a JSON value."""

OUTPUT = "output"
"""The name of an artifact that is a step's output, or a part of it."""

_KEY = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(/[A-Za-z0-9][A-Za-z0-9._-]*){5}")


class Foreign(LeatError):
    """A reference to what is not of the run's namespace, or no key at all. Nobody follows it."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One object.

    Attributes:
        key: ``namespace/run id/scope/step/attempt/name``; of a container's, `t1` for its first try.
        size: In bytes.
        sha256: In hex.
        content_type: As in HTTP.
    """

    key: str
    size: int
    sha256: str
    content_type: str

    def as_json(self) -> dict[str, Any]:
        """The form in the store and in expressions."""
        return {
            MARK: {"key": self.key, "size": self.size, "sha256": self.sha256, "contentType": self.content_type},
        }

    @property
    def step(self) -> str:
        """Name of the step that left it."""
        return self.key.split("/")[3]

    def key_within(self, namespace: str) -> str:
        """The key, once it is sure that a run of ``namespace`` may follow it.

        Raises:
            Foreign: It may not. References are values: a step can give any.
        """
        if not _KEY.fullmatch(self.key) or not self.key.startswith(f"{namespace}/"):
            raise Foreign(f"artifact {self.key[:200]!r} is not of namespace {namespace}; a run reads only its own")
        return self.key


def reference_in(value: Any) -> Reference | None:
    """The reference that a JSON value is, if it is one."""
    if not (isinstance(value, Mapping) and len(value) == 1):
        return None
    match value.get(MARK):
        case {"key": str(key), "size": int(size), "sha256": str(sha256), "contentType": str(content_type)}:
            return Reference(key, size, sha256, content_type)
        case _:
            return None


def places(output: Any) -> Iterator[tuple[tuple[str, ...], Reference]]:
    """References in a step's output and where: it is one, or members of it are, as the body of an answer."""
    found = reference_in(output)
    if found is not None:
        yield (), found
    elif isinstance(output, Mapping):
        for name, member in output.items():
            inner = reference_in(member)
            if inner is not None:
                yield (name,), inner


def prefix_of(namespace: str, run_id: UUID) -> str:
    """What the keys of a run begin with, and no others."""
    return f"{namespace}/{run_id}/"


def key_of(namespace: str, key: StepKey, step: str, attempt: int, name: str) -> str:
    """Where an attempt puts an artifact: a key that no other attempt has."""
    return f"{prefix_of(namespace, key.run_id)}{key.scope}/{step}/{attempt}/{name}"


def key_of_try(namespace: str, key: StepKey, step: str, try_number: int, name: str) -> str:
    """Where work that goes on without its runner puts an artifact: the same for all attempts that follow it.

    `leftover_artifacts` knows these keys by their ``t``.
    """
    return f"{prefix_of(namespace, key.run_id)}{key.scope}/{step}/t{try_number}/{name}"
