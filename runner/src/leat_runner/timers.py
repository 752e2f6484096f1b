"""The timers that this runner set itself, so that they fire in time. The caretakers fire all others, a little later."""

import asyncio
import heapq
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

LONGEST = 86_400.0
"""Seconds that a timer is kept here: for one that is set for longer, the caretakers do."""


class Timers:
    """Calls ``fire`` whenever one of them is due; several that are due together cause one call."""

    def __init__(self, fire: Callable[[], Awaitable[None]]) -> None:
        self._fire = fire
        self._due: list[float] = []
        self._changed = asyncio.Event()

    def set(self, seconds: float) -> None:
        """Fire in so many seconds, if that is soon."""
        if seconds > LONGEST:
            return
        heapq.heappush(self._due, time.monotonic() + seconds)
        self._changed.set()

    async def loop(self) -> None:
        """Fire what is due, for ever."""
        while True:
            self._changed.clear()
            wait = self._due[0] - time.monotonic() if self._due else None
            if wait is not None and wait <= 0:
                now = time.monotonic()
                while self._due and self._due[0] <= now:
                    heapq.heappop(self._due)
                await self._fire()
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._changed.wait()
