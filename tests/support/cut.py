"""A wire that can be cut: a TCP relay between a client and a server of this machine."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Wire:
    """Relays until it is cut, and again when it is mended; the port stays the same."""

    def __init__(self, target: int | str) -> None:
        self.port = 0
        self._target = target
        self._flows = asyncio.Event()
        self._flows.set()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in list(self._open):
            writer.transport.abort()
        self.thaw()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def freeze(self) -> None:
        """Let nothing through, and close nothing."""
        self._flows.clear()

    def thaw(self) -> None:
        self._flows.set()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if isinstance(self._target, str):
            there, back = await asyncio.open_unix_connection(self._target)
        else:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        self._open |= {writer, back}
        for one, other in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._pump(one, other))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                self.held = not self._flows.is_set()
                await self._flows.wait()
                writer.write(data)
                await writer.drain()
        self._open.discard(writer)
        writer.close()


@asynccontextmanager
async def a_wire(target: int | str) -> AsyncIterator[Wire]:
    """A wire to a port, or to a unix socket."""
    wire = Wire(target)
    await wire.mend()
    try:
        yield wire
    finally:
        await wire.cut()
