"""A part that was stopped or killed comes back at its address, with its data."""

from pathlib import Path

import aio_pika
import asyncpg
import pytest

from leat_stack import Part, down, status, up
from leat_stack.daemons import Daemons
from leat_stack.stack import stop


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A stack that these tests may break, in a path too long for a socket."""
    folder = tmp_path_factory.mktemp("stack") / ("a-long-way-down" * 8)
    yield folder
    down(folder)


async def test_postgres_comes_back_from_a_kill_with_what_was_committed(home):
    dsn = up(home, [Part.POSTGRES]).postgres_dsn
    connection = await asyncpg.connect(dsn)
    await connection.execute("create table kept as select 7 as seven")
    stop(home, [Part.POSTGRES], kill=True)
    assert up(home, [Part.POSTGRES]).postgres_dsn == dsn
    connection = await asyncpg.connect(dsn)
    assert await connection.fetchval("select seven from kept") == 7
    await connection.close()


async def test_rabbitmq_comes_back_from_a_stop_with_its_durable_messages(home):
    url = up(home, [Part.RABBITMQ]).amqp_url
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        await channel.declare_queue("kept", durable=True, arguments={"x-queue-type": "quorum"})
        await channel.default_exchange.publish(aio_pika.Message(b"seven"), "kept", timeout=10)
    stop(home, [Part.RABBITMQ])
    assert status(home)[Part.RABBITMQ] is False
    assert up(home, [Part.RABBITMQ]).amqp_url == url
    async with await aio_pika.connect(url) as connection:
        queue = await (await connection.channel()).get_queue("kept")
        assert (await queue.get(timeout=10)).body == b"seven"


def test_the_api_server_comes_back_at_its_address_with_its_tokens(home):
    first = up(home, [Part.KUBERNETES])
    before = Path(first.kubeconfig).read_text()
    stop(home, [Part.KUBERNETES])
    again = up(home, [Part.KUBERNETES])
    assert again == first
    assert Path(again.kubeconfig).read_text() == before


def test_nothing_is_left_of_a_stack_that_goes_down(home):
    dsn = up(home, [Part.POSTGRES]).postgres_dsn
    down(home)
    assert not home.exists()
    assert not Daemons(home).names()
    assert up(home, [Part.POSTGRES]).postgres_dsn == dsn
