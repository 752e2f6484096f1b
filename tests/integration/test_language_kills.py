"""Workflows that use the whole language at once, on runners that are killed: nothing is lost or stuck."""

import asyncio
import random
import time

import asyncpg
import pytest
from tests.support.family import shelve
from tests.support.fleet import a_fleet, ready
from tests.support.graphs import ADD, Graph
from tests.support.load import Load, witnessed

from leat_engine.quota import Allowance
from leat_engine.store import Store
from leat_engine.waits import Signal

SECONDS = 12.0
CHILD = {"steps": [{"name": "work", "function": ADD}], "output": "${ steps.work.output }"}
UNDO = {"function": ADD}


@pytest.fixture(scope="module")
def database(database):
    async def prepare():
        await witnessed(database)
        store = await Store.connect(database)
        await shelve(store, "child", CHILD)
        await store.close()

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as loop:
        loop.run(prepare())
    return database


@pytest.fixture
def fleet(database, amqp_url, tmp_path):
    with a_fleet(database, amqp_url, tmp_path) as fleet:
        yield fleet


def function(name, *values, **fields):
    return {"name": name, "function": {"name": "add", "with": {"values": list(values)}}, "compensate": UNDO, **fields}


def a_graph(number):
    """Every word of the language that needs no other system; every other run fails at its end, and undoes it all."""
    steps = [
        function("each", "${ item }", forEach=[1, 2, 3], maxParallel=2, concurrency={"key": "gate", "limit": 3}),
        function("again", "${ iteration }", repeat={"max": 2}),
        {
            "name": "way",
            "switch": [
                {"when": "${ steps.again.output > 100 }", "steps": [function("never")]},
                {"default": True, "steps": [function("taken", 1)], "output": "${ steps.taken.output }"},
            ],
        },
        function("paced", "${ steps.way.output }", rateLimit={"key": "pace", "rate": 200, "per": "1s", "burst": 50}),
        function("kept", 5, cache={"key": "${ run.id }", "ttl": "1h"}, breaker={"key": "fuse", "failures": 100}),
        {"name": "child", "workflow": {"name": "child"}},
        {"name": "told", "signal": {"name": "go"}},
        {"name": "pause", "wait": {"duration": "20ms"}},
        {"name": "stumbles", "function": {"name": "stumble", "with": {"values": [1]}}, "compensate": UNDO,
         "retry": {"max": 3, "backoff": {"initial": "10ms"}}},
        function("sum", "${ steps.child.output }", "${ steps.told.output.payload }",
                 needs=["each", "paced", "kept", "pause", "stumbles"]),
    ]  # fmt: skip
    failing = number % 2 == 1
    if failing:
        steps.append({"name": "refuse", "needs": ["sum"], "fail": {"message": "on purpose"}})
    outputs = {"each": [2, 3, 4], "again": 2, "way": 2, "paced": 3, "kept": 6, "child": 1, "stumbles": 2, "sum": 9}
    output = {name: f"${{ steps.{name}.output }}" for name in outputs}
    return Graph(
        {"steps": steps, "output": output, "finally": [{"name": "last", "function": ADD}]},
        "Failed" if failing else "Succeeded",
        outputs,
        frozenset({"each", "again", "paced", "kept", "stumbles", "sum"}),
        undoes=True,
    )


async def test_nothing_is_lost_doubled_or_stuck_of_workflows_that_use_the_whole_language(fleet, database, amqp_url):
    draw = random.Random(5)
    ready(*(fleet.start(slots=slots) for slots in (4, 8, 30)))
    struck, number, end = 0, 0, time.monotonic() + SECONDS
    async with Load.connected(database, amqp_url, fleet.effects) as load:
        await load.store.quotas.put("test", Allowance(active_runs=40, steps=60))
        while time.monotonic() < end:
            runs = await load.submit(a_graph(number + more) for more in range(6))
            number += 6
            for run in runs:
                await load.store.signals.deliver(run, Signal(id="go", name="go", payload=7))
            await asyncio.sleep(draw.uniform(0.3, 0.6))  # random moments are what this is about
            victim = draw.choice([runner for runner in fleet.runners if runner.alive])
            victim.kill()
            struck += 1
            fleet.start(slots=draw.choice((4, 8, 30)))
        account = await load.settle(120)
    children = await _children(database)
    print(f"killed {struck}, {account}, children {children}")  # noqa: T201 - the figures of this test
    assert account.clean, str(account)
    assert children == [number, number]
    assert struck > 5


async def _children(dsn):
    """How many runs have a child, and how many children have succeeded: one each."""
    connection = await asyncpg.connect(dsn)
    try:
        return [
            await connection.fetchval("select count(distinct parent_id) from leat.run where parent_id is not null"),
            await connection.fetchval("select count(*) from leat.run where parent_id is not null and phase = 4"),
        ]
    finally:
        await connection.close()
