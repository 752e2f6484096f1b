"""A connection that comes back. What was opened on a connection lives and dies with it; nothing is mended in place.

Everything that makes a connection doubtful - it closed, a channel closed, the broker cancelled a consumer, the broker
does not answer - leads to the same end: the session is lost, and the link opens a new one. One road, walked on every
failure, is a road that is known to work.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, TypeVar, cast

import aiormq
import structlog
from aiormq.exceptions import AMQPError
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential
from yarl import URL

HEARTBEAT = 6
"""Seconds. A frozen peer is found by the other side after about three of them; our own watchdog is faster."""

CONNECT_TIMEOUT = 5.0
CLOSE_TIMEOUT = 2.0
PING_INTERVAL = 2.0
PING_TIMEOUT = 4.0
LONGEST_PAUSE = 4.0
"""Seconds between two attempts to reach the broker, at most."""

BROKER_ERRORS = (AMQPError, OSError, RuntimeError)
"""What the client raises when the broker refuses, goes away or is silent. RuntimeError: it was closed already."""

log = structlog.get_logger()
# The client logs every failed attempt with a traceback. The link says the same once, in one line.
logging.getLogger("aiormq").setLevel(logging.CRITICAL)

T = TypeVar("T")


class Session:
    """One connection, from its handshake to its loss."""

    def __init__(self, connection: aiormq.Connection) -> None:
        self.connection = connection
        self.blocked = False
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._doubt = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        connection.closing.add_done_callback(lambda closing: self.lose(f"connection closed: {_cause(closing)}"))

    @property
    def alive(self) -> bool:
        """Whether nothing has been seen that speaks against this connection."""
        return not self.lost.done()

    def lose(self, reason: str) -> None:
        """Give the connection up. The first reason counts."""
        if not self.lost.done():
            self.lost.set_result(reason)
            self._doubt.set()

    def doubt(self) -> None:
        """Have the watchdog look now instead of at its next turn."""
        self._doubt.set()

    async def channel(self, *, confirms: bool) -> aiormq.Channel:
        """Open a channel whose end is the end of this session."""
        opened = await self.connection.channel(
            publisher_confirms=confirms, on_return_raises=True, timeout=CONNECT_TIMEOUT
        )
        channel = cast("aiormq.Channel", opened)
        channel.closing.add_done_callback(lambda closing: self.lose(f"channel closed: {_cause(closing)}"))
        return channel

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` until it ends or the session does. Its error loses the session."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ran)

    async def watch(self) -> None:
        """Ask the broker for a sign of life, again and again; lose the session when none comes."""
        channel = await self.channel(confirms=False)
        while (
            self.alive
        ):  # not only until cancelled: wait_for, which the client uses, loses cancellations in Python 3.11
            await self._next_look()
            if self.alive and not self.blocked:
                await channel.basic_qos(prefetch_count=0, timeout=PING_TIMEOUT)

    async def end(self) -> None:
        """Close the connection, politely if the peer still listens. Unacknowledged jobs go back to their queue."""
        self.lose("closed by us")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            await guarded(self.connection.close(aiormq.ConnectionClosed(200, "closed by us"), timeout=CLOSE_TIMEOUT))
        except BROKER_ERRORS as error:
            log.debug("queue connection did not close cleanly", error=repr(error))

    async def _next_look(self) -> None:
        try:
            async with asyncio.timeout(PING_INTERVAL):
                await self._doubt.wait()
        except TimeoutError:
            pass  # nobody was in doubt: the regular look
        self._doubt.clear()
        blocked = await self._is_blocked()
        if blocked != self.blocked:
            log.warning("queue blocked by the broker" if blocked else "queue no longer blocked")
        self.blocked = blocked

    async def _is_blocked(self) -> bool:
        # A broker short of memory or disk reads nothing more from publishers, so it cannot answer a ping either.
        try:
            async with asyncio.timeout(0.05):
                await self.connection.ready()
        except TimeoutError:
            return True
        return False

    def _ran(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.lose(repr(error))


class Link(Generic[T]):
    """Keeps one session open, and what ``setup`` builds on each new one."""

    def __init__(self, url: URL, setup: Callable[[Session], Awaitable[T]]) -> None:
        self._url = url
        self._setup = setup
        self._current: tuple[Session, T] | None = None
        self._reason = "not connected yet"
        self._up = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        """Whether the broker is there and takes what it is given."""
        return self.live is not None and not self.live[0].blocked

    @property
    def live(self) -> tuple[Session, T] | None:
        """The session and what was built on it, while it is not lost."""
        return self._current if self._current is not None and self._current[0].alive else None

    @property
    def away(self) -> str:
        """One sentence on why there is no connection."""
        reason = "it takes no messages, being short of memory or disk" if self.live else self._reason
        return f"RabbitMQ at {self._url.host}:{self._url.port} is away: {reason}"

    def start(self) -> None:
        """Begin to connect."""
        self._task = asyncio.create_task(self._keep())

    async def up(self) -> None:
        """Return when there is a connection."""
        await self._up.wait()

    async def close(self) -> None:
        """Disconnect for good."""
        self._reason = "closed by us"
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _keep(self) -> None:
        while True:
            session, built = await self._reconnect()
            try:
                self._current = (session, built)
                self._up.set()
                log.info("queue connected", broker=self._url.host)
                self._reason = await asyncio.shield(session.lost)
                self._up.clear()
                log.warning("queue lost", broker=self._url.host, reason=self._reason)
            finally:
                await session.end()
            # A fleet that lost its broker in one moment should not come back in one moment.
            await asyncio.sleep(random.random())  # noqa: S311 - jitter, not a secret

    async def _reconnect(self) -> tuple[Session, T]:
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Exception),  # whatever it is, it is logged, and no reason to stay away
            wait=wait_random_exponential(multiplier=0.2, max=LONGEST_PAUSE),
            before_sleep=self._note,
        )
        return await retrying(self._attempt)

    async def _attempt(self) -> tuple[Session, T]:
        connection = aiormq.Connection(self._url)
        async with asyncio.timeout(CONNECT_TIMEOUT):
            await guarded(connection.connect())
        session = Session(connection)
        try:
            built = await guarded(self._setup(session))
        except BaseException:
            await session.end()
            raise
        session.run(session.watch())
        return session, built

    def _note(self, state: RetryCallState) -> None:
        error = repr(state.outcome.exception()) if state.outcome else ""
        if error != self._reason:  # once per kind of trouble, not once per attempt
            log.warning("queue unreachable", broker=self._url.host, error=error)
        self._reason = error


async def guarded(call: Awaitable[T]) -> T:
    """Await a call of the client; when the client cancels it because its connection went away, say so instead.

    Raises:
        ConnectionResetError: The connection was lost during the call.
    """
    task = asyncio.ensure_future(call)
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        task.add_done_callback(_retrieved)
        task.cancel()
        raise
    if task.cancelled():
        raise ConnectionResetError("the connection was lost meanwhile")
    return task.result()


def _retrieved(abandoned: asyncio.Future[Any]) -> None:
    """Take the error that nobody waits for any more, so that asyncio does not report it as forgotten."""
    if not abandoned.cancelled():
        abandoned.exception()


def _cause(closing: asyncio.Future[Any]) -> str:
    return "cancelled" if closing.cancelled() else repr(closing.exception())
