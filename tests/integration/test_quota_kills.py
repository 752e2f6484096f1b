"""The law of quotas: never more runs, nor steps, of a namespace at once, whatever dies; and nothing is stuck."""

import asyncio
import random

import asyncpg
import pytest
from tests.integration.test_limit_kills import most_at_once, rage
from tests.support.fleet import a_fleet, ready
from tests.support.graphs import Graph, a_graph
from tests.support.load import Load, witnessed
from tests.support.queue import eventually

from leat_engine.quota import NOTHING_SAID, Allowance

SPACE = "test"
HOLD = {"name": "hold", "function": {"name": "occupy", "with": {"seconds": 0.12}}}
ON = {"name": "on", "needs": ["hold"], "function": {"name": "add", "with": {"values": []}}}
OF_STEPS = Graph(
    spec={"steps": [HOLD, ON], "output": {"hold": "${ steps.hold.output }", "on": "${ steps.on.output }"}},
    phase="Succeeded",
    outputs={"hold": 1, "on": 1},
    effects=frozenset({"hold", "on"}),
)
WITNESS = """
create table witness.at_once (what text, used int);
create function witness.count_seats() returns trigger language plpgsql as $$
begin
  if new.held then
    insert into witness.at_once
      select 'steps', count(*) from leat.seat_now where namespace = new.namespace and held and stands;
  end if;
  return null;
end $$;
create trigger witness after insert or update on leat.seat for each row execute function witness.count_seats();
create function witness.count_runs() returns trigger language plpgsql as $$
begin
  if new.held is null and new.finished_at is null then
    insert into witness.at_once
      select 'runs', count(*) from leat.run where namespace = new.namespace and finished_at is null and held is null;
  end if;
  return null;
end $$;
create trigger witness after insert or update of held on leat.run for each row execute function witness.count_runs();
"""
"""Postgres itself counts whenever one is added."""


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


@pytest.mark.parametrize(
    "case",
    [
        (1, Allowance(steps=3), False),
        (2, Allowance(steps=3), True),
        (3, Allowance(active_runs=3), False),
        (4, Allowance(active_runs=4, steps=2), False),
    ],
    ids=("steps", "steps, frozen", "runs", "both"),
)
async def test_no_more_run_at_once_than_the_quota_and_none_is_stuck(case, fleet, database, amqp_url):
    seed, allowance, freeze = case
    draw = random.Random(seed)
    connection = await asyncpg.connect(database)
    await connection.execute("delete from witness.at_once")
    async with Load.connected(database, amqp_url, fleet.effects) as load:
        await load.store.quotas.put(SPACE, allowance)
        ready(*(fleet.start(slots=slots) for slots in (2, 8, 50)), seconds=90)
        raging = asyncio.create_task(rage(fleet, draw, freeze=freeze))
        while not raging.done():
            await load.submit([OF_STEPS] * 8)
            await asyncio.wait({raging}, timeout=0.8)
        account = await load.settle(90)
        assert account.clean, str(account)
        rows = await connection.fetch("select what, max(used) as most from witness.at_once group by what")
        most = {row["what"]: row["most"] for row in rows}
        print(f"struck {raging.result()}, most at once {most}, {account}")  # noqa: T201 - the figures of this test
        if allowance.steps is not None:
            assert most["steps"] == allowance.steps
            if not freeze:  # what was frozen inside its body finishes it: only its writes can be refused
                assert most_at_once(fleet.effects.with_name("effects.held")) <= allowance.steps
        if allowance.active_runs is not None:
            assert most["runs"] == allowance.active_runs
        used = await load.store.quotas.usage([SPACE])
        assert (used[SPACE].active_runs, used[SPACE].waiting_runs, used[SPACE].waiting_steps) == (0, 0, 0)
        await load.store.quotas.put(SPACE, NOTHING_SAID)
    await connection.close()


async def test_steps_of_bodies_joins_and_retries_have_seats_too(fleet, database, amqp_url):
    """Any graphs, few slots and fewer seats, while runners are killed."""
    ready(*(fleet.start(slots=slots) for slots in (3, 20)), seconds=90)
    async with Load.connected(database, amqp_url, fleet.effects) as load:
        await load.store.quotas.put(SPACE, Allowance(active_runs=12, steps=4))
        raging = asyncio.create_task(rage(fleet, random.Random(5), freeze=False))
        number = 0
        while not raging.done():
            await load.submit(a_graph(7000 + number + each) for each in range(6))
            number += 6
            await asyncio.wait({raging}, timeout=0.8)
        account = await load.settle(120)
        print(f"struck {raging.result()}, {account}")  # noqa: T201 - the figures of this test
        assert account.clean, str(account)
        used = (await load.store.quotas.usage([SPACE]))[SPACE]
        assert (used.active_runs, used.waiting_runs, used.waiting_steps) == (0, 0, 0)
        await load.store.quotas.put(SPACE, NOTHING_SAID)


async def test_a_quota_acts_within_a_heartbeat_on_runners_that_are_at_work(fleet, database, amqp_url):
    ready(fleet.start(slots=50), seconds=90)
    connection = await asyncpg.connect(database)
    async with Load.connected(database, amqp_url, fleet.effects) as load:
        await load.submit([OF_STEPS] * 100)
        await load.publish(await load.store.quotas.put(SPACE, Allowance(steps=0)))

        async def at_rest():
            running = await connection.fetchval("select count(*) from leat.step where state = 2")
            waiting = (await load.store.quotas.usage([SPACE]))[SPACE].waiting_steps
            return running, waiting > 0

        await eventually(at_rest, (0, True), 20)
        assert await load.unfinished()
        await load.publish(await load.store.quotas.put(SPACE, Allowance(steps=10)))
        account = await load.settle(60)
        assert account.clean, str(account)
        await load.publish(await load.store.quotas.put(SPACE, NOTHING_SAID))
    await connection.close()


POINTS = [f"{when} {what}" for what in ("seat", "put back", "admit") for when in ("before", "after")]


@pytest.fixture(scope="module")
def survivors(database, amqp_url, tmp_path_factory):
    """A fleet of which one runner stays. Tests with fleets of their own come before: it would take their steps."""
    with a_fleet(database, amqp_url, tmp_path_factory.mktemp("fleet")) as fleet:
        ready(fleet.start(slots=4), seconds=90)
        yield fleet


@pytest.mark.parametrize("point", POINTS)
async def test_a_runner_that_dies_there_keeps_no_room_and_no_run(point, survivors, database, amqp_url):
    doomed = survivors.start(slots=4, crash_at=f"{point}:2")
    ready(doomed, seconds=90)
    async with Load.connected(database, amqp_url, survivors.effects) as load:
        await load.publish(await load.store.quotas.put(SPACE, Allowance(active_runs=6, steps=2)))
        while doomed.alive:
            await load.submit([OF_STEPS] * 10)
            await load.settle(0.5)
        assert doomed.code == -9
        account = await load.settle(60)
        assert account.clean, str(account)
        used = (await load.store.quotas.usage([SPACE]))[SPACE]
        assert (used.active_runs, used.waiting_runs, used.waiting_steps) == (0, 0, 0)
        await load.store.quotas.put(SPACE, NOTHING_SAID)
