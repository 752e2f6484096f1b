"""sql: one statement in a transaction of its own. Values travel beside the statement, never in it."""

import asyncio
from typing import ClassVar

from leat_engine.kind import StepContext, Weight
from leat_engine.result import ErrorType, Failed, Outcome, StepError
from leat_engine.spec.dialects import SCHEMES, Dialect, bound, dialects_of
from leat_engine.spec.sql import IDEMPOTENCY_KEY, Sql
from leat_runner.kinds import postgres
from leat_runner.kinds.address import BadAddress, Rule, address_of
from leat_runner.kinds.output import succeeded
from leat_runner.kinds.setup import KindSetup
from leat_runner.kinds.statement import Client, NotDone, Statement

STATEMENT_TIMEOUT = 300.0
"""Seconds for steps without a ``timeout``, to connect and execute."""

PORTS = {Dialect.POSTGRES: 5432, Dialect.MYSQL: 3306}
EXAMPLES = {Dialect.POSTGRES: "postgresql://HOST:5432/NAME", Dialect.MYSQL: "mysql://HOST:3306/NAME"}
QUERIES = {
    Dialect.POSTGRES: frozenset(
        {"application_name", "host", "options", "port", "sslmode", "sslrootcert", "target_session_attrs"}
    ),
    Dialect.MYSQL: frozenset({"sslmode", "sslrootcert"}),
}


class SqlKind:
    """Executes statements."""

    weight: ClassVar[Weight] = Weight.IO

    def __init__(self, setup: KindSetup) -> None:
        self._public_only = not setup.settings.http_private_networks
        self._clients: dict[Dialect, Client] = {}

    async def execute(self, step: StepContext, fields: Sql) -> Outcome:
        """Execute the statement once. The output is ``{rows, rowCount}``."""
        dialect = _dialect(fields.url)
        try:
            address = address_of(_rule(dialect), fields.url, fields.username, fields.password)
        except BadAddress as error:
            return Failed(StepError(ErrorType.INVALID, str(error), retriable=False))
        if not address.username:
            text = f"sql.url: it names no user; write it as {address.scheme}://USER@HOST/NAME, or give `username`"
            return Failed(StepError(ErrorType.INVALID, text, retriable=False))
        statement = Statement(
            text=bound(fields.query, dialect),
            parameters={**fields.parameters, IDEMPOTENCY_KEY: step.idempotency_key},
            isolation=fields.isolation,
            read_only=fields.read_only,
            max_rows=fields.max_rows,
            seconds=step.timeout or STATEMENT_TIMEOUT,
        )
        try:
            # A step with a timeout is cut by the runner.
            async with asyncio.timeout(STATEMENT_TIMEOUT if step.timeout is None else None):
                return succeeded(await self._client(dialect).execute(address, statement))
        except NotDone as error:
            return Failed(error.error)
        except TimeoutError:
            text = f"{address} did not end the statement within {STATEMENT_TIMEOUT:g} s; give the step a `timeout`"
            return Failed(StepError(ErrorType.TIMEOUT, text))

    async def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            await client.close()

    def _client(self, dialect: Dialect) -> Client:
        client = self._clients.get(dialect)
        if client is None:
            client = self._clients[dialect] = _client_of(dialect, public_only=self._public_only)
        return client


def _client_of(dialect: Dialect, *, public_only: bool) -> Client:
    match dialect:
        case Dialect.POSTGRES:
            return postgres.Databases(public_only=public_only)
        case Dialect.MYSQL:
            # Not above: its client asks at once for the name of the runner's user, and not every user in a pod has one.
            # Who has no steps for it does without.
            from leat_runner.kinds import mysql  # noqa: PLC0415

            return mysql.Databases(public_only=public_only)


def _dialect(url: str) -> Dialect:
    return dialects_of(url)[0]


def _rule(dialect: Dialect) -> Rule:
    schemes = {scheme: PORTS[of] for scheme, of in SCHEMES.items()}
    return Rule("sql.url", schemes, EXAMPLES[dialect], QUERIES[dialect])
