"""Durations on a real Postgres: learned from runs, once each, whoever dies, and never across namespaces."""

import asyncio
import os
import sys
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.hand import Hand, accepted, done, steps
from tests.support.pgbouncer import pooled
from tests.support.queue import eventually

from leat_engine.durations import expectations
from leat_engine.estimate import Forecast, Situation
from leat_engine.job import uuid7
from leat_engine.plan import compile_plan
from leat_engine.queue.local import LocalQueue
from leat_engine.records import NewRun, Revision, Root
from leat_engine.spec import parse_spec
from leat_engine.spec.kinds import load_models
from leat_engine.store import Store
from leat_engine.store.durations import RUNS, WorkflowKey
from leat_runner.kinds import KindSettings, KindSetup, load_kinds
from leat_runner.work import Runner, RunnerOptions

TEST = WorkflowKey("test", "test")
BODIES = {
    "steps": [
        {"name": "slow", "wait": {"duration": "200ms"}},
        {"name": "each", "forEach": [1, 2, 3], "wait": {"duration": "20ms"}},
        {"name": "poll", "repeat": {"until": "${ iteration == 1 }", "max": 5}, "transform": "${ iteration }"},
        {
            "name": "choose",
            "switch": [
                {"when": "${ 1 > 2 }", "steps": [{"name": "no", "transform": 1}]},
                {"default": True, "steps": [{"name": "yes", "wait": {"duration": "30ms"}}]},
            ],
        },
        {"name": "flaky", "script": {"run": "exit 1"}, "retry": {"max": 1, "backoff": {"initial": "10ms"}}},
        {"name": "mend", "needs": [{"step": "flaky", "on": ["Failed"]}], "transform": 1},
        {"name": "never", "when": "${ 1 > 2 }", "transform": 1},
    ]
}


def soon():
    """When all runs of now may be looked at."""
    return datetime.now(UTC) + timedelta(seconds=10)


@pytest.fixture
async def hand(store):
    return await Hand.registered(store)


@pytest.fixture(autouse=True)
async def nothing_known(store):
    """Each test begins with a store that has learned nothing, and has looked at everything."""
    await store._pool.execute("truncate leat.duration, leat.unfolded")
    await store._pool.execute("update leat.run set phase = 6, live = 0, finished_at = now() where finished_at is null")
    await looked_at(store)


async def looked_at(store):
    """All runs up to now were looked at; `soon` is further than that."""
    await store._pool.execute("update leat.folding set upto = $1", uuid7(datetime.now(UTC), bytes(10)))


async def ended(store, hand, seconds, **changes):
    """A run of one step that took so long."""
    spec = steps("a")
    run, jobs = await accepted(store, spec, **changes)
    await hand.claim(jobs)
    await hand.end(hand.view(run, spec, 1, complete=True), done(1))
    await store._pool.execute(
        "update leat.step set started_at = finished_at - make_interval(secs => $2), opened_at = finished_at - "
        "make_interval(secs => $2 + 1) where run_id = $1 and id = 1",
        run.run_id,
        float(seconds),
    )
    return run


async def known(store, key=TEST):
    return (await store.durations.of([key]))[key]


async def run_to_its_end(store, spec):
    """A run by a real runner, and its plan."""
    queue = LocalQueue()
    runner = Runner(store, queue, load_kinds(KindSetup(KindSettings())), RunnerOptions("durations", slots=20))
    await runner.start()
    try:
        run_id = uuid7(datetime.now(UTC), os.urandom(10))
        plan = compile_plan(parse_spec(spec), load_models(), run_id.hex)
        await store.save_revision(Revision(run_id.hex, "test", "test", spec))
        roots = tuple(Root(root, "default") for root in plan.roots)
        (new,) = await store.accept([NewRun(run_id, "test", "x", "test", run_id.hex, {}, roots, plan.total)])
        await queue.publish(new.jobs)

        async def over():
            await queue.publish(await store.care.wake(100))
            run = await store.run(run_id)
            return run.phase.done

        await eventually(over, True, 30)
        return run_id, plan
    finally:
        await runner.stop()
        await queue.close()


async def test_the_steps_of_runs_that_ended_tell_how_long_they_took(store, hand):
    for seconds in (10, 20, 30):
        await ended(store, hand, seconds)
    assert await store.durations.fold(soon()) == 3
    (facts,) = (await known(store)).values()
    assert (facts.kind, facts.ran, facts.tries) == ("function", 3.0, 3.0)
    expected = facts.expected()
    assert expected.took.quantile(0.5) == pytest.approx(20, rel=0.05)
    assert expected.span.quantile(0.9) == pytest.approx(31, rel=0.05)


async def test_the_same_run_is_not_learned_from_again(store, hand):
    await ended(store, hand, 5)
    assert [await store.durations.fold(soon()) for _ in range(3)] == [1, 0, 0]
    assert (await known(store))["a"].ran == 1.0


async def test_a_run_that_is_under_way_is_looked_at_again_until_it_is_over(store, hand):
    spec = steps("a")
    run, jobs = await accepted(store, spec)
    await ended(store, hand, 5)
    assert await store.durations.fold(soon()) == 1
    assert await store.durations.fold(soon()) == 0
    await hand.claim(jobs)
    await hand.end(hand.view(run, spec, 1, complete=True), done(1))
    assert await store.durations.fold(soon()) == 1
    assert 1.99 < (await known(store))["a"].ran < 2
    assert await store._pool.fetchval("select count(*) from leat.unfolded") == 0


