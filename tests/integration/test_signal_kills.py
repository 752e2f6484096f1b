"""Runs that wait for signals and approvals, on runners that are killed: nothing is lost, doubled or stuck."""

import asyncio
import random
from functools import partial

import pytest
from tests.support.fleet import a_fleet, ready
from tests.support.graphs import Graph
from tests.support.load import Load, witnessed
from tests.support.queue import eventually, until

from leat_engine.waits import Fate, Signal

POINTS = [f"{when} {what}" for what in ("hear", "claim", "commit") for when in ("before", "after")]
RUNS = 12


@pytest.fixture(scope="module")
def database(database):
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as loop:
        loop.run(witnessed(database))
    return database


@pytest.fixture(scope="module")
def fleet(database, amqp_url, tmp_path_factory):
    with a_fleet(database, amqp_url, tmp_path_factory.mktemp("fleet")) as fleet:
        ready(fleet.start(slots=4))
        yield fleet


def a_graph(number):
    """Two signals of one name, one after the other, an approval by two people, and effects between them."""
    first, second = 10 * number, 10 * number + 1
    steps = [
        {"name": "one", "signal": {"name": "paid"}},
        {"name": "book", "function": {"name": "add", "with": {"values": ["${ steps.one.output.payload }"]}}},
        {"name": "two", "needs": ["book"], "signal": {"name": "paid"}},
        {"name": "review", "approval": {"users": ["ann", "bob"], "minimum": 2}},
        {"name": "ship", "needs": ["two", "review"], "function": {"name": "add", "with": {"values": [1]}}},
    ]
    output = {
        "one": "${ steps.one.output.payload }",
        "two": "${ steps.two.output.payload }",
        "review": "${ steps.review.output.approved }",
        "book": "${ steps.book.output }",
        "ship": "${ steps.ship.output }",
    }
    outputs = {"one": first, "two": second, "review": True, "book": first + 1, "ship": 2}
    return Graph({"steps": steps, "output": output}, "Succeeded", outputs, frozenset({"book", "ship"}))


async def fate(load, run_id, signal):
    return (await load.store.signals.deliver(run_id, signal)).fate


async def tell(load, run_id, number, draw):
    """Tell a run all that it waits for, some of it twice, and votes again until they are taken."""
    for index in range(2):
        await asyncio.sleep(draw.random() * 0.3)
        for _ in range(draw.choice((1, 2))):
            signal = Signal(f"paid-{index}", "paid", 10 * number + index)
            assert await fate(load, run_id, signal) is Fate.DELIVERED
    for by in ("ann", "bob"):
        vote = Signal(by, "review", approve=True, by=by)
        await eventually(partial(fate, load, run_id, vote), Fate.DELIVERED, 60)


@pytest.mark.parametrize("passes", [1, 5])
@pytest.mark.parametrize("point", POINTS)
async def test_a_runner_that_dies_there_loses_and_doubles_no_signal(point, passes, fleet, database, amqp_url):
    draw = random.Random(f"{point}{passes}")
    doomed = fleet.start(slots=4, crash_at=f"{point}:{passes}")
    ready(doomed)
    async with Load.connected(database, amqp_url, fleet.effects) as load:
        for wave in range(10):
            numbers = range(wave * RUNS, (wave + 1) * RUNS)
            runs = await load.submit(map(a_graph, numbers))
            await asyncio.gather(*(tell(load, run, number, draw) for run, number in zip(runs, numbers, strict=True)))
            if not doomed.alive:
                break
        await until(lambda: not doomed.alive, 10)
        assert doomed.code == -9
        account = await load.settle()
    assert account.clean, str(account)
