"""Watches a run until it ends, whatever is between it and us."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from leat_cli.problems import Exit, Unavailable
from leat_cli.progress import Progress
from leat_cli.snapshot import RunSnapshot
from leat_engine.errors import LeatError

Read = Callable[[], Awaitable[RunSnapshot]]
T = TypeVar("T")


class Patience:
    """Asks again until there is an answer, and says once that there was none."""

    def __init__(self, note: Callable[[str], None], every: float) -> None:
        self._note = note
        self._every = every

    async def ask(self, read: Callable[[], Awaitable[T]]) -> T:
        """Return the answer.

        Raises:
            CommandError: For a reason that does not pass.
            LeatError: The same.
        """
        silent = False
        while True:
            try:
                return await read()
            except (Unavailable, LeatError) as error:
                if error.lasting if isinstance(error, Unavailable) else not error.retriable:
                    raise
                if not silent:
                    self._note(f"{error}; asking again until it answers")
                silent = True
                await asyncio.sleep(self._every)


async def follow(read: Read, progress: Progress, every: float) -> RunSnapshot:
    """Show the run every so many seconds until it has ended, and return its end.

    Once the run was seen, a source that does not answer is asked again until it does.

    Raises:
        CommandError: The first reading failed, or a later one for a reason that does not pass.
        LeatError: The same.
    """
    patience = Patience(progress.note, every)
    run = await read()
    while not run.done:
        progress.show(run)
        await asyncio.sleep(every)
        run = await patience.ask(read)
    progress.show(run)
    return run


def exit_code(run: RunSnapshot) -> Exit:
    """Return how a command that waited for the run ends."""
    return Exit.OK if run.succeeded else Exit.FAILED
