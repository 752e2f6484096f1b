"""Steps and runs that are held back, by real runners on a real Postgres."""

from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise

import pytest
from tests.support.fleet import FUNCTIONS
from tests.support.hand import CANCEL, accepted
from tests.support.queue import eventually

from leat_engine.caretakers import CaretakerOptions, Caretakers
from leat_engine.queue.local import LocalQueue
from leat_engine.result import State
from leat_engine.store import Store
from leat_runner.kinds import KindSettings, KindSetup, load_kinds
from leat_runner.work import Runner, RunnerOptions

FINE = {"function": {"name": "occupy", "with": {"seconds": 0.02}}}
BROKEN = {"function": {"name": "mumble"}}


def one(body, **fields):
    return {"steps": [{"name": "only", **body, **fields}]}


class Works:
    """A runner with its caretakers, and the runs that were given to it."""

    def __init__(self, store, queue, effects):
        self.store = store
        self.effects = effects
        self._queue = queue

    async def start(self, spec, **changes):
        run, jobs = await accepted(self.store, spec, **changes)
        await self._queue.publish(jobs)
        return run.run_id

    async def ended(self, *run_ids):
        runs = []
        for run_id in run_ids:

            async def over(run_id=run_id):
                return (await self.store.run(run_id)).phase.done

            await eventually(over, True, 30)
            runs.append(await self.store.run(run_id))
        return runs

    async def play(self, spec, **changes):
        (run,) = await self.ended(await self.start(spec, **changes))
        return run

    async def step(self, run_id, step=1):
        return next((found for found in await self.store.steps(run_id) if found.key.step == step), None)

    def most_at_once(self):
        holders, most = set(), 0
        for line in self.effects.with_name("effects.held").read_text().splitlines():
            sign, run = line.split()
            (holders.add if sign == "+" else holders.discard)(run)
            most = max(most, len(holders))
        return most


@asynccontextmanager
async def works_of(database, effects):
    async with AsyncExitStack() as stack:
        store = await Store.connect(database, size=6)
        stack.push_async_callback(store.close)
        queue = LocalQueue()
        runner = Runner(
            store,
            queue,
            load_kinds(KindSetup(KindSettings(functions=(str(FUNCTIONS),)))),
            RunnerOptions("limited", heartbeat=0.2),
        )
        caretakers = Caretakers(store, queue, CaretakerOptions(interval=0.1))
        await runner.start()
        stack.push_async_callback(runner.stop)
        caretakers.start()
        stack.push_async_callback(caretakers.stop)
        yield Works(store, queue, effects)


@pytest.fixture
async def works(database, tmp_path, monkeypatch):
    effects = tmp_path / "effects"
    monkeypatch.setenv("LEAT_TEST_EFFECTS", str(effects))
    async with works_of(database, effects) as works:
        yield works


# -- concurrency of steps ---------------------------------------------------------------------------------------------


async def test_steps_with_one_key_run_one_at_a_time_over_all_runs(works):
    spec = one(FINE, concurrency={"key": "mutex"})
    runs = await works.ended(*[await works.start(spec) for _ in range(12)])
    assert {run.phase.label for run in runs} == {"Succeeded"}
    assert works.most_at_once() == 1


async def test_who_waits_takes_no_slot_of_the_runner_and_says_what_it_waits_for(works):
    slow = {"function": {"name": "hang"}}
    holder = await works.start(one(slow, concurrency={"key": "${ run.namespace }-x"}))
    await eventually(lambda: _state(works, holder), State.CLAIMED)
    await eventually(lambda: _held(works, "test-x"), 1)
    waiter = await works.start(one(slow, concurrency={"key": "test-x"}))
    await eventually(lambda: _state(works, waiter), State.DELAYED)
    assert (await works.step(waiter)).note == "waits for concurrency test-x (position 1)"
    for run_id in (holder, waiter):
        await works.store.stop(run_id, CANCEL)
    await works.ended(holder, waiter)


async def test_a_key_is_evaluated_for_each_run(works):
    spec = one(FINE, concurrency={"key": "customer ${ inputs.customer }"})
    spec["inputs"] = {"customer": {"type": "string"}}
    first = await works.start(one({"function": {"name": "hang"}}, concurrency={"key": "customer a"}))
    await eventually(lambda: _held(works, "customer a"), 1)
    assert (await works.play(spec, inputs={"customer": "b"})).phase.label == "Succeeded"
    waiting = await works.start(spec, inputs={"customer": "a"})
    await eventually(lambda: _state(works, waiting), State.DELAYED)
    await works.store.stop(first, CANCEL)
    (run,) = await works.ended(waiting)
    assert run.phase.label == "Succeeded"


async def test_a_step_that_rejects_fails_as_busy(works):
    holder = await works.start(one({"function": {"name": "hang"}}, concurrency={"key": "busy"}))
    await eventually(lambda: _held(works, "busy"), 1)
    run = await works.play(one(FINE, concurrency={"key": "busy", "onConflict": "reject"}, retry={"max": 3}))
    assert (run.error["type"], run.error["details"]["key"]) == ("Busy", "busy")
    await works.store.stop(holder, CANCEL)
    await works.ended(holder)


async def test_a_wait_step_keeps_its_slot_and_waits_its_time_once_it_has_it(works):
    spec = one({"wait": {"duration": "50ms"}}, concurrency={"key": "nap"})
    runs = await works.ended(*[await works.start(spec) for _ in range(4)])
    assert {run.phase.label for run in runs} == {"Succeeded"}
    steps = [await works.step(run.run_id) for run in runs]
    ends = sorted(step.finished_at for step in steps)
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(ends)]
    assert min(gaps) >= 0.05  # a lower bound, which no slow machine breaks