async def test_a_time_is_bounded_and_the_next_one_goes_on(store, hand):
    for _ in range(RUNS + 5):
        await ended(store, hand, 1)
    assert [await store.durations.fold(soon()) for _ in range(3)] == [RUNS, 5, 0]


async def test_who_is_far_behind_passes_over_what_is_old(store, hand):
    for _ in range(RUNS + 5):
        await ended(store, hand, 1)
    late = datetime.now(UTC) + timedelta(minutes=5)
    assert [await store.durations.fold(late) for _ in range(2)] == [RUNS, 0]


async def test_a_namespace_learns_nothing_of_another_one(store, hand):
    await ended(store, hand, 5)
    await ended(store, hand, 500, namespace="other")
    await store.durations.fold(soon())
    assert (await known(store))["a"].ran == 1.0
    assert (await known(store, WorkflowKey("other", "test")))["a"].expected().took.quantile(0.5) > 400
    assert await known(store, WorkflowKey("third", "test")) == {}


async def test_a_run_that_brings_its_own_workflow_teaches_nothing(store, hand):
    await ended(store, hand, 5, name="one", workflow="one", uid="u-1")
    assert await store.durations.fold(soon()) == 1
    assert await store._pool.fetchval("select count(*) from leat.duration") == 0


async def test_what_bodies_retries_and_conditions_did_is_known(store):
    _, plan = await run_to_its_end(store, BODIES)
    assert await store.durations.fold(soon()) == 1
    found = await known(store)
    assert {path: (facts.kind, facts.ran, facts.skipped) for path, facts in found.items()} == {
        "slow": ("wait", 1, 0),
        "each": ("forEach", 1, 0),
        "each[]": ("wait", 3, 0),
        "poll": ("repeat", 1, 0),
        "poll[]": ("transform", 2, 0),
        "choose": ("switch", 1, 0),
        "choose[1]/yes": ("wait", 1, 0),
        "flaky": ("script", 1, 0),
        "mend": ("transform", 1, 0),
        "never": ("transform", 0, 1),
    }
    assert (found["each"].expected().times, found["poll"].expected().times) == (3.0, 2.0)
    assert found["choose"].cases == {1: 1.0}
    assert (found["flaky"].tries, found["flaky"].failed, found["flaky"].expected().fails) == (2.0, 1.0, 1.0)
    assert found["slow"].expected().span.quantile(0.5) > 0.18
    estimate = Forecast(plan, expectations(found)).estimate(Situation(), datetime.now(UTC))
    assert estimate.finish - datetime.now(UTC) > timedelta(seconds=0.15)


async def test_durations_outlast_a_revision_and_begin_anew_with_another_kind(store, hand):
    await ended(store, hand, 5)
    await store.durations.fold(soon())
    await looked_at(store)
    again = {"steps": [{"name": "b", "transform": 1}, {"name": "a", "wait": {"duration": "10ms"}}]}
    await run_to_its_end(store, again)
    await store.durations.fold(soon())
    found = await known(store)
    assert (found["a"].kind, found["a"].ran) == ("wait", 1.0)
    assert found["b"].kind == "transform"


async def test_how_far_runs_are_is_one_question(store, hand):
    spec = steps("a", b=["a"])
    first, jobs = await accepted(store, spec)
    second, _ = await accepted(store, spec)
    await hand.claim(jobs)
    await hand.end(hand.view(first, spec, 1), done(1))
    before = store.statements
    found = await store.durations.situations([first.run_id, second.run_id])
    assert store.statements == before  # it counts the others'
    assert (found[first.run_id].done, set(found[first.run_id].live)) == (frozenset({1}), {2})
    assert (found[second.run_id].done, set(found[second.run_id].live)) == (frozenset(), {1})
    assert all(0 <= seconds < 60 for seconds in found[first.run_id].live.values())


@pytest.mark.parametrize(("point", "left"), [("before fold", 1), ("after fold", 0)])
async def test_whoever_dies_there_has_learned_all_or_nothing(point, left, store, hand, database):
    await ended(store, hand, 5)
    code = (
        "import asyncio, sys; from datetime import UTC, datetime, timedelta; from leat_engine.store import Store\n"
        "async def main():\n"
        "    store = await Store.connect(sys.argv[1])\n"
        "    await store.durations.fold(datetime.now(UTC) + timedelta(seconds=10))\n"
        "asyncio.run(main())"
    )
    died = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, database, env={**os.environ, "LEAT_CRASH_AT": point}
    )
    assert await asyncio.wait_for(died.wait(), 60) == -9
    assert await store.durations.fold(soon()) == left
    assert (await known(store))["a"].ran == 1.0


async def test_what_is_not_heard_of_any_more_is_forgotten(store, hand):
    await ended(store, hand, 5)
    await store.durations.fold(soon())
    await store.durations.forget(timedelta(days=1))
    assert await known(store) != {}
    await store._pool.execute("update leat.duration set updated_at = now() - interval '2 days'")
    await store.durations.forget(timedelta(days=1))
    assert await known(store) == {}


async def test_durations_go_through_a_transaction_mode_pooler(store, hand, database, tmp_path):
    await ended(store, hand, 5)
    with pooled(database, tmp_path) as dsn:
        other = await Store.connect(dsn)
        assert await other.durations.fold(soon()) == 1
        assert (await known(other))["a"].ran == 1.0
        run, _ = await accepted(other, steps("a"))
        assert set(await other.durations.situations([run.run_id])) == {run.run_id}
        await other.close()
