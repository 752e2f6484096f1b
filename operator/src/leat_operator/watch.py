"""kopf in a thread and an event loop of its own: it cancels every task of its loop on exit."""

import asyncio
import threading
from collections.abc import Sequence

import kopf
import uvloop

from leat_operator import handlers
from leat_operator.inbox import Inbox


class Watch:
    """Watches resources and fills the inboxes of `handlers`. ``namespaces``: those watched, all when empty."""

    def __init__(self, inboxes: tuple[Inbox, Inbox, Inbox, Inbox], namespaces: Sequence[str]) -> None:
        self._inboxes = inboxes
        self._namespaces = namespaces
        self._stop = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, name="kopf", daemon=True)

    async def run(self) -> None:
        """Watch until cancelled.

        Raises:
            Exception: kopf gave up; its own error.
        """
        self._thread.start()
        try:
            await asyncio.shield(self._ended)
            raise RuntimeError("kopf ended without being asked to")
        finally:
            self._stop.set()

    def join(self, seconds: float) -> None:
        """Wait for the thread to end after `run` was cancelled."""
        self._thread.join(seconds)

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._operate())
        except BaseException as caught:  # noqa: BLE001 (told to the main loop, which raises it)
            error = caught
        self._loop.call_soon_threadsafe(self._conclude, error)

    async def _operate(self) -> None:
        await kopf.operator(
            registry=handlers.handlers(*self._inboxes),
            settings=handlers.settings(),
            standalone=True,
            clusterwide=not self._namespaces,
            namespaces=list(self._namespaces),
            stop_flag=self._stop,
        )

    def _conclude(self, error: BaseException | None) -> None:
        if self._ended.done():
            return
        if error is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(error)
