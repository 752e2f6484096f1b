"""Runs that wait for child runs, on runners that are killed: each child is there once, nothing is lost or stuck."""

import asyncio

import asyncpg
import pytest
from tests.support.family import shelve
from tests.support.fleet import a_fleet, ready
from tests.support.graphs import Graph
from tests.support.load import Load, witnessed
from tests.support.queue import eventually

from leat_engine.store import Store

POINTS = [
    f"{when} {what}" for what in ("start child", "wake parents", "claim", "commit") for when in ("before", "after")
]
RUNS, WAVES = 6, 20

WORK = {
    "inputs": {"number": {"type": "integer"}},
    "steps": [{"name": "work", "function": {"name": "add", "with": {"values": ["${ inputs.number }"]}}}],
    "output": "${ steps.work.output }",
}
MIDDLE = {
    "inputs": WORK["inputs"],
    "steps": [
        {"name": "deeper", "workflow": {"name": "work", "inputs": {"number": "${ inputs.number }"}}},
        {"name": "more", "function": {"name": "add", "with": {"values": ["${ steps.deeper.output }"]}}},
    ],
    "output": "${ steps.more.output }",
}


@pytest.fixture(scope="module")
def database(database):
    async def prepare():
        await witnessed(database)
        store = await Store.connect(database)
        await shelve(store, "work", WORK)
        await shelve(store, "middle", MIDDLE)
        await store.close()

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as loop:
        loop.run(prepare())
    return database


@pytest.fixture(scope="module")
def fleet(database, amqp_url, tmp_path_factory):
    with a_fleet(database, amqp_url, tmp_path_factory.mktemp("fleet")) as fleet:
        ready(fleet.start(slots=4))
        yield fleet


def a_graph(number):
    steps = [
        {"name": "each", "forEach": [number + item for item in range(4)], "maxParallel": 2,
         "workflow": {"name": "work", "inputs": {"number": "${ item }"}}},
        {"name": "one", "workflow": {"name": "middle", "inputs": {"number": number}}},
        {"name": "last", "needs": ["each"],
         "function": {"name": "add", "with": {"values": ["${ steps.one.output }"]}}},
    ]  # fmt: skip
    outputs = {"each": [number + item + 1 for item in range(4)], "last": number + 3}
    output = {"each": "${ steps.each.output }", "last": "${ steps.last.output }"}
    return Graph({"steps": steps, "output": output}, "Succeeded", outputs, frozenset({"last"}))


NOTHING = {
    "open": [], "not succeeded": [], "doubled": [], "twice of one step": [], "miscounted": [], "wrong number": []
}  # fmt: skip


async def the_children(dsn):
    """What must not be of any child. A run of the graph has six: one per item, one by itself, and one below that."""
    connection = await asyncpg.connect(dsn)
    try:
        facts = {
            "open": "select name from leat.run where parent_id is not null and finished_at is null",
            "not succeeded": "select name, error from leat.run where phase in (5, 6)",
            "doubled": """
                select w.run_id, w.scope, w.id from witness.written w join leat.run r on r.id = w.run_id
                where r.parent_id is not null group by 1, 2, 3 having count(*) > 1""",
            "twice of one step": """
                select parent_id, parent_scope, parent_step from leat.run
                where parent_id is not null group by 1, 2, 3 having count(*) > 1""",
            "miscounted": """
                select r.name, r.children, count(c.id) from leat.run r join leat.run c on c.parent_id = r.id
                group by r.id, r.name, r.children having count(c.id) <> r.children""",
            "wrong number": """
                select r.name, count(*) from leat.run r join leat.run c
                  on c.parent_id = r.id or c.parent_id in (select id from leat.run where parent_id = r.id)
                where r.parent_id is null group by r.name having count(*) <> 6""",
        }
        return {name: [tuple(row) for row in await connection.fetch(sql)] for name, sql in facts.items()}
    finally:
        await connection.close()


@pytest.mark.parametrize("passes", [2])
@pytest.mark.parametrize("point", POINTS)
async def test_a_runner_that_dies_there_loses_doubles_and_leaves_no_child(point, passes, fleet, database, amqp_url):
    doomed = fleet.start(slots=4, crash_at=f"{point}:{passes}")
    ready(doomed)
    async with Load.connected(database, amqp_url, fleet.effects) as load:
        waves = ((a_graph(RUNS * wave + number) for number in range(RUNS)) for wave in range(WAVES))
        await load.kill(doomed, point, waves)
        account = await load.settle()
    assert account.clean, str(account)
    await eventually(lambda: the_children(database), NOTHING, 10)
