"""Pools of runners, as they are announced and as they are."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Announced:
    """What the newest runner of a pool said that it can do.

    Attributes:
        revision: Of the pods that a RunnerPool describes, or "" when the runner is of none.
        slots: Of one runner.
    """

    name: str
    revision: str
    kinds: frozenset[str]
    functions: frozenset[str]
    slots: int
    announced_at: datetime


@dataclass(frozen=True, slots=True)
class Ability:
    """What a runner announces of its pool when it registers."""

    kinds: tuple[str, ...]
    functions: tuple[str, ...] = ()
    revision: str = ""


@dataclass(frozen=True, slots=True)
class Member:
    """A runner that is alive.

    Attributes:
        busy: Slots in use.
        held_seconds: How long it has held its oldest running step, or None when it is idle.
        draining: It takes nothing more.
    """

    name: str
    pool: str
    slots: int
    busy: int
    draining: bool
    heartbeat_at: datetime
    held_seconds: float | None


@dataclass(frozen=True, slots=True)
class Backlog:
    """Attempts that wait for a slot, and for how long the first one does."""

    waiting: int
    oldest_seconds: float
