"""Real runners under load are killed, frozen and thawed, and asked to leave. Afterwards it is counted."""

import asyncio
import random
import time
from dataclasses import dataclass, field

import asyncpg
import pytest
from tests.support.fleet import a_fleet, ready
from tests.support.graphs import a_graph
from tests.support.hand import accepted
from tests.support.load import Load, witnessed
from tests.support.queue import eventually, until

from leat_engine.result import Phase

SECONDS = 15.0


@dataclass
class Chaos:
    """Somebody who cannot leave runners alone. At least one of them is always left in peace."""

    fleet: object
    draw: random.Random
    kills: int = 0
    freezes: int = 0
    frozen: dict = field(default_factory=dict)

    async def go_on(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            await asyncio.sleep(self.draw.uniform(0.1, 0.5))  # random moments are what this is about
            self._thaw(time.monotonic())
            active = [runner for runner in self.fleet.runners if runner.alive and runner not in self.frozen]
            if len(active) > 1:
                self._strike(self.draw.choice(active))
        self._thaw(float("inf"))

    def _strike(self, runner) -> None:
        if self.draw.random() < 0.5:
            runner.kill()
            self.kills += 1
            self.fleet.start(slots=self.draw.choice((2, 8, 50)))
        else:
            runner.freeze()
            self.freezes += 1
            self.frozen[runner] = time.monotonic() + self.draw.uniform(0.1, 2.5)

    def _thaw(self, now: float) -> None:
        for runner in [runner for runner, end in self.frozen.items() if end <= now]:
            runner.thaw()
            del self.frozen[runner]


@pytest.fixture(scope="module")
def database(database):
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as loop:
        loop.run(witnessed(database))
    return database


@pytest.fixture
def fleet(database, amqp_url, tmp_path):
    with a_fleet(database, amqp_url, tmp_path) as fleet:
        yield fleet


@pytest.mark.parametrize("seed", [1, 2])
async def test_nothing_is_lost_doubled_or_stuck_when_runners_are_killed_and_frozen(seed, fleet, database, amqp_url):
    ready(*(fleet.start(slots=slots) for slots in (2, 8, 50)))
    chaos = Chaos(fleet, random.Random(seed))
    async with Load.connected(database, amqp_url, fleet.effects) as load:
        raging = asyncio.create_task(chaos.go_on(SECONDS))
        number = 0
        while not raging.done():
            await load.submit(a_graph(100_000 * seed + number + more, slowest=0.3) for more in range(10))
            number += 10
            await asyncio.wait({raging}, timeout=0.4)
        await raging
        account = await load.settle(60)
    print(f"kills {chaos.kills}, freezes {chaos.freezes}, {account}")  # noqa: T201 - the figures of this test
    assert account.clean, str(account)
    assert chaos.kills > 5
    assert chaos.freezes > 5


async def test_a_runner_that_was_frozen_for_too_long_is_fenced_and_goes_on_under_a_new_id(fleet, database, amqp_url):
    frozen = fleet.start()
    ready(frozen)
    async with Load.connected(database, amqp_url, fleet.effects) as load:
        await load.submit(a_graph(number, slowest=0.3) for number in range(40))
        await until(fleet.effects.exists, 20)
        frozen.freeze()
        other = fleet.start()  # now: else it could have taken all steps before the first one held any
        await until(lambda: other.events("rescued"), 30)
        frozen.thaw()
        await until(lambda: len(frozen.events("runner_registered")) == 2, 20)
        (fenced,) = frozen.events("fenced")
        first, second = (event["runner"] for event in frozen.events("runner_registered"))
        assert fenced["runner"] == first != second
        other.kill()
        await load.submit(a_graph(number) for number in range(40, 50))
        account = await load.settle(30)
        assert account.clean, str(account)


async def test_a_runner_that_is_asked_to_leave_under_load_loses_nothing(fleet, database, amqp_url):
    leaving = [fleet.start(heartbeat=2, slots=slots) for slots in (2, 20)]
    staying = fleet.start(heartbeat=2)
    ready(staying, *leaving)
    async with Load.connected(database, amqp_url, fleet.effects) as load:
        ids = await load.submit(a_graph(number, slowest=0.5) for number in range(80))
        await until(fleet.effects.exists, 20)
        for runner in leaving:
            runner.ask_to_leave()
        assert [await asyncio.to_thread(runner.left, 30) for runner in leaving] == [0, 0]
        account = await load.settle(40)
        assert account.clean, str(account)
    lost = await _rows(database, "select * from leat.step where lost > 0 and run_id = any($1)", ids)
    assert lost == []


async def test_a_runner_that_is_asked_to_leave_hands_back_what_takes_too_long(fleet, database, amqp_url):
    spec = {"steps": [{"name": "hang", "function": {"name": "hang"}}]}
    leaving = fleet.start(heartbeat=2, grace=0.5)
    ready(leaving)
    async with Load.connected(database, amqp_url, fleet.effects) as load:
        run, jobs = await accepted(load.store, spec)
        await load.publish(jobs)
        await until(fleet.effects.exists, 20)
        leaving.ask_to_leave()
        assert await asyncio.to_thread(leaving.left, 30) == 0
        (step,) = await load.store.steps(run.run_id)
        assert (step.state.label, step.attempt, step.runner) == ("Ready", 2, None)
        (attempt,) = await load.store.shown.attempts(run.run_id, range(1, 2), 9)
        assert attempt.record.error["type"] == "RunnerStopped"
        assert not await _rows(database, "select from leat.step where run_id = $1 and lost > 0", run.run_id)


async def test_a_step_that_takes_three_runners_with_it_fails_as_runner_lost(fleet, database, amqp_url):
    spec = {"steps": [{"name": "poison", "function": {"name": "poison"}}]}
    runners = [fleet.start() for _ in range(4)]
    ready(*runners)
    async with Load.connected(database, amqp_url, fleet.effects) as load:
        run, jobs = await accepted(load.store, spec)
        await load.publish(jobs)
        await until(lambda: sum(not runner.alive for runner in runners) == 3, 30)

        async def phase():
            return (await load.store.run(run.run_id)).phase

        await eventually(phase, Phase.FAILED)
        assert (await load.store.run(run.run_id)).error["type"] == "RunnerLost"
        assert sum(runner.alive for runner in runners) == 1


async def _rows(dsn, question, *arguments):
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetch(question, *arguments)
    finally:
        await connection.close()
