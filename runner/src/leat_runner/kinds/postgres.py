"""Statements of steps on PostgreSQL; with the store the only module that talks to it.

Steps that name the same database, user and password share a pool of connections. Every statement is prepared without a
name, inside a transaction: so PgBouncer may stand between, and the types of the parameters are known before their
values are sent.
"""

import asyncio
import re
import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal, TypeAlias, cast
from urllib.parse import quote, unquote, urlencode

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from asyncpg.prepared_stmt import PreparedStatement
from asyncpg.transaction import Transaction

from leat_engine.limits import OUTPUT_BYTES
from leat_engine.result import ErrorType, StepError
from leat_runner.kinds.address import Address
from leat_runner.kinds.kept import IDLE, Kept
from leat_runner.kinds.network import PrivateAddress, PublicLoop
from leat_runner.kinds.output import dumps
from leat_runner.kinds.sql_errors import lost, refused
from leat_runner.kinds.sql_values import BadValue, parameter, row
from leat_runner.kinds.statement import (
    BATCH,
    CLOSE_TIMEOUT,
    CONNECT_TIMEOUT,
    CONNECTIONS,
    NotDone,
    Statement,
    check_columns,
    too_many_bytes,
    too_many_rows,
)

_Isolation = Literal["read_committed", "repeatable_read", "serializable"]
_ISOLATION: Mapping[str, _Isolation] = {
    "readCommitted": "read_committed",
    "repeatableRead": "repeatable_read",
    "serializable": "serializable",
}

