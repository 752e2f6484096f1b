"""Notes: the status of resources without a run, of which the store knows nothing: rejected, waiting, cancelled."""

import asyncio

import structlog

from leat_engine.status import Status
from leat_operator.objects import Ref
from leat_operator.patch import Patcher

log = structlog.get_logger(__name__)


class Notes:
    """At most one note per resource is on its way. However long the API server is away, the newest replaces it."""

    def __init__(self, patcher: Patcher) -> None:
        self._patcher = patcher
        self._tasks: dict[str, asyncio.Task[object]] = {}

    def tell(self, ref: Ref, status: Status) -> None:
        """Write this status, and none that was given before."""
        self.take_back(ref.uid)
        task = asyncio.ensure_future(self._patcher.patch(ref, lambda: status))
        self._tasks[ref.uid] = task
        task.add_done_callback(lambda done: self._done(ref.uid, done))

    def take_back(self, uid: str) -> None:
        """What was not written yet is not so any more: the run has been accepted."""
        if (task := self._tasks.pop(uid, None)) is not None:
            task.cancel()

    def cancel(self) -> None:
        """Give up what is not written."""
        for uid in list(self._tasks):
            self.take_back(uid)

    def _done(self, uid: str, task: asyncio.Task[object]) -> None:
        if self._tasks.get(uid) is task:
            del self._tasks[uid]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("note not written", uid=uid, exc_info=error)
