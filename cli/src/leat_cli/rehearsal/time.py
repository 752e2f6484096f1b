"""A loop whose time jumps to the next timer as soon as nothing else is to be done."""

import asyncio
import math
import selectors
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


class SkippingLoop(asyncio.SelectorEventLoop):
    """Seconds from 0. They pass for real only within `really`: while a process or a server is waited for."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.waiting = 0
        super().__init__(_Skipping(self))
        # Of what the clock tells apart: less is lost in a float of some months, and then nothing is ever due.
        self._clock_resolution = 1e-6

    def time(self) -> float:
        """Seconds since the loop was made, those that were skipped included."""
        return self.passed

    @contextmanager
    def really(self) -> Iterator[None]:
        """Let time pass, as something outside of this process is waited for."""
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1


class _Skipping(selectors.DefaultSelector):
    """Looks whether something has come, and jumps instead of waiting for it."""

    def __init__(self, loop: SkippingLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for ``timeout`` seconds, or for something to come without one."""
        loop = self._loop
        if loop.waiting or timeout is None:
            began = time.monotonic()
            found = super().select(timeout)
            loop.passed += time.monotonic() - began if loop.waiting else 0.0
            return found
        found = super().select(0)
        if not found and timeout > 0:
            loop.passed = max(loop.passed + timeout, math.nextafter(loop.passed, math.inf))
        return found


def skipping(play: Callable[[SkippingLoop], Coroutine[Any, Any, T]]) -> T:
    """Run ``play`` on a loop that skips time: in a thread of its own if this one has a loop already."""
    if asyncio._get_running_loop() is None:  # noqa: SLF001  the public one raises
        return _run(play)
    with ThreadPoolExecutor(1) as aside:
        return aside.submit(_run, play).result()


def _run(play: Callable[[SkippingLoop], Coroutine[Any, Any, T]]) -> T:
    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, SkippingLoop)  # noqa: S101  the factory says so
        try:
            return runner.run(play(loop))
        finally:
            loop.waiting += 1  # threads that still end are waited for, not jumped over
