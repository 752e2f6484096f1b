"""From kopf's thread to the main loop: what was seen, in order, many at a time."""

import asyncio
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from leat_engine.pools import Announced
from leat_operator.objects import Ref, Resource


@dataclass(frozen=True, slots=True)
class Present:
    """An object as the API server shows it: new, changed, or told again."""

    resource: Resource
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Absent:
    """An object that is said not to be there any more.

    A finished run leaves the watch's field selector, which looks exactly like its deletion: whoever takes this asks.
    """

    ref: Ref
    run_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class News:
    """What the pools that are known can do has changed."""

    pools: Mapping[str, Announced]


Notice = Present | Absent | News


class Inbox:
    """A queue into the loop that makes it. `put` may be called from any thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._notices: deque[Notice] = deque()
        self._woken = asyncio.Event()
        self._called = False

    def put(self, notice: Notice) -> None:
        """Add a notice. The loop is called once for all that are added before it looks."""
        self._notices.append(notice)
        if not self._called:
            self._called = True
            self._loop.call_soon_threadsafe(self._woken.set)

    async def take(self, limit: int, wait: float) -> list[Notice]:
        """Up to ``limit`` notices, as soon as there is one; none after ``wait`` seconds."""
        if not self._notices:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._woken.wait()
        self._woken.clear()
        self._called = False  # before looking: what is added from here on calls again
        count = min(len(self._notices), limit)
        return [self._notices.popleft() for _ in range(count)]
