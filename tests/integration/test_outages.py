"""Postgres or RabbitMQ, or both, are killed, stopped or frozen under load. Runs go on, or wait and then go on."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
from tests.support.fleet import Fleet, a_fleet, ready
from tests.support.graphs import a_graph
from tests.support.load import Load, witnessed

from leat_engine.store import migrate
from leat_stack import Part, down, up
from leat_stack.daemons import Daemons
from leat_stack.stack import stop

BROKEN_FOR = 2.5
"""Seconds: much longer than a runner may be silent, which is 0.9 here."""


@dataclass(frozen=True)
class Site:
    """A stack that may be broken, with two runners on it."""

    home: Path
    dsn: str
    amqp_url: str
    fleet: Fleet


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    home = tmp_path_factory.mktemp("site")
    stack = up(home, [Part.POSTGRES, Part.RABBITMQ])
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as loop:
        loop.run(migrate(stack.postgres_dsn))
        loop.run(witnessed(stack.postgres_dsn))
    try:
        with a_fleet(stack.postgres_dsn, stack.amqp_url, tmp_path_factory.mktemp("fleet")) as fleet:
            ready(fleet.start(slots=8), fleet.start(slots=8))
            yield Site(home, stack.postgres_dsn, stack.amqp_url, fleet)
    finally:
        down(home)


def _kill(*parts: Part) -> Callable[[Path], Callable[[], object]]:
    def broken(home: Path) -> Callable[[], object]:
        stop(home, parts, kill=True)
        return lambda: up(home, parts)

    return broken


def _stop(*parts: Part) -> Callable[[Path], Callable[[], object]]:
    def broken(home: Path) -> Callable[[], object]:
        stop(home, parts)
        return lambda: up(home, parts)

    return broken


def _freeze(part: Part) -> Callable[[Path], Callable[[], object]]:
    def broken(home: Path) -> Callable[[], object]:
        daemon = Daemons(home).find(part)
        assert daemon is not None
        everyone = [daemon, *daemon.children(recursive=True)]
        for process in everyone:
            process.suspend()
        return lambda: [process.resume() for process in everyone]

    return broken


OUTAGES = {
    "Postgres killed": _kill(Part.POSTGRES),
    "Postgres restarted": _stop(Part.POSTGRES),
    "Postgres frozen": _freeze(Part.POSTGRES),
    "RabbitMQ killed": _kill(Part.RABBITMQ),
    "RabbitMQ frozen": _freeze(Part.RABBITMQ),
    "both killed": _kill(Part.POSTGRES, Part.RABBITMQ),
}


@pytest.mark.parametrize("outage", OUTAGES)
async def test_no_run_is_lost_and_no_runner_taken_for_dead_by_an_outage(outage, site):
    seed = 1000 * list(OUTAGES).index(outage)
    await asyncio.to_thread(up, site.home, [Part.POSTGRES, Part.RABBITMQ])
    async with Load.connected(site.dsn, site.amqp_url, site.fleet.effects) as load:
        await load.submit(a_graph(seed + number, slowest=0.4) for number in range(60))
        mend = await asyncio.to_thread(OUTAGES[outage], site.home)
        begun = asyncio.get_running_loop().time() + BROKEN_FOR
        late = asyncio.create_task(load.submit(a_graph(seed + number) for number in range(60, 80)))
        await asyncio.wait({late}, timeout=BROKEN_FOR)
        await asyncio.sleep(max(0.0, begun - asyncio.get_running_loop().time()))  # an outage is a length of time
        await asyncio.to_thread(mend)
        await late
        account = await load.settle(40)
        assert account.clean, str(account)
        assert await _rows(site.dsn, "select id from leat.runner where not alive") == []
        assert not any(runner.events("fenced") for runner in site.fleet.runners)


async def test_without_the_broker_runs_go_on(site):
    await asyncio.to_thread(up, site.home, [Part.POSTGRES, Part.RABBITMQ])
    async with Load.connected(site.dsn, site.amqp_url, site.fleet.effects) as load:
        await asyncio.to_thread(stop, site.home, [Part.RABBITMQ], kill=True)
        await load.submit(a_graph(number) for number in range(7000, 7030))
        account = await load.settle(20)
        assert account.clean, str(account)
        await asyncio.to_thread(up, site.home, [Part.RABBITMQ])
        await load.submit(a_graph(number) for number in range(7030, 7060))
        account = await load.settle(20)
        assert account.clean, str(account)


async def _rows(dsn, question):
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetch(question)
    finally:
        await connection.close()
