"""Runners whose questions to Postgres are lost on the way there, or whose answers on the way back."""

import asyncio
import random
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.support.fleet import FUNCTIONS, NAMESPACE
from tests.support.graphs import a_graph
from tests.support.hand import CANCEL, accepted, job
from tests.support.load import Load, witnessed
from tests.support.queue import eventually

from leat_engine.caretakers import CaretakerOptions, Caretakers
from leat_engine.errors import StoreUnavailable
from leat_engine.queue.rabbit import RabbitQueue
from leat_engine.result import Phase, State
from leat_engine.store import Store
from leat_runner.kinds import KindSettings, KindSetup, load_kinds
from leat_runner.work import Runner, RunnerOptions


class LossyStore(Store):
    """Loses one statement in ``one_in``: half of them before Postgres hears of it, half after it has done it."""

    draw = random.Random(0)
    one_in = 0

    async def _fetch(self, verb, *arguments):
        fate = self.draw.randrange(2 * self.one_in) if self.one_in else -1
        if fate == 0:
            raise StoreUnavailable("lost on the way there")
        rows = await super()._fetch(verb, *arguments)
        if fate == 1:
            raise StoreUnavailable("lost on the way back")
        return rows


@pytest.fixture(scope="module")
def database(database):
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as loop:
        loop.run(witnessed(database))
    return database


@pytest.fixture
def effects(tmp_path, monkeypatch):
    path = tmp_path / "effects"
    monkeypatch.setenv("LEAT_TEST_EFFECTS", str(path))
    return path


@asynccontextmanager
async def running(database, amqp_url, *, slots=20, store=Store, cared=True):
    """A runner in this process, with its caretakers."""
    store = await store.connect(database, size=6)
    queue = await RabbitQueue.connect(amqp_url, NAMESPACE)
    kinds = load_kinds(KindSetup(KindSettings(functions=(str(FUNCTIONS),))))
    runner = Runner(store, queue, kinds, RunnerOptions("in-process", slots=slots, heartbeat=0.2, grace=5))
    caretakers = Caretakers(store, queue, CaretakerOptions(interval=0.1, silent_for=5, patience=1))
    await runner.start()
    if cared:
        caretakers.start()
    try:
        yield runner
    finally:
        await caretakers.stop()
        await runner.stop()
        await queue.close()
        await store.close()


@pytest.mark.parametrize("seed", range(3))
async def test_no_step_is_lost_or_executed_twice_when_answers_are_lost(
    seed, database, amqp_url, effects: Path, monkeypatch
):
    monkeypatch.setattr(LossyStore, "draw", random.Random(seed))
    async with (
        Load.connected(database, amqp_url, effects) as load,
        running(database, amqp_url, store=LossyStore) as one,
        running(database, amqp_url, store=LossyStore, slots=3) as other,
    ):
        monkeypatch.setattr(LossyStore, "one_in", 10)
        await load.submit(a_graph(10_000 * seed + number) for number in range(60))
        account = await load.settle(40)
        monkeypatch.setattr(LossyStore, "one_in", 0)
        assert account.clean, str(account)
        await eventually(_ask(lambda: (one.busy, other.busy)), (0, 0))


async def test_a_runner_keeps_nothing_of_runs_that_are_over(database, amqp_url, effects):
    async with (
        Load.connected(database, amqp_url, effects) as load,
        running(database, amqp_url, slots=2) as one,
        running(database, amqp_url, slots=2) as other,
    ):
        await load.submit(a_graph(number, slowest=0.01) for number in range(30))
        account = await load.settle(30)
        assert account.clean, str(account)
        await eventually(_ask(lambda: len(one._desk.views) + len(other._desk.views)), 0)


async def test_an_error_that_is_no_valid_text_fails_its_step_and_not_the_runner(database, amqp_url, effects):
    spec = {"steps": [{"name": "mumble", "function": {"name": "mumble"}}]}
    async with Load.connected(database, amqp_url, effects) as load, running(database, amqp_url):
        run, jobs = await accepted(load.store, spec)
        await load.publish(jobs)
        await eventually(_phase(load.store, run), Phase.FAILED)
        found = await load.store.run(run.run_id)
        assert "caf" in found.error["message"]
        await load.submit([a_graph(1)])
        assert (await load.settle(20)).clean


async def test_a_step_that_is_interrupted_before_its_first_breath_is_cancelled(database, amqp_url, effects):
    spec = {"steps": [{"name": "hang", "function": {"name": "hang"}}]}
    async with Load.connected(database, amqp_url, effects) as load, running(database, amqp_url, cared=False) as runner:
        run, _ = await accepted(load.store, spec)
        await runner._claims.plans.get(run.revision)
        claims = await load.store.claim(runner.id, [job(run.run_id, 1)])
        await load.store.stop(run.run_id, CANCEL)
        told = await load.store.interrupted(runner.id)
        await runner._claims._adopt(claims, runner._desk.age)  # its task is made, and has not run yet
        for interrupted in told:
            runner._interrupt(interrupted)
        await eventually(_phase(load.store, run), Phase.CANCELLED)
        assert [step.state for step in await load.store.steps(run.run_id)] == [State.CANCELLED]


async def test_a_step_that_hangs_is_interrupted_even_if_the_word_of_it_is_lost(database, amqp_url, effects):
    spec = {"steps": [{"name": "hang", "function": {"name": "hang"}}]}
    async with Load.connected(database, amqp_url, effects) as load, running(database, amqp_url) as runner:
        run, jobs = await accepted(load.store, spec)
        await load.publish(jobs)
        await eventually(_ask(effects.exists), True)
        await load.store.stop(run.run_id, CANCEL)
        await load.store.interrupted(runner.id)  # read, and its answer lost
        await eventually(_phase(load.store, run), Phase.CANCELLED)


def _ask(look):
    async def ask():
        return look()

    return ask


def _phase(store, run):
    async def ask():
        return (await store.run(run.run_id)).phase

    return ask
