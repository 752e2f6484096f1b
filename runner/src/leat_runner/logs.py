"""What steps say, on its way into the store: bounded, batched, and never in the way of a step.

Lines of all steps wait in one buffer and are written together. When Postgres is away they wait; when the buffer is full
they are dropped and counted, for a step must not stop because nobody can hear it.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple

import structlog
from prometheus_client import Counter

from leat_engine.errors import StoreUnavailable
from leat_engine.job import StepKey
from leat_engine.limits import KIB, MIB
from leat_engine.lines import NewLine
from leat_engine.store import Store
from leat_runner.lines import harmless, pieces

ATTEMPT_BYTES = MIB
ATTEMPT_LINES = 10_000
"""What one attempt may say; of what comes after that, only the end is kept."""

TAIL_BYTES = 64 * KIB
TAIL_LINES = 200

FLUSH_BYTES = 64 * KIB
FLUSH_SECONDS = 0.5
BATCH_LINES = 2_000
BUFFER_BYTES = 16 * MIB
"""What may wait for Postgres in one runner."""

LAST_WORDS = 1.0
"""Seconds that the end of an attempt waits for its lines to be written."""

RETRY_SECONDS = 1.0
OVERHEAD = 64
NOTICE = "leat"
"""The stream of what the runner adds."""

log = structlog.get_logger()
WRITTEN = Counter("leat_log_lines", "Lines of steps that were written")
_DROPPED = Counter("leat_log_lines_dropped", "Lines of steps that were not kept", ["reason"])
OVER_LIMIT, STORE_AWAY = (_DROPPED.labels(reason) for reason in ("limit", "store"))


class Speaker(NamedTuple):
    """Whose words they are: of an attempt of a step, heard by a runner."""

    runner: int
    key: StepKey
    attempt: int


class AttemptLog:
    """What one attempt says. Call it with each line; ``close`` it when the attempt is over."""

    __slots__ = (
        "_attempt",
        "_bytes",
        "_left_out",
        "_lines",
        "_lock",
        "_mask",
        "_name",
        "_tail",
        "_tail_bytes",
        "_writer",
    )

    def __init__(
        self, writer: "LogWriter", attempt: Speaker, name: str, mask: Callable[[str], str] | None = None
    ) -> None:
        self._writer = writer
        self._attempt = attempt
        self._name = name
        self._mask = mask
        self._lines = 0
        self._bytes = 0
        self._left_out = 0
        self._tail: deque[NewLine] | None = None
        self._tail_bytes = 0
        self._lock = threading.RLock()  # re-entrant, as a finalizer that prints can run at any point

    def __call__(self, stream: str, text: str, at: datetime | None = None) -> None:
        """Keep one line. Any thread may call it: functions do."""
        text = harmless(text if self._mask is None else self._mask(text))
        log.debug("step.output", step=self._name, stream=stream, line=text)
        at = at or datetime.now(UTC)
        with self._lock:
            for piece in pieces(text):
                self._keep(NewLine(*self._attempt, at, stream, piece))

    async def close(self) -> None:
        """Nothing more comes: write the end of what was left out, and wait a moment until the store has it all."""
        if not self._lines:
            return
        with self._lock:
            self._put_tail()
        await self._writer.settled(LAST_WORDS)

    def _put_tail(self) -> None:
        if self._tail:
            missing = self._left_out - len(self._tail)
            if missing:
                limit = f"an attempt may say {ATTEMPT_LINES} lines and {ATTEMPT_BYTES} bytes"
                text = f"{missing} lines are left out here: {limit}"
                self._writer.put(NewLine(*self._attempt, self._tail[0].at, NOTICE, text))
                OVER_LIMIT.inc(missing)
            for line in self._tail:
                self._writer.put(line)
            self._tail = None

    def _keep(self, line: NewLine) -> None:
        size = len(line.text) + OVERHEAD
        if self._tail is None and self._lines < ATTEMPT_LINES and self._bytes + size <= ATTEMPT_BYTES:
            self._lines += 1
            self._bytes += size
            self._writer.put(line)
            return
        if self._tail is None:
            self._tail = deque()
        self._left_out += 1
        self._tail.append(line)
        self._tail_bytes += size
        while len(self._tail) > TAIL_LINES or self._tail_bytes > TAIL_BYTES:
            self._tail_bytes -= len(self._tail.popleft().text) + OVERHEAD


class LogWriter:
    """Writes the lines of all steps of a runner. ``put`` never waits, and any thread may call it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: deque[NewLine] = deque()
        self._bytes = 0
        self._put = 0
        self._done = 0
        self._dropped = False
        self._arrived = asyncio.Event()
        self._urgent = asyncio.Event()
        self._progress = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._lock = threading.RLock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.get_ident()

    def start(self) -> None:
        """Begin to write."""
        if self._task is None:
            self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
            self._task = asyncio.create_task(self._write_all(), name="step logs")

    async def stop(self) -> None:
        """Write what waits, if Postgres takes it soon, and stop."""
        await self.settled(LAST_WORDS)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def put(self, line: NewLine) -> None:
        """Write the line soon."""
        size = len(line.text) + OVERHEAD
        with self._lock:
            if self._bytes + size > BUFFER_BYTES:
                self._drop()
                return
            self._waiting.append(line)
            self._bytes += size
            self._put += 1
        self._wake(self._arrived)
        if self._bytes >= FLUSH_BYTES:
            self._wake(self._urgent)

    def _drop(self) -> None:
        STORE_AWAY.inc()
        if not self._dropped:
            self._dropped = True
            log.error("log_lines_dropped", hint="Postgres does not take what steps say; it is dropped and counted")

    def _wake(self, event: asyncio.Event) -> None:
        if not event.is_set():
            self.on_loop(event.set)

    def on_loop(self, call: Callable[[], object]) -> None:
        """Call it on the loop: here, or soon, if this is the thread of a function."""
        if self._loop is None or threading.get_ident() == self._thread:
            call()
            return
        with suppress(RuntimeError):  # the loop is closed: the runner has gone on without this thread
            self._loop.call_soon_threadsafe(call)

    async def settled(self, seconds: float) -> None:
        """Return when everything that was put is written, or after ``seconds``."""
        wanted = self._put
        try:
            async with asyncio.timeout(seconds):
                while self._done < wanted:
                    self._urgent.set()
                    self._progress.clear()
                    await self._progress.wait()
        except TimeoutError:
            log.warning("log_lines_late", lines=wanted - self._done)

    async def _write_all(self) -> None:
        while True:
            await self._arrived.wait()
            if self._bytes < FLUSH_BYTES:
                await self._hurried(FLUSH_SECONDS)
            self._urgent.clear()
            self._arrived.clear()  # before the look: what a thread puts after it sets this again
            while self._waiting:
                await self._write([self._waiting.popleft() for _ in range(min(BATCH_LINES, len(self._waiting)))])

    async def _hurried(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._urgent.wait()
        except TimeoutError:
            return

    async def _write(self, lines: list[NewLine]) -> None:
        while True:
            try:
                await self._store.logs.write(lines)
            except StoreUnavailable as error:
                log.warning("logs_held", lines=len(lines), reason=str(error))
                await asyncio.sleep(RETRY_SECONDS)
            except Exception:
                log.exception("logs_lost", lines=len(lines))  # a defect; the lines to come may be better
                STORE_AWAY.inc(len(lines))
                break
            else:
                WRITTEN.inc(len(lines))
                self._dropped = False
                break
        with self._lock:
            self._bytes -= sum(len(line.text) + OVERHEAD for line in lines)
        self._done += len(lines)
        self._progress.set()
