"""An output of a process, drained with bounded memory: lines go to the step's log, the tail is kept for the error."""

import asyncio
import os

from leat_engine.kind import StepLog
from leat_runner.lines import Lines

TAIL = 4096
"""Bytes kept from the end."""


class Output(asyncio.Protocol):
    """The reading end of a pipe whose writing end a process gets.

    The pipe is our own and not the one of asyncio's subprocess, because that one's ``wait`` ends, on some event loops,
    only when every holder of the pipe has closed it: a process left in the background would hide the end of its parent.

    Attributes:
        fd: The writing end, until `handed_over`.
        closed: Done when nobody can write any more.
    """

    def __init__(self, stream: str, log: StepLog, fd: int) -> None:
        self._stream = stream
        self._log = log
        self._tail = b""
        self._lines = Lines()
        self._transport: asyncio.BaseTransport | None = None
        self.fd = fd
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @classmethod
    async def open(cls, stream: str, log: StepLog) -> "Output":
        """Make the pipe and begin to read; not to be cancelled. ``stream`` is the name in the log."""
        reading, writing = os.pipe()
        output = cls(stream, log, writing)
        await asyncio.get_running_loop().connect_read_pipe(lambda: output, os.fdopen(reading, "rb", 0))
        return output

    def handed_over(self) -> None:
        """Close our copy of the writing end: the process has its own, and the pipe must end with the process."""
        os.close(self.fd)

    def close(self) -> None:
        """Stop reading, whoever still writes."""
        if self._transport is not None:
            self._transport.close()

    @property
    def tail(self) -> str:
        """The last 4 KiB, as text."""
        return self._tail.decode(errors="replace")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport for `close`."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take what was written."""
        self._tail = (self._tail + data[-TAIL:])[-TAIL:]
        for line in self._lines.feed(data):
            self._log(self._stream, line)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Nobody holds the writing end any more, or the reader left."""
        for line in self._lines.end():
            self._log(self._stream, line)
        if not self.closed.done():
            self.closed.set_result(None)