async def test_a_deadline_holds_for_the_waiting_too(works):
    holder = await works.start(one({"function": {"name": "hang"}}, concurrency={"key": "late"}))
    await eventually(lambda: _held(works, "late"), 1)
    run = await works.play(one(FINE, concurrency={"key": "late"}, deadline="200ms"))
    assert run.error["type"] == "Timeout"
    await works.store.stop(holder, CANCEL)
    await works.ended(holder)


async def test_a_key_that_holds_a_sensitive_input_is_refused(works):
    spec = one(FINE, concurrency={"key": "${ inputs.card }"})
    spec["inputs"] = {"card": {"type": "string", "sensitive": True}}
    run = await works.play(spec, inputs={"card": "4111-1111"})
    assert run.error["type"] == "Expression"
    assert "spec.steps[0].concurrency.key: the key holds a sensitive input" in run.error["message"]
    assert "4111" not in run.error["message"]


# -- concurrency of runs ----------------------------------------------------------------------------------------------


async def test_runs_with_one_key_follow_each_other(works):
    spec = {**_pair(), "concurrency": {"key": "one by one"}}
    runs = await works.ended(*[await works.start(spec) for _ in range(6)])
    assert {run.phase.label for run in runs} == {"Succeeded"}
    assert works.most_at_once() == 1
    await eventually(lambda: _held(works, "runs of one by one"), 0)


async def test_a_run_that_rejects_fails_as_busy(works):
    spec = {**one({"function": {"name": "hang"}}), "concurrency": {"onConflict": "reject"}}
    first = await works.start(spec)
    await eventually(lambda: _held(works, "runs of test"), 1)
    run = await works.play(spec)
    assert (run.phase.label, run.error["type"]) == ("Failed", "Busy")
    await works.store.stop(first, CANCEL)
    await works.ended(first)


async def test_a_run_that_replaces_has_the_earlier_ones_cancelled_and_follows(works):
    hang = {**one({"function": {"name": "hang"}}), "concurrency": {"key": "newest", "onConflict": "replace"}}
    first = await works.start(hang)
    await eventually(lambda: _held(works, "runs of newest"), 1)
    last = await works.start({**one(FINE), "concurrency": {"key": "newest", "onConflict": "replace"}})
    old, new = await works.ended(first, last)
    assert (old.phase.label, old.error["reason"]) == ("Cancelled", "Replaced")
    assert new.phase.label == "Succeeded"


# -- rate, breaker, cache ---------------------------------------------------------------------------------------------


async def test_starts_are_no_more_than_the_rate_allows(works):
    spec = one(FINE, rateLimit={"key": "slow", "rate": 20, "per": "1s", "burst": 2})
    runs = await works.ended(*[await works.start(spec) for _ in range(12)])
    assert {run.phase.label for run in runs} == {"Succeeded"}
    ends = sorted([(await works.step(run.run_id)).finished_at for run in runs])
    assert (ends[-1] - ends[0]).total_seconds() >= 0.4  # ten starts behind the burst, but for the time of one body


async def test_both_limits_of_a_step_hold(works):
    spec = one(FINE, concurrency={"key": "both"}, rateLimit={"key": "both", "rate": 50, "per": "1s"})
    runs = await works.ended(*[await works.start(spec) for _ in range(8)])
    assert {run.phase.label for run in runs} == {"Succeeded"}
    assert works.most_at_once() == 1


async def test_an_open_breaker_fails_attempts_at_once_and_a_retry_finds_it_closed_again(works):
    breaker = {"key": "down", "failures": 2, "window": "1m", "coolDown": "300ms"}
    for _ in range(2):
        await works.play(one(BROKEN, breaker=breaker))
    run = await works.play(one(FINE, breaker=breaker))
    assert run.error["type"] == "BreakerOpen"
    assert not works.effects.exists()
    retry = {"max": 10, "backoff": {"initial": "50ms", "jitter": "none"}}
    assert (await works.play(one(FINE, breaker=breaker, retry=retry))).phase.label == "Succeeded"
    assert (await works.store.turns.show("test")).breakers == ()


async def test_a_result_that_is_kept_spares_the_step_and_says_so(works):
    spec = one(FINE, cache={"key": "today", "ttl": "1h"})
    first, second = await works.play(spec), await works.play(spec)
    assert [run.phase.label for run in (first, second)] == ["Succeeded", "Succeeded"]
    assert len(works.effects.read_text().splitlines()) == 1
    step = await works.step(second.run_id)
    assert (step.output, step.note) == (1, "cached: taken from an earlier result")


async def test_an_output_with_a_sensitive_input_is_not_kept(works):
    echo = {"script": {"shell": "bash", "run": 'echo "$CARD" > "$LEAT_OUTPUT"', "env": {"CARD": "${ inputs.card }"}}}
    spec = one(echo, cache={"key": "echo", "ttl": "1h"})
    spec["inputs"] = {"card": {"type": "string", "sensitive": True}}
    for card in ("4111-1111", "4222-2222"):
        run = await works.play(spec, inputs={"card": card})
        assert (await works.step(run.run_id)).output == card


def _pair():
    steps = [{"name": "a", **FINE}, {"name": "b", **FINE}, {"name": "c", "needs": ["a", "b"], **FINE}]
    return {"steps": steps}


async def _state(works, run_id):
    step = await works.step(run_id)
    return None if step is None else step.state


async def _held(works, key):
    return sum(slot.held for slot in (await works.store.turns.show("test")).slots if slot.key == key)
