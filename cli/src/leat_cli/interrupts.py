"""What Ctrl-C means while a run goes on: the first one cancels the run, the second one ends this process."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Signals that ask this process to end. ``received`` is the first of them, or None."""

    def __init__(self, cancel: Callable[[], Awaitable[None]]) -> None:
        self.received: signal.Signals | None = None
        self._cancel = cancel
        self._cancelling: asyncio.Task[None] | None = None  # the loop itself holds tasks weakly

    def receive(self, number: signal.Signals) -> None:
        """Cancel the run, or, if that was asked for already, everything that goes on here."""
        if self.received is not None:
            _cancel_all()
            return
        self.received = number
        self._cancelling = asyncio.ensure_future(self._cancel_run())

    async def _cancel_run(self) -> None:
        try:
            await self._cancel()
        except BaseException:
            _cancel_all()  # a run that cannot be cancelled properly must still end
            raise


def _cancel_all() -> None:
    for task in asyncio.all_tasks():
        task.cancel()


@contextmanager
def interrupts(cancel: Callable[[], Awaitable[None]]) -> Iterator[Interrupts]:
    """Within the block, SIGINT and SIGTERM call ``cancel``; the second one cancels all tasks of the loop."""
    loop = asyncio.get_running_loop()
    received = Interrupts(cancel)
    for number in _SIGNALS:
        loop.add_signal_handler(number, received.receive, number)
    try:
        yield received
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
