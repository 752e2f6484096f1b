"""A runner dies at a named point of the arrow, beside a healthy one. Afterwards it is counted."""

import asyncio

import pytest
from tests.support.fleet import a_fleet, ready
from tests.support.graphs import a_graph
from tests.support.load import Load, witnessed

POINTS = [
    f"{when} {what}" for what in ("claim", "ack", "commit", "open", "publish", "settle") for when in ("before", "after")
]
WAVE = 6
WAVES = 20


@pytest.fixture(scope="module")
def database(database):
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as loop:
        loop.run(witnessed(database))
    return database


@pytest.fixture(scope="module")
def fleet(database, amqp_url, tmp_path_factory):
    with a_fleet(database, amqp_url, tmp_path_factory.mktemp("fleet")) as fleet:
        ready(fleet.start(slots=4))  # few slots: successors go through the queue, and are published
        yield fleet


@pytest.mark.parametrize("passes", [1, 7])
@pytest.mark.parametrize("point", POINTS)
async def test_a_runner_that_dies_there_loses_doubles_and_blocks_nothing(point, passes, fleet, database, amqp_url):
    doomed = fleet.start(slots=4, crash_at=f"{point}:{passes}")
    ready(doomed)
    async with Load.connected(database, amqp_url, fleet.effects) as load:
        waves = ((a_graph(1000 * passes + WAVE * wave + number) for number in range(WAVE)) for wave in range(WAVES))
        await load.kill(doomed, point, waves)
        account = await load.settle()
    assert account.clean, str(account)
