"""A runner process as a member of its pool: its probes, its drain, and what it tells the store."""

import asyncio
import urllib.error
import urllib.request
from itertools import pairwise

import pytest
from tests.support.fleet import a_fleet, ready
from tests.support.graphs import Graph
from tests.support.load import Load, witnessed
from tests.support.queue import eventually

from leat_engine.store import migrate
from leat_stack.daemons import free_ports

LONG = 2.0
"""Seconds that a step takes: longer than the runner's heartbeats of 0.3 s."""


@pytest.fixture
async def load(postgres_dsn, amqp_url, tmp_path):
    await migrate(postgres_dsn)
    await witnessed(postgres_dsn)
    async with Load.connected(postgres_dsn, amqp_url, tmp_path / "effects") as client:
        yield client


@pytest.fixture
def fleet(postgres_dsn, amqp_url, tmp_path):
    with a_fleet(postgres_dsn, amqp_url, tmp_path) as runners:
        yield runners


def calls(*seconds):
    """A run of steps that take so long, one after the other."""
    steps = [
        {"name": f"s{index}", "function": {"name": "add", "with": {"values": [1], "seconds": each}}}
        for index, each in enumerate(seconds)
    ]
    for before, after in pairwise(steps):
        after["needs"] = [before["name"]]
    output = {step["name"]: f"${{ steps.{step['name']}.output }}" for step in steps}
    names = frozenset(output)
    return Graph({"steps": steps, "output": output}, "Succeeded", dict.fromkeys(names, 2), names)


def asked(port, path):
    """Status and text of a probe."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


async def probe(port, path):
    return await asyncio.to_thread(asked, port, path)


async def members(load):
    return {member.name: member for member in await load.store.pools.members()}


async def test_a_runner_announces_its_pool_and_says_what_it_holds(fleet, load):
    ready(fleet.start(pool="default", pool_revision="abc"))
    known = (await load.store.pools.announced())["default"]
    assert known.revision == "abc"
    assert {"http", "script", "function", "wait"} <= known.kinds
    assert "add" in known.functions
    await load.submit([calls(LONG)])

    async def held():
        member = (await members(load))["runner-0"]
        return (member.busy, member.held_seconds is not None)

    await eventually(held, (1, True))
    await eventually(held, (0, False))
    assert (await load.settle()).clean


async def test_a_runner_without_postgres_is_healthy_and_not_ready(fleet):
    (port,) = free_ports(1)
    runner = fleet.start(
        metrics_port=port, metrics_host="127.0.0.1", database_url="postgresql://nobody@127.0.0.1:1/none"
    )
    await eventually(lambda: probe(port, "/healthz"), (200, "healthy\n"), 30)
    assert await probe(port, "/readyz") == (503, "connecting to Postgres\n")
    runner.ask_to_leave()
    assert await asyncio.to_thread(runner.left, 10) == 0


async def test_a_runner_without_its_broker_is_ready(fleet, load):
    (port,) = free_ports(1)
    ready(fleet.start(metrics_port=port, metrics_host="127.0.0.1", amqp_url="amqp://127.0.0.1:1/"))
    assert await probe(port, "/readyz") == (200, "ready\n")
    _, metrics = await probe(port, "/metrics")
    assert 'leat_runner_slots{pool="default"} 200.0' in metrics
    await load.submit([calls(0)])
    assert (await load.settle()).clean


async def test_a_runner_that_has_to_go_finishes_its_steps_and_takes_nothing_new(fleet, load):
    (port,) = free_ports(1)
    leaving = fleet.start(metrics_port=port, metrics_host="127.0.0.1", slots=4)
    ready(leaving)
    running = await load.submit([calls(LONG), calls(LONG, 0)])

    async def busy():
        return (await members(load))["runner-0"].busy

    await eventually(busy, 2)
    leaving.ask_to_leave()

    async def draining():
        return (await members(load))["runner-0"].draining

    await eventually(draining, True)
    assert (await probe(port, "/readyz"))[0] == 503
    assert await load.store.pools.needed("default", 4) == 0
    await load.submit([calls(0) for _ in range(5)])
    assert await asyncio.to_thread(leaving.left, 30) == 0
    assert not leaving.events("drain_cut")
    unfinished = set(await load.unfinished())
    assert running[0] not in unfinished  # its step ended here
    assert len(unfinished) == 6  # the second step of the other run, and what came later, are for others

    async def needed():
        return await load.store.pools.needed("default", 4)

    await eventually(needed, 1)  # as soon as the runners that other tests have killed are not heard any more
    ready(fleet.start())
    assert (await load.settle()).clean
    steps = [step for run in running for step in await load.store.steps(run)]
    assert {step.attempt for step in steps} == {1}
