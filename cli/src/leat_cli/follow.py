"""Watches a run until it ends, whatever is between it and us."""

import asyncio
from collections.abc import Awaitable, Callable

from leat_cli.problems import Exit, Unavailable
from leat_cli.progress import Progress
from leat_cli.snapshot import RunSnapshot
from leat_engine.errors import LeatError

Read = Callable[[], Awaitable[RunSnapshot]]


async def follow(read: Read, progress: Progress, every: float) -> RunSnapshot:
    """Show the run every so many seconds until it has ended, and return its end.

    Once the run was seen, a source that does not answer is asked again until it does.

    Raises:
        CommandError: The first reading failed, or a later one for a reason that does not pass.
        LeatError: The same.
    """
    run = await read()
    silent = False
    while not run.done:
        progress.show(run)
        await asyncio.sleep(every)
        try:
            run = await read()
        except (Unavailable, LeatError) as error:
            if isinstance(error, LeatError) and not error.retriable:
                raise
            if not silent:
                progress.note(f"{error}; asking again until it answers")
            silent = True
        else:
            silent = False
    progress.show(run)
    return run


def exit_code(run: RunSnapshot) -> Exit:
    """Return how a command that waited for the run ends."""
    return Exit.OK if run.succeeded else Exit.FAILED
