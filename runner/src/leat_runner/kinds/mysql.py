"""Statements of steps on MySQL and MariaDB.

Steps that name the same database, user and password share sessions. The statement is prepared by the server, with
marks for its parameters; their values are put into variables of the session, which the server binds. So no value is
ever part of the statement, whatever the session's SQL mode and character set are.
"""

import asyncio
import ssl
from collections.abc import Mapping
from functools import partial
from typing import Any

from leat_engine.limits import OUTPUT_BYTES
from leat_engine.result import ErrorType, StepError
from leat_runner.kinds.address import Address
from leat_runner.kinds.kept import Kept
from leat_runner.kinds.mysql_client import BROKEN, NoTls, Refusal, Session, Sessions, tls_of
from leat_runner.kinds.mysql_errors import error_of
from leat_runner.kinds.mysql_values import literal, row, text
from leat_runner.kinds.network import PrivateAddress
from leat_runner.kinds.output import dumps
from leat_runner.kinds.sql_errors import lost
from leat_runner.kinds.sql_values import BadValue
from leat_runner.kinds.statement import (
    BATCH,
    CONNECT_TIMEOUT,
    NotDone,
    Statement,
    check_columns,
    too_many_bytes,
    too_many_rows,
)

_ISOLATION: Mapping[str, str] = {
    "readCommitted": "read committed",
    "repeatableRead": "repeatable read",
    "serializable": "serializable",
}


class Databases:
    """Executes statements on any database.

    Args:
        public_only: Whether databases in private networks are out of reach.
    """

    def __init__(self, *, public_only: bool) -> None:
        self._public_only = public_only
        self._kept: Kept[Address, Sessions] = Kept(self._open, _close, lambda _: True)

    async def execute(self, address: Address, statement: Statement) -> dict[str, Any]:
        """Execute a statement in a transaction of its own and give ``{rows, rowCount}``.

        Raises:
            NotDone: The transaction was rolled back, or its end is unknown.
        """
        try:
            async with self._kept.lent(address) as sessions, sessions.lent() as session:
                return await _transaction(sessions, session, statement)
        except BadValue as error:
            raise NotDone(StepError(ErrorType.INVALID, str(error), retriable=False)) from error
        except Refusal as error:
            raise NotDone(error_of(address, error.number, error.state, error.text)) from error
        except (*BROKEN, NoTls) as error:
            raise NotDone(_away(address, error)) from error

    async def close(self) -> None:
        """Close the connections."""
        await self._kept.close()

    async def _open(self, address: Address) -> Sessions:
        try:
            context = await asyncio.to_thread(partial(tls_of, address))
        except ValueError as error:
            raise BadValue(f"sql.url: {error}") from error
        except OSError as error:
            raise BadValue(f"sql.url: the certificates of `sslrootcert` cannot be read: {error.strerror}") from error
        return Sessions(address, context, public_only=self._public_only)


async def _close(sessions: Sessions) -> None:
    await sessions.close()


async def _transaction(sessions: Sessions, session: Session, statement: Statement) -> dict[str, Any]:
    """Giving the session back rolls back what was not committed."""
    access = "read only" if statement.read_only else "read write"
    names = {name: f"@leat_{number}" for number, name in enumerate(dict.fromkeys(statement.text.names))}
    settings = _settings(session, statement, names)
    using = ", ".join(names[name] for name in statement.text.names)
    try:
        await session.run(settings)
        await session.run(f"set transaction isolation level {_ISOLATION[statement.isolation]}, {access}")
        await session.run("start transaction")
        await session.run("prepare leat_statement from @leat_statement")
        output = await _execute(session, f"execute leat_statement{using and ' using '}{using}", statement.max_rows)
        await session.run("commit")
    except (*BROKEN, Refusal):
        raise
    except BaseException:
        # Cancelled, it is being executed; too large, it has rows that nobody takes.
        await sessions.cut(session)
        raise
    return output


def _settings(session: Session, statement: Statement, names: Mapping[str, str]) -> str:
    """The statement and its values as variables, and what the session is to be like; all of it ASCII."""
    given = {
        "@leat_statement": text(statement.text.text),
        **{variable: _literal(name, statement.parameters[name]) for name, variable in names.items()},
        "time_zone": "'+00:00'",
        "character_set_client": "utf8mb4",
        "character_set_connection": "utf8mb4",
        "character_set_results": "utf8mb4",
    }
    if session.is_mariadb:
        given["max_statement_time"] = f"{max(0.001, statement.seconds):.3f}"
    else:  # of statements that only read; the others are cut by the runner
        given["max_execution_time"] = str(max(1, round(statement.seconds * 1000)))
    return "set " + ", ".join(f"{name} = {value}" for name, value in given.items())


def _literal(name: str, value: Any) -> str:
    try:
        return literal(value)
    except BadValue as error:
        raise BadValue(f"sql.parameters.{name}: {error}") from error


async def _execute(session: Session, command: str, most: int) -> dict[str, Any]:
    result = await session.ask(command)
    if not result.columns:
        return {"rows": [], "rowCount": result.changed}
    rows = await _rows(session, result.columns, most)
    if await session.has_more_rows():
        raise BadValue("sql.query: it gives more than one result; call a procedure that gives one")
    return {"rows": rows, "rowCount": len(rows)}


async def _rows(session: Session, columns: list[tuple[str, int]], most: int) -> list[dict[str, Any]]:
    """The rows, taken one after the other so that neither of the limits is passed by much."""
    names, types = [name for name, _ in columns], [of for _, of in columns]
    check_columns(names)
    rows: list[dict[str, Any]] = []
    size = measured = 0
    while (values := await session.next_row()) is not None:
        if len(rows) == most:
            raise too_many_rows(most)
        rows.append(row(names, values, types))
        if len(rows) - measured == BATCH:
            size, measured = size + len(dumps(rows[measured:])), len(rows)
            if size > OUTPUT_BYTES:
                raise too_many_bytes()
    if size + len(dumps(rows[measured:])) > OUTPUT_BYTES:
        raise too_many_bytes()
    return rows


def _away(address: Address, error: Exception) -> StepError:
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    match cause:
        case PrivateAddress():
            return lost(address, str(cause.strerror), "PrivateNetwork", retriable=False)
        case NoTls():
            return lost(address, f"TLS: {cause}", "Tls", retriable=True)
        case ssl.SSLError():
            return lost(address, f"TLS: {cause.reason}", "Tls", retriable=True)
        case TimeoutError():
            return lost(address, f"no connection within {CONNECT_TIMEOUT:g} s", "NotConnected", retriable=True)
        case OSError():
            return lost(address, cause.strerror or str(cause), "ConnectionLost", retriable=True)
        case _:
            return lost(address, str(error.args[-1]) if error.args else str(error), "ConnectionLost", retriable=True)
