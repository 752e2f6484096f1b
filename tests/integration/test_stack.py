"""The stack gives each test what it promises."""

import aio_pika
import asyncpg
import pytest
from tests.conftest import HOME

from leat_stack import Part, up
from leat_stack.daemons import Daemons
from leat_stack.stack import DAEMONS


async def test_a_module_has_an_empty_database_of_its_own_on_a_server_that_writes_to_disk(postgres_dsn):
    connection = await asyncpg.connect(postgres_dsn)
    try:
        assert await connection.fetchval("select count(*) from pg_tables where schemaname = 'public'") == 0
        assert await connection.fetchval("show fsync") == "on"
        assert int(await connection.fetchval("show max_connections")) >= 200
    finally:
        await connection.close()


async def test_a_module_has_a_virtual_host_of_its_own_that_takes_quorum_queues(amqp_url):
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("jobs", durable=True, arguments={"x-queue-type": "quorum"})
        await channel.default_exchange.publish(aio_pika.Message(b"wake up"), "jobs", timeout=10)
        message = await queue.get(timeout=10)
        assert message.body == b"wake up"
        await message.ack()


@pytest.mark.parametrize("part", list(Part))
def test_starting_a_part_that_runs_starts_no_process_and_moves_no_address(part, request):
    if part in (Part.KAFKA, Part.MARIADB):
        request.getfixturevalue(part)  # skips where there can be none

    def processes():
        return [Daemons(HOME).find(name).pid for name in DAEMONS[part]]

    first, running = up(HOME, [part]), processes()
    assert up(HOME, [part]) == first
    assert processes() == running
