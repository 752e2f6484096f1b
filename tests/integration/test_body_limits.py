"""Bodies that take longer than they may, by a real runner and caretakers on a real Postgres."""

from datetime import UTC, datetime

import asyncpg
import pytest
from tests.support.family import a_house, shelve
from tests.support.hand import DONE, Hand, accepted, done
from tests.support.load import plan_of
from tests.support.queue import eventually

from leat_engine.job import StepKey
from leat_engine.opening import Opening, written_openings
from leat_engine.records import Stop
from leat_engine.result import Phase, State
from leat_engine.store.store import SQL
from leat_engine.unfold import Look, begin, go_on
from leat_engine.waits import Signal

CANCEL = Stop(Phase.CANCELLED, interrupt=True, error={"type": "Cancelled", "message": "cancelled by a test"})
HANG = {"function": {"name": "hang"}}
NAP = {"wait": {"duration": "1h"}}
SLOW = {"steps": [{"name": "nap", **NAP}]}


@pytest.fixture(autouse=True)
def effects(tmp_path, monkeypatch):
    path = tmp_path / "effects"
    path.touch()
    monkeypatch.setenv("LEAT_TEST_EFFECTS", str(path))
    return path


@pytest.fixture
async def house(store):
    async with a_house(store) as house:
        yield house


def limited(**body):
    """A body with a time limit, and who takes its failure."""
    return {
        "steps": [
            {"name": "body", "timeout": "300ms", **body},
            {"name": "late", "needs": [{"step": "body", "on": ["Failed"]}], "transform": "${ steps.body.error }"},
        ],
        "output": "${ steps.late.output }",
    }


