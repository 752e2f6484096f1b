"""The law of concurrency: never more holders than the limit, whatever dies, and afterwards no slot is lost."""

import asyncio
import random
import time

import asyncpg
import pytest
from tests.support.fleet import a_fleet, ready
from tests.support.graphs import Graph
from tests.support.load import Load, witnessed
from tests.support.queue import eventually

LIMIT = 3
SECONDS = 8.0
SPEC = {
    "steps": [
        {
            "name": "hold",
            "function": {"name": "occupy", "with": {"seconds": 0.15}},
            "concurrency": {"key": "law", "limit": LIMIT},
        }
    ],
    "output": {"hold": "${ steps.hold.output }"},
}
RUNS = {
    "concurrency": {"key": "law", "limit": LIMIT},
    "steps": [
        {"name": "hold", "function": {"name": "occupy", "with": {"seconds": 0.1}}},
        {"name": "on", "needs": ["hold"], "function": {"name": "add", "with": {"values": []}}},
    ],
    "output": {"hold": "${ steps.hold.output }", "on": "${ steps.on.output }"},
}
OF_STEPS = Graph(spec=SPEC, phase="Succeeded", outputs={"hold": 1}, effects=frozenset({"hold"}))
OF_RUNS = Graph(spec=RUNS, phase="Succeeded", outputs={"hold": 1, "on": 1}, effects=frozenset({"hold", "on"}))
WITNESS = """
create table witness.held (holders int);
create function witness.count() returns trigger language plpgsql as $$
begin
  if new.held then
    insert into witness.held select count(*) from leat.turn where namespace = new.namespace and key = new.key and held;
  end if;
  return null;
end $$;
create trigger witness after insert or update on leat.turn for each row execute function witness.count();
"""
"""Postgres itself counts the holders whenever one is added."""


@pytest.fixture(scope="module")
def database(database):
    async def watch():
        await witnessed(database)
        connection = await asyncpg.connect(database)
        await connection.execute(WITNESS)
        await connection.close()

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as loop:
        loop.run(watch())
    return database


@pytest.fixture
def fleet(database, amqp_url, tmp_path):
    with a_fleet(database, amqp_url, tmp_path) as fleet:
        yield fleet


async def rage(fleet, draw, *, freeze) -> int:
    """Kill, or freeze for long enough to be buried, one runner after the other; how many."""
    end, struck = time.monotonic() + SECONDS, 0
    while time.monotonic() < end:
        await asyncio.sleep(draw.uniform(0.2, 0.8))  # random moments are what this is about
        victim = draw.choice([runner for runner in fleet.runners if runner.alive])
        if freeze:
            victim.freeze()
            await asyncio.sleep(draw.uniform(0.5, 2.5))
            victim.thaw()
        else:
            victim.kill()
            fleet.start(slots=draw.choice((2, 8, 50)))
        struck += 1
    return struck


def most_at_once(path) -> int:
    """How many runs held it at once, by what their bodies said. A body that was killed holds it until its next end."""
    holders, most = set(), 0
    for line in path.read_text().splitlines():
        sign, run = line.split()
        (holders.add if sign == "+" else holders.discard)(run)
        most = max(most, len(holders))
    return most


@pytest.mark.parametrize("case", [(1, OF_STEPS, False), (2, OF_STEPS, True), (3, OF_RUNS, False)])
async def test_there_are_never_more_holders_than_the_limit_and_no_slot_is_lost(case, fleet, database, amqp_url):
    seed, graph, freeze = case
    ready(*(fleet.start(slots=slots) for slots in (2, 8, 50)))
    draw = random.Random(seed)
    connection = await asyncpg.connect(database)
    await connection.execute("delete from witness.held")
    async with Load.connected(database, amqp_url, fleet.effects) as load:
        raging = asyncio.create_task(rage(fleet, draw, freeze=freeze))
        while not raging.done():
            await load.submit([graph] * 8)
            await asyncio.wait({raging}, timeout=0.8)
        account = await load.settle(90)
        assert account.clean, str(account)
        most = await connection.fetchval("select max(holders) from witness.held")
        print(f"struck {raging.result()}, most holders {most}, {account}")  # noqa: T201 - the figures of this test
        assert most == LIMIT
        if not freeze:  # what was frozen inside its body finishes it: only its writes can be refused
            assert most_at_once(fleet.effects.with_name("effects.held")) == LIMIT

        async def in_use():
            return [slot.key for slot in (await load.store.turns.show("test")).slots]

        await eventually(in_use, [], 20)
        await connection.execute("delete from witness.held")
        await load.submit([graph] * 2 * LIMIT)
        account = await load.settle(30)
        assert account.clean, str(account)
        assert await connection.fetchval("select max(holders) from witness.held") == LIMIT
    await connection.close()
