"""How the rooms of the store reach Postgres, and what asyncpg raises, in this house's words."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from leat_engine.errors import StoreRefused, StoreUnavailable

Connect = Callable[[], AbstractAsyncContextManager[PoolConnectionProxy]]
"""A connection, for statements that belong together."""

Fetch = Callable[..., Awaitable[list[asyncpg.Record]]]
"""The rows of one statement: its verb, and its parameters."""

AWAY = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # the server died between two messages of one statement
    asyncpg.PostgresConnectionError,
    asyncpg.InsufficientResourcesError,  # no connection, memory or disk left
    asyncpg.OperatorInterventionError,  # stopping, starting, or the statement was cancelled
    asyncpg.TransactionRollbackError,  # a deadlock
    asyncpg.LockNotAvailableError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,
)
"""The same call may succeed later, here or on another server of the cluster."""


@contextmanager
def connecting() -> Iterator[None]:
    """Tell an address that is wrong from a server that is away.

    Raises:
        StoreRefused: Trying again will not help.
        StoreUnavailable: It may.
        asyncpg.ProtocolViolationError: As it is: a pooler that takes no settings says so.
    """
    try:
        yield
    except asyncpg.ProtocolViolationError:
        raise
    except (asyncpg.ClientConfigurationError, ValueError) as error:
        raise StoreRefused(
            f"not a database URL: {error}; expected postgresql://USER:PASSWORD@HOST:5432/NAME"
        ) from error
    except AWAY as error:
        raise _unavailable(error) from error
    except asyncpg.InvalidCatalogNameError as error:
        raise StoreRefused(f"{error}: create it (createdb NAME), then run `leat db migrate`") from error
    except asyncpg.PostgresError as error:
        raise StoreRefused(f"Postgres refuses: {error}") from error


@contextmanager
def reaching() -> Iterator[None]:
    """Say of a server that is away that it is.

    Raises:
        StoreUnavailable: The outcome of the statement is unknown.
        asyncio.CancelledError: The task was cancelled meanwhile.
    """
    task = asyncio.current_task()
    before = 0 if task is None else task.cancelling()
    try:
        yield
    except AWAY as error:
        # Who is cancelled while the connection goes fails to leave it, and that hides the cancel, but for this count.
        if task is not None and task.cancelling() > before:
            raise _cancel_within(error) from error
        raise _unavailable(error) from error


def _unavailable(error: BaseException) -> StoreUnavailable:
    return StoreUnavailable(f"Postgres does not answer: {error or type(error).__name__}")


def _cancel_within(error: BaseException) -> asyncio.CancelledError:
    """The cancel that an error hides, with its message: it says whether the step's work is to end."""
    hidden: BaseException | None = error
    while hidden is not None and not isinstance(hidden, asyncio.CancelledError):
        hidden = hidden.__context__
    return asyncio.CancelledError(*(() if hidden is None else hidden.args))