BODIES = {
    "steps that run": {"steps": [{"name": "a", **HANG}, {"name": "b", "needs": ["a"], "transform": 1}]},
    "steps that wait": {"steps": [{"name": "a", **NAP}, {"name": "b", "needs": ["a"], "transform": 1}]},
    "a join": {
        "steps": [{"name": "a", "transform": 1}, {"name": "b", **HANG}, {"name": "c", "needs": ["a", "b"], **NAP}]
    },
    "items": {"forEach": [1, 2, 3, 4, 5], "maxParallel": 2, "steps": [{"name": "a", **HANG}]},
    "items that wait": {"forEach": [1, 2, 3], "steps": [{"name": "a", **NAP}, {"name": "b", "needs": ["a"], **HANG}]},
    "a repetition": {"repeat": {"max": 1000}, "steps": [{"name": "a", "wait": {"duration": "50ms"}}]},
    "a pause": {"repeat": {"max": 1000, "delay": "1h"}, "steps": [{"name": "a", "transform": 1}]},
    "a case": {"switch": [{"default": True, "steps": [{"name": "a", **HANG}]}]},
    "bodies in it": {
        "steps": [
            {"name": "a", "forEach": [1, 2], "steps": [{"name": "b", "steps": [{"name": "c", **HANG}]}]},
            {"name": "d", "repeat": {"max": 9, "delay": "1h"}, "transform": 1},
            {"name": "e", "needs": ["a"], **NAP},
        ]
    },
    "a signal": {"steps": [{"name": "a", "signal": {"name": "go"}}]},
    "an approval": {"steps": [{"name": "a", "approval": {}}]},
    "a retry": {
        "steps": [
            {
                "name": "a",
                "function": {"name": "mumble"},
                "retry": {"max": 9, "backoff": {"initial": "1h", "max": "1h"}},
            }
        ]
    },
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
async def test_a_body_that_takes_too_long_fails_with_everything_in_it(body, house, store):
    run = await house.run(limited(**body))
    assert run.phase is Phase.SUCCEEDED, run.error
    assert (run.output["type"], run.output["message"]) == ("Timeout", "timeout of 0.3 s passed")
    steps = await store.steps(run.run_id)
    assert [step.state for step in steps if not step.state.done] == []
    (body,) = [step for step in steps if (step.key.scope, step.key.step) == (0, 1)]
    assert body.state is State.FAILED
    assert body.finished_at > body.started_at
    assert run.failed == sum(step.state is State.FAILED for step in steps), "nothing is counted twice"
    assert not any(step.state is State.FAILED for step in steps if step.key.scope), "what it ended did not fail"


async def test_a_failure_that_nothing_takes_is_that_of_the_run(house):
    run = await house.run({"steps": [{"name": "body", "timeout": "200ms", "steps": [{"name": "a", **HANG}]}]})
    assert (run.phase, run.error["type"], run.error["step"]) == (Phase.FAILED, "Timeout", "body")
    assert run.error["message"] == "step body failed: timeout of 0.2 s passed"


async def test_a_body_that_is_over_in_time_is_left_alone(house, database):
    run = await house.run(limited(steps=[{"name": "a", "transform": 1}], output="${ steps.a.output }"))
    assert (run.phase, run.output) == (Phase.SUCCEEDED, None)

    async def due():
        connection = await asyncpg.connect(database)
        found = await connection.fetchval("select count(*) from leat.block where due_at is not null")
        await connection.close()
        return found

    await eventually(due, 0)


async def test_a_child_in_it_is_cancelled(house, store):
    await shelve(store, "slow", SLOW)
    run = await house.begin(limited(steps=[{"name": "call", "workflow": {"name": "slow"}}]))
    await house.child(run)
    assert (await house.ended(run.run_id)).output["type"] == "Timeout"
    assert (await house.child(run, "Cancelled")).phase is Phase.CANCELLED


async def test_the_inner_of_two_limits_is_that_of_the_inner_body(house):
    inner = {"name": "inner", "timeout": "100ms", "steps": [{"name": "a", **HANG}]}
    taken = {
        "name": "taken",
        "needs": [{"step": "inner", "on": ["Failed"]}],
        "transform": "${ steps.inner.error.message }",
    }
    spec = {
        "steps": [{"name": "body", "timeout": "1h", "steps": [inner, taken], "output": "${ steps.taken.output }"}],
        "output": "${ steps.body.output }",
    }
    assert (await house.run(spec)).output == "timeout of 0.1 s passed"


async def test_each_item_has_a_limit_of_its_own_where_that_is_written(house):
    one = {"name": "one", "timeout": "300ms", "steps": [
        {"name": "a", "when": "${ item == 2 }", **HANG}, {"name": "b", "transform": "${ item }"}]}  # fmt: skip
    spec = {
        "steps": [
            {"name": "each", "forEach": [1, 2, 3], "tolerate": "all", "steps": [one], "output": "${ item * 10 }"}
        ],
        "output": "${ steps.each.output }",
    }
    run = await house.run(spec)
    assert (run.phase, run.output) == (Phase.SUCCEEDED, [10, None, 30])


async def test_what_succeeded_in_it_is_undone_and_a_cleanup_has_its_own_limits(house, store):
    undo = {"steps": [{"name": "undo", "transform": "${ steps.a.output }"}]}
    slow = {"name": "slow", "timeout": "200ms", "steps": [{"name": "z", **HANG}]}
    spec = {
        "steps": [
            {
                "name": "body",
                "timeout": "300ms",
                "steps": [
                    {"name": "a", "transform": 7, "compensate": undo},
                    {"name": "b", "needs": ["a"], "compensate": {"transform": "never"}, **HANG},
                ],
            }
        ],
        "finally": [
            slow,
            {"name": "last", "needs": [{"step": "slow", "on": ["Failed"]}], "transform": "${ error.type }"},
        ],
    }
    run = await house.run(spec)
    assert (run.phase, run.error["type"]) == (Phase.FAILED, "Timeout")
    outputs = [step.output for step in await store.steps(run.run_id) if step.state is State.SUCCEEDED]
    assert outputs.count(7) == 2, "the step, and the step of its compensation"
    assert "Timeout" in outputs
    assert "never" not in outputs


async def test_a_compensation_has_a_limit_too(house):
    undo = {"timeout": "200ms", "steps": [{"name": "undo", **HANG}]}
    spec = {
        "steps": [
            {"name": "a", "transform": 7, "compensate": undo},
            {"name": "b", "needs": ["a"], "fail": {"message": "x"}},
        ]
    }
    run = await house.run(spec)
    assert (run.phase, run.error["type"]) == (Phase.FAILED, "CompensationFailed")
    assert "timeout of 0.2 s passed" in run.error["message"]


async def test_a_signal_for_a_step_that_was_ended_is_heard_by_the_next_one(house, store):
    spec = {
        "steps": [
            {"name": "body", "timeout": "200ms", "steps": [{"name": "a", "signal": {"name": "go"}}]},
            {"name": "b", "needs": [{"step": "body", "on": ["Failed"]}], "signal": {"name": "go"}},
        ],
        "output": "${ steps.b.output }",
    }
    run = await house.begin(spec)

    async def state():
        return {step.key.step: step.state for step in await store.steps(run.run_id) if step.key.scope == 0}.get(2)

    await eventually(state, State.DELAYED, 20)
    await store.signals.deliver(run.run_id, Signal(id="1", name="go", payload=5))
    assert (await house.ended(run.run_id)).phase is Phase.SUCCEEDED


async def test_a_suspended_run_fails_when_it_is_resumed(house, store):
    run = await house.begin(limited(steps=[{"name": "a", **NAP}]))

    async def opened():
        return len(await store.steps(run.run_id))

    await eventually(opened, 2)
    await store.suspend(run.run_id, suspended=True)

    async def states():
        return sorted(step.state for step in await store.steps(run.run_id))

    await eventually(states, [State.READY, State.CANCELLED], 20)
    await house.queue.publish(await store.suspend(run.run_id, suspended=False))
    assert (await house.ended(run.run_id)).output["type"] == "Timeout"


async def test_a_run_that_is_cancelled_meanwhile_ends_as_it_was_told_to(house, store):
    run = await house.begin(limited(timeout="1h", steps=[{"name": "a", **HANG}]))

    async def opened():
        return len(await store.steps(run.run_id))

    await eventually(opened, 2)
    await house.queue.publish(await store.stop(run.run_id, CANCEL))
    assert (await house.ended(run.run_id)).phase is Phase.CANCELLED


async def test_what_is_inside_is_shown_as_ended(house, store):
    spec = limited(forEach=[1, 2, 3], maxParallel=2, steps=[{"name": "a", **NAP}, {"name": "b", **NAP}])
    run = await house.run(spec)
    seen = await store.scopes.look(run.run_id, plan_of(spec))
    block = seen.blocks[0, 1]
    assert [scope.state for scope in block.scopes] == [State.CANCELLED, State.CANCELLED]
    assert block.states == {"Cancelled": 2, "Pending": 1}


async def test_a_pool_without_runners_is_asked_for_one_when_a_body_is_due(house, store, database):
    run = await house.begin(limited(timeout="1h", steps=[{"name": "a", **NAP}]))

    async def opened():
        return len(await store.steps(run.run_id))

    await eventually(opened, 2)
    connection = await asyncpg.connect(database)
    aside = connection.transaction()  # rolled back: nobody sees it but this connection
    await aside.start()
    await connection.execute("delete from leat.runner")
    assert (await connection.fetchval(SQL["needed"], "default", 10)) == 0
    due = "update leat.block set due_at = now() - interval '1 minute' where run_id = $1"
    await connection.execute(due, run.run_id)
    assert (await connection.fetchval(SQL["needed"], "default", 10)) == 1
    assert (await connection.fetchval(SQL["needed"], "other", 10)) == 0
    await aside.rollback()
    await connection.close()


async def test_bodies_that_end_when_their_time_passes_have_one_end(house, store):
    body = {"steps": [{"name": "a", "wait": {"duration": "300ms"}}], "output": "in time"}
    spec = limited(**body)
    spec["output"] = {"body": "${ steps.body.output }", "late": "${ steps.late.state }"}
    runs = [await house.begin(spec) for _ in range(40)]
    for run in runs:
        found = await house.ended(run.run_id, 60)
        assert found.output in ({"body": "in time", "late": "Skipped"}, {"body": None, "late": "Succeeded"})
        states = [step.state for step in await store.steps(run.run_id)]
        skipped = sum(state in (State.SKIPPED, State.OMITTED, State.CANCELLED) for state in states)
        counted = (states.count(State.SUCCEEDED), states.count(State.FAILED), skipped)
        assert (found.succeeded, found.failed, found.skipped) == counted


async def test_a_step_that_is_looking_when_its_body_is_shut_opens_nothing_more(store):
    body = {"forEach": [1, 2], "maxParallel": 1, "steps": [{"name": "a", **NAP}]}
    spec = {"steps": [{"name": "body", "timeout": "1h", **body}]}
    hand = await Hand.registered(store)
    run, jobs = await accepted(store, spec)
    await hand.claim(jobs)
    view, key, now = hand.view(run, spec, 1, complete=True), StepKey(run.run_id, 0, 1), datetime.now(UTC)
    node = view.plan.steps[1]
    opening = Opening(view, 1, 1, begin(view, node, now))
    opened = await store.open(hand.runner, written_openings([opening], lambda _node: True)[0])
    base = opened.bases[key]
    inside = view.open(base, 1, 0, {"item": 1, "index": 0})
    inside.live.add(2)
    inside.complete = True
    written = await hand.end(inside, done(2))
    assert written.claimed[run.run_id, 0] == {1: 1}, "the first item is over, and the step looks"

    assert await store.bodies.shut(key) == []
    block = await store.block(key)
    assert block.shut
    more = go_on(view, node, Look(block, {0: DONE}, paused=False, now=now))
    refused = await store.open(hand.runner, written_openings([Opening(view, 1, 1, more)], lambda _node: True)[0])
    assert (refused.bases, refused.claimed, refused.readied) == ({}, {}, {})
    assert await store.bodies.still(key) == 0
    assert [claim.key for claim in await store.mine(hand.runner)] == [key]


async def test_what_a_runner_does_not_know_to_be_shut_is_followed_by_nothing(store):
    steps = [{"name": "a", "function": {"name": "add"}}, {"name": "b", "needs": ["a"], "function": {"name": "add"}}]
    spec = {"steps": [{"name": "body", "timeout": "1h", "steps": steps}]}
    hand = await Hand.registered(store)
    run, jobs = await accepted(store, spec)
    await hand.claim(jobs)
    view, key = hand.view(run, spec, 1, complete=True), StepKey(run.run_id, 0, 1)
    opening = Opening(view, 1, 1, begin(view, view.plan.steps[1], datetime.now(UTC)))
    opened = await store.open(hand.runner, written_openings([opening], lambda _node: True)[0])
    base = opened.bases[key]
    inside = view.open(base, 1, 0, {})
    inside.live.add(2)
    inside.complete = True

    (job,) = await store.bodies.shut(key)
    assert (job.key, job.attempt) == (key, 1)
    told = await store.interrupted(hand.runner)
    assert [(each.run_id, each.stopping, each.shut) for each in told] == [(run.run_id, None, (range(base, base + 1),))]
    assert await store.interrupted(hand.runner) == [], "it is told once"
    assert await store.bodies.still(key) == 1, "and again for who waits"
    assert len(await store.interrupted(hand.runner)) == 1

    written = await hand.end(inside, done(2))
    assert (written.claimed, written.readied) == ({}, {})
    assert await store.bodies.still(key) == 0
    assert [claim.key for claim in await hand.claim([job])] == [key]
    found = {(step.key.scope, step.key.step): step.state for step in await store.steps(run.run_id)}
    assert found == {(0, 1): State.CLAIMED, (base, 2): State.SUCCEEDED}
