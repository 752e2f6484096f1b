"""Bodies whose time passes while runners die: one end of each, nothing lost, nothing that runs on inside."""

import asyncio

import asyncpg
import pytest
from tests.support.fleet import a_fleet, ready
from tests.support.graphs import Graph
from tests.support.load import Load, witnessed
from tests.support.queue import eventually

POINTS = [
    f"{when} {what}" for what in ("open", "shut", "still", "claim", "commit") for when in ("before", "after")
]  # fmt: skip
RUNS, WAVES = 4, 20


@pytest.fixture(scope="module")
def database(database):
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as loop:
        loop.run(witnessed(database))
    return database


@pytest.fixture(scope="module")
def fleet(database, amqp_url, tmp_path_factory):
    with a_fleet(database, amqp_url, tmp_path_factory.mktemp("fleet")) as fleet:
        ready(fleet.start(slots=50), seconds=90)
        yield fleet


def add(name, values=(), **fields):
    return {"name": name, "function": {"name": "add", "with": {"values": list(values)}}, **fields}


def a_graph(number, timeout=None):
    """Bodies of every kind, whose time passes while steps in them run, wait, and are opened."""
    hang, nap = {"name": "hang", "function": {"name": "hang"}}, {"name": "nap", "wait": {"duration": "1h"}}
    pause = {"name": "pause", "repeat": {"max": 9, "delay": "1h"}, "transform": 1}
    inner = {"name": "inner", "timeout": "100ms", "steps": [add("inside"), {**hang, "needs": ["inside"]}]}
    taken = add("taken", needs=[{"step": "inner", "on": ["Failed"]}])
    bodies = [
        {"forEach": [1, 2, 3, 4], "maxParallel": 3, "steps": [add("quick"), {**hang, "needs": ["quick"]}]},
        {"repeat": {"max": 1000}, "steps": [add("time")]},
        {"switch": [{"default": True, "steps": [hang, nap, pause]}]},
        {"steps": [inner, taken, {**nap, "needs": ["taken"]}]},
    ]
    timeout = timeout or f"{250 + 20 * (number % 5)}ms"
    steps = [
        add("first"),
        {"name": "late", "needs": ["first"], "timeout": timeout, **bodies[number % 4]},
        add("caught", [number], needs=[{"step": "late", "on": ["Failed"]}]),
        add("last", ["${ steps.caught.output }"]),
    ]
    output = {"last": "${ steps.last.output }", "why": "${ steps.late.error.type }"}
    outputs = {"last": number + 2, "why": "Timeout"}
    return Graph({"steps": steps, "output": output}, "Succeeded", outputs, frozenset({"first", "caught", "last"}))


async def what_is_left(dsn):
    """What must not be there when all runs are over."""
    connection = await asyncpg.connect(dsn)
    try:
        facts = {
            "live": """
                select s.run_id, s.scope, s.id, s.state from leat.step s join leat.run r on r.id = s.run_id
                where r.finished_at is not null and s.state in (1, 2, 3)""",
            "due": "select run_id, scope, step_id from leat.block where due_at < now()",
            "ready": "select * from leat.ready",
            "timers": "select * from leat.timer",
            "miscounted": """
                select r.id, r.failed, r.skipped, f.failed, f.skipped from leat.run r cross join lateral (
                  select count(*) filter (where state = 5) as failed,
                    count(*) filter (where state in (6, 7, 8)) as skipped
                  from leat.step s where s.run_id = r.id and s.id > 0) f
                where (r.failed, r.skipped) <> (f.failed, f.skipped)""",
        }
        return {name: [tuple(row) for row in await connection.fetch(sql)] for name, sql in facts.items()}
    finally:
        await connection.close()


NOTHING = {"live": [], "due": [], "ready": [], "timers": [], "miscounted": []}


async def bodies(dsn, runs, within):
    """How many of the runs have a body that is due within so many seconds."""
    connection = await asyncpg.connect(dsn)
    question = """
        select count(*) from leat.block
        where scope = 0 and run_id = any($1) and due_at < now() + make_interval(secs => $2)"""
    found = await connection.fetchval(question, runs, within)
    await connection.close()
    return found


async def test_a_body_whose_time_passes_while_nobody_is_there_is_found_by_who_comes_next(database, amqp_url, tmp_path):
    with a_fleet(database, amqp_url, tmp_path) as fleet:
        runner = fleet.start(slots=50)
        ready(runner, seconds=90)
        async with Load.connected(database, amqp_url, fleet.effects) as load:
            runs = await load.submit(a_graph(number, "5s") for number in range(8))
            await eventually(lambda: bodies(database, runs, 3600), 8)
            runner.kill()
            await eventually(lambda: bodies(database, runs, 0), 8)
            ready(fleet.start(slots=50), seconds=90)
            account = await load.settle()
        assert account.clean, str(account)
    await eventually(lambda: what_is_left(database), NOTHING, 10)


@pytest.mark.parametrize("passes", [2])
@pytest.mark.parametrize("point", POINTS)
async def test_a_runner_that_dies_there_lets_each_body_have_one_end(point, passes, fleet, database, amqp_url):
    doomed = fleet.start(slots=50, crash_at=f"{point}:{passes}")
    ready(doomed, seconds=90)
    async with Load.connected(database, amqp_url, fleet.effects) as load:
        waves = ((a_graph(RUNS * wave + number) for number in range(RUNS)) for wave in range(WAVES))
        await load.kill(doomed, point, waves)
        account = await load.settle()
    assert account.clean, str(account)
    await eventually(lambda: what_is_left(database), NOTHING, 10)
