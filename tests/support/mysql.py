"""What a test takes from a running MariaDB: a database of its own, and a connection that looks at it from outside."""

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import aiomysql


class Outside:
    """A connection of the test's own, where every statement is committed."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @classmethod
    async def of(cls, url: str) -> "Outside":
        parts = urlsplit(url)
        return cls(
            await aiomysql.connect(
                host=parts.hostname,
                port=parts.port,
                user=parts.username,
                password=parts.password,
                db=parts.path.removeprefix("/") or None,
                charset="utf8mb4",
                autocommit=True,
                init_command="set sql_notes = 0",  # the client would make warnings of them
            )
        )

    async def rows(self, statement: str) -> list[tuple[Any, ...]]:
        async with self._connection.cursor() as cursor:
            await cursor.execute(statement)
            return list(await cursor.fetchall())

    async def value(self, statement: str) -> Any:
        return (await self.rows(statement))[0][0]

    async def close(self) -> None:
        await self._connection.ensure_closed()


@contextmanager
def fresh_mysql_database(url: str) -> Iterator[str]:
    """Yield the URL of a new, empty database."""
    name = f"test_{secrets.token_hex(6)}"
    _do(url, f"create database {name} character set utf8mb4 collate utf8mb4_bin")
    try:
        yield f"{url}/{name}"
    finally:
        _do(url, f"drop database {name}")


def _do(url: str, statement: str) -> None:
    async def run() -> None:
        outside = await Outside.of(url)
        try:
            await outside.rows(statement)
        finally:
            await outside.close()

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:  # leaves the loop of the test alone
        runner.run(run())