_BROKEN = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What the client raises on a connection that is of no use any more. A TimeoutError is an OSError."""

# In quotes, as only the stubs know them to be generic.
Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Prepared: TypeAlias = "PreparedStatement[asyncpg.Record]"


class Databases:
    """Executes statements on any database.

    Args:
        public_only: Whether databases in private networks are out of reach.
    """

    def __init__(self, *, public_only: bool) -> None:
        self._public_only = public_only
        self._kept: Kept[Address, Pool] = Kept(self._open, _close, lambda pool: not pool.is_closing())

    async def execute(self, address: Address, statement: Statement) -> dict[str, Any]:
        """Execute a statement in a transaction of its own and give ``{rows, rowCount}``.

        Raises:
            NotDone: The transaction was rolled back, or its end is unknown.
        """
        try:
            async with self._kept.lent(address) as pool:
                return await _transaction(pool, statement)
        except BadValue as error:
            raise NotDone(StepError(ErrorType.INVALID, str(error), retriable=False)) from error
        except asyncpg.PostgresError as error:
            raise NotDone(_bad_argument(statement, error) or _refused(address, error)) from error
        except (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            raise NotDone(_away(address, error)) from error

    async def close(self) -> None:
        """Close the connections."""
        await self._kept.close()

    async def _open(self, address: Address) -> Pool:
        loop = asyncio.get_running_loop()
        return await asyncpg.create_pool(
            _dsn(address),
            # Given even when they are empty: what is missing would be taken from the runner's environment.
            user=address.username or "",
            password=address.password or "",
            database=unquote(address.path.removeprefix("/")) or address.username,
            min_size=0,
            max_size=CONNECTIONS,
            max_inactive_connection_lifetime=IDLE,
            statement_cache_size=0,
            timeout=CONNECT_TIMEOUT,
            loop=cast("asyncio.AbstractEventLoop", PublicLoop(loop)) if self._public_only else loop,
        )


async def _close(pool: Pool) -> None:
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT):
            await pool.close()
    except TimeoutError:
        pool.terminate()


async def _transaction(pool: Pool, statement: Statement) -> dict[str, Any]:
    connection = await pool.acquire()
    try:
        transaction = connection.transaction(isolation=_ISOLATION[statement.isolation], readonly=statement.read_only)
        try:
            await transaction.start()
            output = await _execute(connection, statement)
        except BaseException:
            await _roll_back(connection, transaction)
            raise
        await transaction.commit()
        return output
    finally:
        await _give_back(pool, connection)


async def _roll_back(connection: Connection, transaction: Transaction) -> None:
    """End the transaction here; a server that does not answer ends it when it sees that the connection is gone."""
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT):
            await transaction.rollback()
    except _BROKEN:
        connection.terminate()


async def _give_back(pool: Pool, connection: Connection) -> None:
    """Let others have the connection; the pool ends one that does not take it. What the step has come to stays."""
    with suppress(*_BROKEN):
        await pool.release(connection, timeout=CLOSE_TIMEOUT)


async def _execute(connection: Connection, statement: Statement) -> dict[str, Any]:
    await connection.execute(f"set local statement_timeout = {max(1, round(statement.seconds * 1000))}")
    prepared = await connection.prepare(statement.text.text)
    arguments = _arguments(prepared, statement)
    if not prepared.get_attributes():
        await prepared.fetch(*arguments)
        return {"rows": [], "rowCount": _count(prepared.get_statusmsg() or "")}
    rows = await _rows(prepared, arguments, statement.max_rows)
    return {"rows": rows, "rowCount": len(rows)}


def _arguments(prepared: Prepared, statement: Statement) -> list[Any]:
    arguments = []
    for name, of in zip(statement.text.names, prepared.get_parameters(), strict=True):
        try:
            arguments.append(parameter(statement.parameters[name], of.name))
        except BadValue as error:
            raise BadValue(f"sql.parameters.{name}: {error}") from error
    return arguments


async def _rows(prepared: Prepared, arguments: list[Any], most: int) -> list[dict[str, Any]]:
    """The rows, fetched in batches so that neither of the limits is passed by much."""
    columns = prepared.get_attributes()
    check_columns(column.name for column in columns)
    types = [column.type.name for column in columns]
    cursor = await prepared.cursor(*arguments)
    rows: list[dict[str, Any]] = []
    size = 0
    while batch := await cursor.fetch(min(BATCH, most + 1 - len(rows))):
        if len(rows) + len(batch) > most:
            raise too_many_rows(most)
        given = [row(dict(record), types) for record in batch]
        size += len(dumps(given))
        if size > OUTPUT_BYTES:
            raise too_many_bytes()
        rows += given
    return rows


def _count(status: str) -> int:
    """The number of rows in an answer such as ``INSERT 0 3``."""
    number = status.rpartition(" ")[2]
    return int(number) if number.isdigit() else 0


def _dsn(address: Address) -> str:
    given = f"?{urlencode(address.query)}" if address.query else ""
    host = f"[{address.host}]" if ":" in address.host else quote(address.host)
    return f"postgresql://{f'{host}:{address.port}' if host else ''}{given and '/'}{given}"


def _bad_argument(statement: Statement, error: asyncpg.PostgresError) -> StepError | None:
    """The client's own word on an argument holds its value, which may be a secret; its number is enough."""
    found = re.match(r"invalid input for query argument \$(\d+)", str(error))
    if found is None:
        return None
    name = statement.text.names[int(found[1]) - 1]
    text = f"sql.parameters.{name}: the value is not of the type that the statement expects; cast it there, as in "
    return StepError(ErrorType.INVALID, f"{text}cast(cast(:{name} as text) as TYPE)", retriable=False)


def _refused(address: Address, error: asyncpg.PostgresError) -> StepError:
    told = {
        "constraint": getattr(error, "constraint_name", None),
        "table": getattr(error, "table_name", None),
        "column": getattr(error, "column_name", None),
    }
    # Not its detail, which quotes rows.
    parts = [getattr(error, "message", None) or str(error), getattr(error, "hint", None)]
    return refused(
        address,
        code=str(error.sqlstate or ""),
        reason=type(error).__name__.removesuffix("Error"),
        message=". ".join(part for part in parts if part),
        told={name: value for name, value in told.items() if value},
    )


def _away(address: Address, error: Exception) -> StepError:
    match error:
        case PrivateAddress() as private:
            return lost(address, str(private.strerror), "PrivateNetwork", retriable=False)
        case asyncpg.ClientConfigurationError():
            return StepError(ErrorType.INVALID, f"sql.url: {error}", retriable=False)
        case ssl.SSLError():
            return lost(address, f"TLS: {error.reason}", "Tls", retriable=True)
        case TimeoutError():
            return lost(address, f"no connection within {CONNECT_TIMEOUT:g} s", "NotConnected", retriable=True)
        case _:
            return lost(address, getattr(error, "strerror", None) or str(error), "ConnectionLost", retriable=True)
