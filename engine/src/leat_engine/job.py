"""The job: one ready step attempt as a message, and the ids that everything is addressed by."""

from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any, NamedTuple
from uuid import UUID

import orjson

ROOT_SCOPE = 0
"""The scope that is the run itself. Bodies (items, iterations, cases) get numbers of their own."""


END = 0
"""The node that ends a scope: it needs every leaf, evaluates the scope's output and settles its phase."""


class StepKey(NamedTuple):
    """The address of a step: the run, the scope within the run, the node of the plan."""

    run_id: UUID
    scope: int
    step: int


@dataclass(frozen=True, slots=True)
class Job:
    """One ready step attempt: "this may be claimed". Losing or doubling one costs time, never truth.

    Attributes:
        attempt: From 1. Fences every write of the claim.
        pool: The pool whose runners may claim it.
        priority: 0 (default) to 9; higher is claimed first.
        traceparent: W3C trace context that the run was started in, or "" for `traceparent_of`.
    """

    key: StepKey
    attempt: int
    pool: str
    priority: int = 0
    traceparent: str = ""

    def encode(self) -> bytes:
        """The message body."""
        run_id, scope, step = self.key
        return orjson.dumps([run_id.hex, scope, step, self.attempt, self.pool, self.priority, self.traceparent])

    @classmethod
    def decode(cls, body: bytes) -> "Job":
        """Read a message body.

        Raises:
            ValueError: The body is not a job of this version.
        """
        try:
            run_id, scope, step, attempt, pool, priority, traceparent = orjson.loads(body)
            return cls(StepKey(UUID(hex=run_id), int(scope), int(step)), int(attempt), pool, int(priority), traceparent)
        except (TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"not a job: {body[:80]!r}") from error


def uuid7(at: datetime, entropy: bytes) -> UUID:
    """A UUIDv7 (RFC 9562, section 5.7): 48 bits of milliseconds, then 74 bits of ``entropy`` (10 bytes at least).

    The same arguments give the same id, so accepting a resource twice meets the same row.
    """
    return _uuid7(int(at.timestamp() * 1000), entropy)


def _uuid7(milliseconds: int, entropy: bytes) -> UUID:
    bits = int.from_bytes(entropy[:10], "big")
    value = (
        (milliseconds & (2**48 - 1)) << 80 | 0x7 << 76 | (bits >> 62 & 0xFFF) << 64 | 0b10 << 62 | bits & (2**62 - 1)
    )
    return UUID(int=value)


def run_id_of(uid: str, created_at: datetime) -> UUID:
    """The id of the run that stands for a resource: a pure function of what never changes about the resource."""
    return uuid7(created_at, blake2b(uid.encode(), digest_size=10).digest())


def child_id_of(key: StepKey, number: int) -> UUID:
    """The id of the run that a try of a step starts: a pure function of that try, so that starting it twice is once.

    It has the time of its parent's, so that both are in one partition and go together. ``number``: of the try, from 1.
    """
    entropy = blake2b(f"{effect_key(key)}/{number}".encode(), digest_size=10).digest()
    return _uuid7(key.run_id.int >> 80, entropy)


def traceparent_of(run_id: UUID) -> str:
    """The W3C trace context of a run that was not started within a trace: its id is the id of the trace."""
    return f"00-{run_id.hex}-{blake2b(run_id.bytes, digest_size=8).hexdigest()}-01"


def effect_key(key: StepKey) -> str:
    """The idempotency key of a step's effect, the same for all attempts: ``run/scope/step``."""
    return f"{key.run_id}/{key.scope}/{key.step}"


def dumps(value: Any) -> str:
    """JSON text of a value as it is stored and sent.

    Raises:
        TypeError: The value, or one inside it, is not a JSON value.
    """
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()
