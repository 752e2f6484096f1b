"""What a runner holds right now: its id, its runs, its running attempts and its slots."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar
from uuid import UUID

import structlog
from cachetools import TTLCache

from leat_engine.errors import StoreUnavailable
from leat_engine.job import END, StepKey
from leat_engine.kind import Kind, Weight
from leat_engine.plan import PlanStep
from leat_engine.view import RunView
from leat_runner.slots import Slots

RETRY_INTERVAL = 0.5
"""Seconds between two tries of something that only this runner can do."""
REMEMBERED, REMEMBERED_SECONDS = 16, 4.0
"""Runs whose lists are kept after their last step here, and for how long."""

log = structlog.get_logger()
T = TypeVar("T")


class Desk:
    """The runner's own state. Everything on it can be read back from the store; nothing else is kept in memory."""

    def __init__(self, slots: Slots, kinds: Mapping[str, Kind]) -> None:
        self.runner = 0
        self.slots = slots
        self.kinds = kinds
        self.views: dict[UUID, RunView] = {}
        self._lately: TTLCache[UUID, RunView] = TTLCache(REMEMBERED, REMEMBERED_SECONDS, time.monotonic)
        self.tasks: dict[StepKey, asyncio.Task[Any]] = {}
        self.begun: dict[StepKey, float] = {}
        """When each of them began, on the clock of `time.monotonic`; the oldest first, as dictionaries keep order."""
        self.age = 0
        """How often everything was forgotten: what was begun before is not gone on with."""
        self.draining = False
        self.doubt = False
        """Set when an answer was lost or refused: the store may know of claims that are not on this desk."""
        self.writing = asyncio.Lock()
        """Held by the committer while an answer of the store is on its way."""
        self.freed = asyncio.Event()
        """Set when there is a reason to look again: a slot is free, or a job came."""
        self.freed_slots = 0
        """How many slots have come free, ever."""

    @property
    def held_seconds(self) -> float | None:
        """For how long the oldest running step has been held; None when nothing runs."""
        oldest = next(iter(self.begun.values()), None)
        return None if oldest is None else time.monotonic() - oldest

    def knows(self, key: StepKey) -> bool:
        """Whether the step is executed here, or ended here and is not committed yet."""
        root = self.views.get(key.run_id)
        view = None if root is None else root.scopes.get(key.scope)
        return view is not None and key.step in view.live

    def outgrow(self, run_id: UUID, epoch: int) -> None:
        """Forget what is known of a run from before it was migrated.

        A run is migrated while nobody has a claim in it. So what is live here is over in the store, and the answer is
        still on its way.
        """
        root = self.views.get(run_id)
        if root is not None and root.epoch != epoch:
            del self.views[run_id]

    def leave(self, view: RunView) -> None:
        """Forget a run that has nothing here any more.

        The lists of its `forEach` are remembered for a moment: where a list is shared, more of its items come soon, and
        to read and evaluate it again would cost more than they do.
        """
        del self.views[view.run_id]
        if view.items and END not in view.results:
            self._lately[view.run_id] = view
        else:
            view.leave()

    def recollect(self, view: RunView) -> None:
        """Tell the new view of a run what is remembered of it: what ended, and what its lists are, stays so."""
        before = self._lately.pop(view.run_id, None)
        if before is not None and before.epoch == view.epoch:
            view.items, view.results = before.items, before.results

    def forget(self) -> None:
        """Let go of what was remembered for long enough; to be called now and then."""
        self._lately.expire()

    def units(self, node: PlanStep) -> int:
        """Slots that a step takes; what has no effects takes none."""
        if node.light:
            return 0
        kind = self.kinds.get(node.kind)
        return self.slots.units(Weight.IO if kind is None else kind.weight)

    def give(self, node: PlanStep) -> None:
        """The step's slot is free."""
        units = self.units(node)
        self.slots.give(units)
        self.freed_slots += units
        self.freed.set()

    def clear(self) -> None:
        """Forget everything: it belongs to others."""
        self.age += 1
        self.views.clear()
        self._lately.clear()
        self.tasks.clear()
        self.begun.clear()
        self.slots.used = 0
        self.doubt = False


async def persistently(what: str, call: Callable[[], Awaitable[T]]) -> T:
    """Ask the store until it answers: the steps are claimed already, and only this runner can go on with them."""
    while True:
        try:
            return await call()
        except StoreUnavailable as error:
            log.warning("store_held", doing=what, reason=str(error))
            await asyncio.sleep(RETRY_INTERVAL)


async def forever(loop: Callable[[], Awaitable[None]]) -> None:
    """A loop that fails is a defect; it is told and begun again, for the steps of others depend on it."""
    while True:
        try:
            await loop()
        except Exception:
            log.exception("loop_failed", loop=getattr(loop, "__name__", "?"))
            await asyncio.sleep(1)
        else:
            return
