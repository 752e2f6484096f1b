"""What a store keeps of limits and of the cache, for runs that are played: lines, buckets, breakers, results.

It is the port `Tables` of the runner's gates. When a token is due and what a breaker lets through is decided by the
engine's machines; who is next in a line, as `enter.sql` and `grant.sql` have it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from leat_engine.bucket import Bucket, turn
from leat_engine.fuse import Pass, Position, Switch, ask, heard
from leat_engine.job import END, ROOT_SCOPE, Job, StepKey
from leat_engine.restraint import Fuse, Rate
from leat_engine.store.turns import Claimed, Entered, Key, Taken, Wish

Address = tuple[UUID, int, int, int]
"""Run, scope, step and its try; all 0 but the run for a whole run."""

_NEAR = 1e-5
"""Seconds that a timer may be early: who comes back then is in time. Else it would be sent away for no time at all."""


class Standing(Protocol):
    """What is known of those who ask."""

    def rank(self, key: StepKey, *, whole: bool) -> tuple[int, datetime]:
        """Priority of the run, and when the step, or the run, was opened."""
        ...

    def tried(self, key: StepKey) -> int | None:
        """Number of the attempt that is under way or waits, or None."""
        ...

    def goes_on(self, run_id: UUID) -> bool:
        """Whether the run is not over."""
        ...

    def parked(self, run_id: UUID) -> list[StepKey]:
        """Steps of the run that wait."""
        ...


@dataclass(slots=True)
class _Turn:
    key: Key | None = None
    capacity: int = 0
    rank: tuple[int, datetime] | None = None
    held: bool = False
    begun: bool = False
    due: float | None = None


class Ledger:
    """Limits and cached results. ``time`` gives the seconds on stage."""

    def __init__(self, standing: Standing, time: Callable[[], float]) -> None:
        self._standing = standing
        self._time = time
        self._turns: dict[Address, _Turn] = {}
        self._buckets: dict[Key, Bucket] = {}
        self._breakers: dict[Key, tuple[Switch, Address | None]] = {}
        self._cache: dict[Key, tuple[Any, float]] = {}

    # -- slots ----------------------------------------------------------------------------------------------------

    async def enter(self, claim: Claimed, key: Key, wish: Wish) -> Entered:
        """Ask for a slot; asking again changes nothing."""
        self._clear(key)
        address = _address(claim, whole=wish.whole)
        mine = self._turns.get(address)
        went_on = mine is not None and mine.begun
        jobs: list[Job] = []
        if mine is None:
            full = self._holders(key) >= wish.capacity
            free = not full and not any(self._line(key))
            if not free and not wish.queue:
                return Entered(held=None)
            rank = self._standing.rank(claim.key, whole=wish.whole)
            mine = self._turns[address] = _Turn(key, wish.capacity, rank, held=free)
            jobs = [] if free or full else self._granted(key)
        if mine.held:
            mine.begun = mine.begun or wish.begin
            return Entered(held=True, went_on=went_on, jobs=tuple(jobs))
        before = [other for other, _ in self._line(key)].index(address)
        return Entered(held=False, before=before, jobs=tuple(jobs))

    async def leave(self, claim: Claimed, key: Key | None) -> list[Job]:
        """The attempt has ended: whoever is next in the line of its key may begin."""
        self._turns.pop(_address(claim), None)
        return [] if key is None else await self.grant(key)

    async def grant(self, key: Key, parked: Sequence[StepKey] = ()) -> list[Job]:
        """Give the free slots of a key to the first in its line; jobs of those who may go on."""
        self._clear(key)
        jobs = self._granted(key)
        begun = {run for (run, _, step, _), turn in self._of(key) if step == END and turn.begun}
        return jobs + [_job(step) for step in parked if step.run_id in begun]

    async def others(self, key: Key, run_id: UUID) -> list[UUID]:
        """Runs that have a slot of a key of runs, or wait for one, and are older than this one."""
        mine = next((turn.rank for (run, *_), turn in self._of(key) if run == run_id), None)
        if mine is None:
            return []
        older = [(turn.rank[1], run) for (run, *_), turn in self._of(key) if turn.rank is not None]
        return [run for since, run in older if (since, run) < (mine[1], run_id)]

    def _granted(self, key: Key) -> list[Job]:
        line, holders = list(self._line(key)), self._holders(key)
        for place, (_, waiting) in enumerate(line, 1):
            if holders + place > waiting.capacity:
                break  # who does not fit lets nobody pass
            waiting.held = True
        called = [address for address, turn in self._of(key) if turn.held and not turn.begun and turn.due is None]
        return [_job(step) for address in called for step in self._steps(address)]

    def _steps(self, address: Address) -> list[StepKey]:
        run, scope, step, _ = address
        return [StepKey(run, scope, step)] if step else self._standing.parked(run)

    def _of(self, key: Key) -> list[tuple[Address, _Turn]]:
        return [(address, turn) for address, turn in self._turns.items() if turn.key == key]

    def _holders(self, key: Key) -> int:
        return sum(turn.held for _, turn in self._of(key))

    def _line(self, key: Key) -> Iterator[tuple[Address, _Turn]]:
        waiting = [(address, turn) for address, turn in self._of(key) if not turn.held]
        yield from sorted(waiting, key=lambda each: (*_order(each[1]), each[0]))

    def _clear(self, key: Key) -> None:
        """Slots and places of tries that are over are taken away."""
        for address, _ in self._of(key):
            run, scope, step, number = address
            tried = self._standing.tried(StepKey(run, scope, step))
            if not self._standing.goes_on(run) or (step and tried != number):
                del self._turns[address]

    # -- buckets --------------------------------------------------------------------------------------------------

    async def take(self, claim: Claimed, key: Key, rate: Rate) -> Taken:
        """Ask for a start, or come back when it is due."""
        mine = self._turns.setdefault(_address(claim), _Turn())
        if mine.begun:
            return Taken(went_on=True)
        now, due = self._time(), mine.due
        if due is not None and 0 < due - now < _NEAR:
            now = due
        bucket = self._buckets.get(key, Bucket(0.0, 0.0))
        self._buckets[key], answer = turn(bucket, rate.interval, rate.burst, now, due)
        mine.due, mine.begun = answer.due, answer.counted
        return Taken(wait=max(0.0, answer.due - now), counted=answer.counted)

    # -- breakers -------------------------------------------------------------------------------------------------

    async def ask(self, claim: Claimed, key: Key, fuse: Fuse) -> Pass:
        """May the attempt go?"""
        switch, _ = self._switch(key)
        answer = ask(switch, fuse, self._now)
        if answer.probe:
            self._breakers[key] = (switch, _address(claim))
        return answer

    async def tell(self, claim: Claimed, key: Key, fuse: Fuse, *, failed: bool) -> Position:
        """How an attempt ended that the breaker had let through; what the breaker is now."""
        switch, probe = self._switch(key)
        after = heard(switch, fuse, self._now, failed=failed, probe=probe == _address(claim))
        if after != switch:
            self._breakers[key] = (after, None)
        return after.position(self._now)

    def _switch(self, key: Key) -> tuple[Switch, Address | None]:
        switch, probe = self._breakers.get(key, (Switch(), None))
        probing = probe is not None and self._standing.tried(StepKey(*probe[:3])) == probe[3]
        return Switch(switch.failures, switch.open_until, probing), probe

    # -- cache ----------------------------------------------------------------------------------------------------

    async def cached(self, key: Key) -> tuple[Any] | None:
        """A result that may be taken, in a tuple of its own: null is a result too."""
        output, until = self._cache.get(key, (None, float("-inf")))
        return (output,) if self._now < until else None

    async def keep(self, key: Key, output: Any, ttl: float, run_id: UUID) -> None:  # noqa: ARG002  the port's signature
        """Let this result be taken from now on."""
        self._cache[key] = (output, self._now + ttl)

    @property
    def _now(self) -> float:
        """Whole milliseconds: a timer may be a microsecond early, and what it waited for is over then."""
        return round(self._time(), 3)


def _address(claim: Claimed, *, whole: bool = False) -> Address:
    run, scope, step = claim.key
    return (run, ROOT_SCOPE, END, 0) if whole else (run, scope, step, claim.try_number)


def _order(turn: _Turn) -> tuple[int, datetime]:
    assert turn.rank is not None  # noqa: S101  who stands in a line has one
    priority, opened_at = turn.rank
    return -priority, opened_at


def _job(key: StepKey) -> Job:
    """To wake a step on stage takes no more than its key."""
    return Job(key, 0, "")
