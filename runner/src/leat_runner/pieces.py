"""Where the bytes of artifacts come from and go to on this machine."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

from leat_engine.kind import ArtifactProblem, Source
from leat_engine.limits import MIB
from leat_engine.result import ErrorType, StepError


def file_source(path: Path) -> Source:
    """A file."""

    async def pieces() -> AsyncIterator[bytes]:
        try:
            file = os.fdopen(await asyncio.to_thread(open_plain, path), "rb")
        except OSError as error:
            message = f"the artifact's file cannot be read: {error.strerror}"
            raise ArtifactProblem(StepError(ErrorType.INVALID, message, "ArtifactMissing", retriable=False)) from error
        with file:
            while piece := await asyncio.to_thread(file.read, MIB):
                yield piece

    return pieces


def bytes_source(content: bytes) -> Source:
    """Bytes that are in memory."""

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(content), MIB):
            yield content[start : start + MIB]

    return pieces


async def write(pieces: AsyncIterator[bytes], path: Path) -> None:
    """Write the pieces to a new file, and make the directories above it."""
    await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True)
    file = await asyncio.to_thread(path.open, "xb")
    with file:
        async for piece in pieces:
            await asyncio.to_thread(file.write, piece)


def open_plain(path: Path) -> int:
    """A descriptor of a plain file, for reading.

    A script may have put a link or a named pipe there: the first could lead anywhere, the second blocks.

    Raises:
        OSError: There is none, or it is something else.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(0, "not a plain file")
    return fd
