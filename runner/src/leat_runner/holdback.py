"""First steps of opened scopes that this runner will get to itself in a moment: they are not told to the broker.

A message costs as much as a short step. So of the items that a runner opens and has no slots for, it holds back as many
as slots came free in the last moment, and claims them when slots are free; what is still here a moment later goes to
the broker, for all. Long steps free few slots, and are shared at once. In the store the steps are ready like any other:
should the runner die, they are found and told there.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence

from leat_engine.job import Job

HOLD = 0.05
"""Seconds that a step is held back at most, and over which it is counted how many slots come free."""


class HoldBack:
    """``freed``: how many slots have come free, ever. ``tell``: publishes jobs."""

    def __init__(
        self,
        freed: Callable[[], int],
        tell: Callable[[Sequence[Job]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._freed = freed
        self._tell = tell
        self._clock = clock
        self._held: deque[tuple[float, Job]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._seen = (clock(), freed())
        self._pace = 0.0  # slots that come free in `HOLD` seconds

    def __bool__(self) -> bool:
        """Whether something is held back."""
        return bool(self._held)

    def put(self, jobs: Sequence[Job], waiting: int) -> None:
        """Hold back what this runner gets to in time, behind ``waiting`` others; tell the rest."""
        room = max(0, round(self._measured()) - waiting - len(self._held))
        until = self._clock() + HOLD
        self._held.extend((until, job) for job in jobs[:room])
        if jobs[room:]:
            self._tell(jobs[room:])
        self._wait()

    def take(self, count: int) -> list[Job]:
        """The first of what is held back: the caller claims them."""
        return [self._held.popleft()[1] for _ in range(min(count, len(self._held)))]

    def let_go(self) -> None:
        """Tell everything."""
        jobs = self.take(len(self._held))
        if jobs:
            self._tell(jobs)

    def _measured(self) -> float:
        before, freed = self._seen
        now = self._clock()
        if now - before >= HOLD:
            self._pace = (self._freed() - freed) * HOLD / (now - before)
            self._seen = (now, self._freed())
        return self._pace

    def _wait(self) -> None:
        if self._held and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._held[0][0] - self._clock(), self._due)

    def _due(self) -> None:
        self._timer = None
        now = self._clock()
        due = self.take(sum(until <= now for until, _ in self._held))
        if due:
            self._tell(due)
        self._wait()
