"""Where attempts stand before they may execute: what the gates of runs and of steps share."""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

import structlog
from prometheus_client import Counter

from leat_engine.errors import StoreUnavailable
from leat_engine.fuse import Pass, Position
from leat_engine.job import Job, StepKey
from leat_engine.records import Stop
from leat_engine.restraint import Fuse, Rate
from leat_engine.result import ErrorType, Outcome, Parked, StepError
from leat_engine.store.turns import Claimed, Entered, Key, Taken, Wish
from leat_engine.view import RunView
from leat_runner.desk import persistently

if TYPE_CHECKING:
    from leat_runner.attempt import Attempt

NOTE_CHARS = 512

log = structlog.get_logger()
MET = Counter("leat_limited", "Attempts that a limit held back, by what came of it", ["limit", "came"])

Aside = Callable[[Coroutine[Any, Any, Any]], None]
Publish = Callable[[Sequence[Job]], Coroutine[Any, Any, None]]


class Tables(Protocol):
    """What is kept of limits and results: `store.turns`, or where a run is only rehearsed, something in memory."""

    async def enter(self, claim: Claimed, key: Key, wish: Wish) -> Entered:
        """Ask for a slot."""
        ...

    async def leave(self, claim: Claimed, key: Key | None) -> list[Job]:
        """The attempt has ended."""
        ...

    async def grant(self, key: Key, parked: Sequence[StepKey] = ()) -> list[Job]:
        """Give the free slots of a key to the first in its line."""
        ...

    async def others(self, key: Key, run_id: UUID) -> list[UUID]:
        """Older runs that have a slot of a key of runs, or wait for one."""
        ...

    async def take(self, claim: Claimed, key: Key, rate: Rate) -> Taken:
        """Ask for a start."""
        ...

    async def ask(self, claim: Claimed, key: Key, fuse: Fuse) -> Pass:
        """May the attempt go?"""
        ...

    async def tell(self, claim: Claimed, key: Key, fuse: Fuse, *, failed: bool) -> Position:
        """How an attempt ended that the breaker had let through."""
        ...

    async def cached(self, key: Key) -> tuple[Any] | None:
        """A result that may be taken."""
        ...

    async def keep(self, key: Key, output: Any, ttl: float, run_id: UUID) -> None:
        """Let this result be taken from now on."""
        ...


class Books(Protocol):
    """What gates need of a store."""

    @property
    def turns(self) -> Tables:
        """Of limits and results."""
        ...

    async def note(self, runner: int, key: StepKey, attempt: int, text: str | None) -> bool:
        """Tell what a step waits for."""
        ...

    async def stop(self, run_id: UUID, stop: Stop) -> list[Job]:
        """End a run before its time."""
        ...


@dataclass(slots=True)
class Lobby:
    """The store behind the gates of one runner, and who is just being parked in a line.

    Attributes:
        runner: The id that the store has to know as the claim's.
        lines: The keys of those who are being parked in a line.
        net: Seconds after which who stands in a line looks for itself; who frees a slot wakes the next one at once.
        run_net: The same for steps that stand behind their run. The caretakers do not see which these are.
    """

    store: Books
    publish: Publish
    aside: Aside
    runner: int = 0
    net: float = 300.0
    run_net: float = 60.0
    lines: dict[StepKey, Key] = field(default_factory=dict)

    @property
    def turns(self) -> Tables:
        """The tables of the limits."""
        return self.store.turns

    def claimed(self, attempt: "Attempt") -> Claimed:
        """The claim that asks."""
        return Claimed(self.runner, attempt.key, attempt.number, attempt.number - attempt.broken_off)

    def hand_over(self, jobs: Sequence[Job]) -> None:
        """These steps are ready: publish them."""
        if jobs:
            self.aside(self.publish(jobs))

    async def note(self, attempt: "Attempt", text: str) -> None:
        """Tell people what became of the attempt, before it is parked or over."""
        said = (self.runner, attempt.key, attempt.number, text[:NOTE_CHARS])
        await persistently("note", lambda: self.store.note(*said))

    async def wait(self, attempt: "Attempt", seconds: float, note: str) -> Outcome:
        """Park the attempt, until its deadline at the most."""
        left = time_left(attempt)
        await self.note(attempt, note)
        return Parked(attempt.clock() + timedelta(seconds=seconds if left is None else min(seconds, left)))

    async def stop(self, view: RunView, stop: Stop) -> None:
        """Stop the attempt's own run."""
        self.hand_over(await persistently("stop", lambda: self.store.stop(view.run_id, stop)))
        view.stopping, view.error = stop.phase, stop.error

    async def grant(self, key: Key, parked: Sequence[StepKey] = ()) -> None:
        """Let whoever is next in a line go on; ``parked`` are those who came to it just now."""
        try:
            self.hand_over(await self.turns.grant(key, parked))
        except StoreUnavailable as error:
            log.warning("grant_held", key=key.text, reason=str(error))  # the caretakers do it

    async def leave(self, attempt: "Attempt", key: Key | None) -> None:
        """The attempt has ended: give its slot to whoever is next."""
        try:
            self.hand_over(await self.turns.leave(self.claimed(attempt), key))
        except StoreUnavailable as error:
            log.warning("leave_held", step=attempt.node.name, reason=str(error))  # the caretakers do it


def lost(attempt: "Attempt") -> Outcome:
    """The claim is somebody else's already: to write anything is refused, and the runner then asks what is its own."""
    return Parked(attempt.clock())


def time_left(attempt: "Attempt") -> float | None:
    """Seconds until the step's deadline, or None without one."""
    deadline = attempt.node.deadline
    return None if deadline is None else deadline - (attempt.clock() - attempt.opened_at).total_seconds()


def busy(key: Key, limit: int) -> StepError:
    """The error of who is rejected."""
    message = f"all {limit} slots of concurrency {key.text} are taken, and onConflict is reject"
    return StepError(ErrorType.BUSY, message, retriable=False, details={"key": key.text, "limit": limit})
