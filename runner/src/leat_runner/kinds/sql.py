"""sql: one statement in a transaction of its own. Values travel beside the statement, never in it."""

import asyncio
from typing import ClassVar

from leat_engine.kind import StepContext, Weight
from leat_engine.result import ErrorType, Failed, Outcome, StepError
from leat_engine.spec.placeholders import numbered
from leat_engine.spec.sql import IDEMPOTENCY_KEY, Sql
from leat_runner.kinds.address import BadAddress, Rule, address_of
from leat_runner.kinds.output import succeeded
from leat_runner.kinds.postgres import Databases, NotDone, Statement
from leat_runner.kinds.setup import KindSetup

STATEMENT_TIMEOUT = 300.0
"""Seconds for steps without a ``timeout``, to connect and execute."""

RULE = Rule(
    "sql.url",
    {"postgresql": 5432, "postgres": 5432},
    "postgresql://HOST:5432/NAME",
    frozenset({"application_name", "host", "options", "port", "sslmode", "sslrootcert", "target_session_attrs"}),
)


class SqlKind:
    """Executes statements."""

    weight: ClassVar[Weight] = Weight.IO

    def __init__(self, setup: KindSetup) -> None:
        self._databases = Databases(public_only=not setup.settings.http_private_networks)

    async def execute(self, step: StepContext, fields: Sql) -> Outcome:
        """Execute the statement once. The output is ``{rows, rowCount}``."""
        try:
            address = address_of(RULE, fields.url, fields.username, fields.password)
        except BadAddress as error:
            return Failed(StepError(ErrorType.INVALID, str(error), retriable=False))
        if not address.username:
            text = "sql.url: it names no user; write it as postgresql://USER@HOST/NAME, or give `username`"
            return Failed(StepError(ErrorType.INVALID, text, retriable=False))
        statement = Statement(
            text=numbered(fields.query),
            parameters={**fields.parameters, IDEMPOTENCY_KEY: step.idempotency_key},
            isolation=fields.isolation,
            read_only=fields.read_only,
            max_rows=fields.max_rows,
            seconds=step.timeout or STATEMENT_TIMEOUT,
        )
        try:
            # A step with a timeout is cut by the runner.
            async with asyncio.timeout(STATEMENT_TIMEOUT if step.timeout is None else None):
                return succeeded(await self._databases.execute(address, statement))
        except NotDone as error:
            return Failed(error.error)
        except TimeoutError:
            text = f"{address} did not end the statement within {STATEMENT_TIMEOUT:g} s; give the step a `timeout`"
            return Failed(StepError(ErrorType.TIMEOUT, text))

    async def close(self) -> None:
        """Close the connections."""
        await self._databases.close()
