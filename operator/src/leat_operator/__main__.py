"""`python -m leat_operator`: one replica of the operator, set up by LEAT_ variables.

`python -m leat_operator migrate` and `python -m leat_operator define FOLDER` prepare a database and a cluster for it;
`python -m leat_operator try NAMESPACE NAME` sees whether the whole installation works.
"""

import asyncio
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import structlog
import uvloop

from leat_engine.errors import LeatError, Reason, Rejected
from leat_engine.logs import configure
from leat_operator import lean, prepare, settings, trial  # noqa: F401  lean first: it acts when it is imported
from leat_operator.operator import Operator

USAGE = "no argument, `migrate`, `define FOLDER`, or `try NAMESPACE NAME`"

log = structlog.get_logger(__name__)


async def serve(configured: settings.Settings) -> None:
    """Run until SIGTERM or SIGINT."""
    task = asyncio.ensure_future(Operator(configured).run())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        log.info("stopped")


async def migrate(configured: settings.MigrationSettings) -> None:
    """Bring the database to this version's schema."""
    await prepare.migrate(configured.database_url.get_secret_value())


def main(arguments: Sequence[str]) -> int:
    """Return the exit code: 0 after a signal or a command, 1 when something failed, 2 for wrong settings or arguments.

    It is also 1 when the Lease was lost.
    """
    level = "INFO"
    try:
        match arguments:
            case []:
                configured = settings.load()
                level, work = configured.log_level, serve(configured)
            case ["migrate"]:
                work = migrate(settings.read(settings.MigrationSettings))
            case ["define", folder]:
                work = prepare.define(Path(folder))
            case ["try", namespace, name]:
                work = trial.run(namespace, name)
            case _:
                raise Rejected([Reason("", f"expected {USAGE}, found {' '.join(arguments)}")])
    except LeatError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    configure(level, process="operator")
    try:
        uvloop.run(work)
    except Exception as error:
        for each in leaves(error):
            trace = None if isinstance(each, LeatError) else each  # its message is all that its reader needs
            log.critical("operator ends", error=str(each), kind=type(each).__name__, exc_info=trace)
        return 1
    return 0


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors inside of groups."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
