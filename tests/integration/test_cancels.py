"""A cancel that meets the end of a connection is not lost: whoever was to end would go on."""

import asyncio

import asyncpg
import pytest
from tests.support.queue import eventually

from leat_engine.kind import END_WORK, ends_work
from leat_runner.desk import persistently

LOCK = 0x1EA7_0C
TRIES = 16


@pytest.fixture
async def other(database):
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


async def test_what_asks_persistently_ends_with_its_cancel_though_postgres_drops_the_connection_then(store, other):
    async def ask():
        async with store._connection() as connection, connection.transaction():
            await connection.fetch("select pg_advisory_xact_lock($1)", LOCK)

    async def waiting():
        rows = await other.fetch("select pid from pg_locks where locktype = 'advisory' and not granted")
        return [row["pid"] for row in rows]

    async def one_waits():
        return len(await waiting()) == 1

    await other.execute("select pg_advisory_lock($1)", LOCK)
    for fifths in range(TRIES):  # of a millisecond: asyncpg is a little further with the cancel each time
        asking = asyncio.create_task(persistently("lock", ask))
        await eventually(one_waits, True, 10)
        (pid,) = await waiting()
        asking.cancel(END_WORK)
        await asyncio.sleep(fifths / 5000)
        await other.execute("select pg_terminate_backend($1)", pid)
        async with asyncio.timeout(10):
            with pytest.raises(asyncio.CancelledError) as caught:
                await asking
        assert ends_work(caught.value)
