"""What steps share and nobody owns: connections, kept while they are used and for a while after.

Opening one costs round trips, a handshake and often a hash of a password, so steps that go to the same place use the
same one. How many are kept is bounded, and so is how long: a password that is taken back is of use until then.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import structlog

MOST = 32
"""Places of one kind that are kept while nobody uses them."""

IDLE = 60.0
"""Seconds that one is kept after its last use."""

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Place(Generic[T]):
    """One thing that is kept, or is about to be opened. ``timer`` runs while nobody uses it."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    value: T | None = None
    users: int = 0
    timer: asyncio.TimerHandle | None = None


class Kept(Generic[K, T]):
    """Opens one thing per key and lends it to all who ask.

    Args:
        opening: Opens what a key leads to. It may fail; the next who asks has it opened anew.
        closing: Closes it, in bounded time.
        usable: Whether it can still be lent.
    """

    def __init__(
        self,
        opening: Callable[[K], Awaitable[T]],
        closing: Callable[[T], Awaitable[None]],
        usable: Callable[[T], bool],
        idle: float = IDLE,
    ) -> None:
        self._opening = opening
        self._closing = closing
        self._usable = usable
        self._idle = idle
        self._places: dict[K, _Place[T]] = {}
        self._ends: set[asyncio.Task[None]] = set()

    @property
    def keys(self) -> list[K]:
        """What is kept, the one that was used last at the end."""
        return list(self._places)

    @asynccontextmanager
    async def lent(self, key: K) -> AsyncIterator[T]:
        """Yield what ``key`` leads to; others may use it at the same time."""
        place = self._places.pop(key, None)
        if place is not None and place.value is not None and not self._usable(place.value):
            self._retire(place)  # whoever uses it still may see its end
            place = None
        if place is None:
            place = _Place[T]()
        self._places[key] = place  # at the end: what is used comes last
        place.users += 1
        if place.timer is not None:
            place.timer.cancel()
            place.timer = None
        try:
            yield await self._opened(key, place)
        finally:
            place.users -= 1
            if not place.users:
                self._rest(key, place)

    async def close(self) -> None:
        """Close everything; called when nobody uses anything any more."""
        for key in self.keys:
            self._drop(key)
        while self._ends:
            await asyncio.gather(*self._ends)

    async def _opened(self, key: K, place: _Place[T]) -> T:
        async with place.lock:
            if place.value is None:
                place.value = await self._opening(key)
            return place.value

    def _rest(self, key: K, place: _Place[T]) -> None:
        """Nobody uses it now: keep it for a while, and of many the ones that were used last."""
        if self._places.get(key) is not place:  # retired while it was lent
            self._retire(place)
        elif place.value is None or not self._usable(place.value):
            self._drop(key)
        else:
            place.timer = asyncio.get_running_loop().call_later(self._idle, self._drop, key)
            unused = [other for other, it in self._places.items() if not it.users]
            for other in unused[: max(0, len(unused) - MOST)]:
                self._drop(other)

    def _drop(self, key: K) -> None:
        self._retire(self._places.pop(key))

    def _retire(self, place: _Place[T]) -> None:
        """Close what is not kept any more, as soon as nobody uses it."""
        if place.timer is not None:
            place.timer.cancel()
        if place.value is not None and not place.users:
            self._end(place.value)

    def _end(self, value: T) -> None:
        task = asyncio.ensure_future(self._closed(value))
        self._ends.add(task)
        task.add_done_callback(self._ends.discard)

    async def _closed(self, value: T) -> None:
        try:
            await self._closing(value)
        except Exception as error:  # noqa: BLE001  it is gone either way, and no step is wrong because of it
            log.warning("connection.not_closed", error=type(error).__name__)
