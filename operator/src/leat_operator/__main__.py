"""`python -m leat_operator`: one replica of the operator, set up by LEAT_ variables."""

import asyncio
import signal
import sys
from collections.abc import Iterator

import structlog
import uvloop

from leat_engine.errors import LeatError
from leat_engine.logs import configure
from leat_operator import settings
from leat_operator.operator import Operator

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


def main() -> int:
    """Return the exit code: 0 after a signal, 1 when the Lease was lost or something failed, 2 for wrong settings."""
    try:
        configured = settings.load()
    except LeatError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    configure(configured.log_level, process="operator")
    try:
        uvloop.run(serve(configured))
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
    sys.exit(main())
