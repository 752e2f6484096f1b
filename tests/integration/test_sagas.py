"""Compensations and `finally`, by a real runner on a real Postgres."""

import os
from datetime import UTC, datetime

import asyncpg
import pytest
from tests.support.begin import beginning
from tests.support.queue import eventually

from leat_engine.job import uuid7
from leat_engine.records import Lineage, NewRun, Stop
from leat_engine.rerun import begin_again, clean_again, undone_by
from leat_engine.result import Phase, State

CANCEL = Stop(Phase.CANCELLED, interrupt=True, error={"type": "Cancelled", "message": "no longer wanted"})
WAIT = {"name": "w", "wait": {"duration": "1h"}}
FAIL = {"name": "refuse", "fail": {"message": "no room"}}


def step(name, value=1, **fields):
    return {"name": name, "transform": value, **fields}


def undone(value):
    return {"transform": value}


@pytest.fixture
async def begin(postgres_dsn):
    async with beginning(postgres_dsn) as begin:
        yield begin


@pytest.fixture
async def perform(begin, postgres_dsn):
    """Runs a spec to its end; gives the run, and what was cleaned up in its order, by names."""

    async def play(spec, inputs=None, **asked):
        run_id, store, plan = await begin(spec, inputs)
        if asked:
            await asked["then"](run_id)

        await over(store, run_id)
        assert not begin.runner._desk.views, "a run that is over is forgotten"
        return await store.run(run_id), await cleaned(postgres_dsn, run_id, plan)

    return play


async def cleaned(dsn, run_id, plan):
    connection = await asyncpg.connect(dsn)
    rows = await connection.fetch(
        "select id, state, output::text from leat.step where run_id = $1 and id > 0 order by finished_at", run_id
    )
    await connection.close()
    return [
        (plan.steps[row["id"]].name, State(row["state"]).label, row["output"])
        for row in rows
        if plan.steps[row["id"]].cleanup
    ]


async def test_what_succeeded_is_undone_last_things_first_and_sees_its_own_result(perform):
    spec = {
        "steps": [
            step("a", 10, compensate=undone("${ steps.a.output + 1 }")),
            step("b", needs=["a"], compensate=undone("${ steps.a.output + steps.b.output }")),
            step("c", needs=["b"]),
            {**FAIL, "needs": ["c"], "compensate": undone("never")},
            step("d", needs=["refuse"], compensate=undone("never")),
        ]
    }
    run, found = await perform(spec)
    assert found == [("b.compensate", "Succeeded", "11"), ("a.compensate", "Succeeded", "11")]
    assert (run.phase, run.error["type"], run.error["step"]) == (Phase.FAILED, "Fail", "refuse")
    assert run.outcome is Phase.FAILED


async def test_nothing_is_undone_when_all_ends_well(perform):
    run, found = await perform({"steps": [step("a", 7, compensate=undone(1))], "output": "${ steps.a.output }"})
    assert (run.phase, run.output, found) == (Phase.SUCCEEDED, 7, [])


async def test_each_item_that_succeeded_is_undone_by_itself(perform):
    spec = {
        "steps": [
            {
                "name": "each",
                "forEach": [1, 2, 3],
                "when": "${ item != 2 }",
                "maxParallel": 1,
                "transform": "${ item * 10 }",
                "compensate": undone("${ [item, index, steps.each.output] }"),
            },
            {**FAIL, "needs": ["each"]},
        ]
    }
    _, found = await perform(spec)
    assert [output for _, _, output in found] == ["[3,2,30]", "[1,0,10]"]


async def test_a_body_is_undone_after_what_came_behind_it_and_before_what_is_inside(perform):
    spec = {
        "steps": [
            {
                "name": "group",
                "steps": [step("inner", 5, compensate=undone("${ steps.inner.output }"))],
                "compensate": {"steps": [step("first", "${ steps.inner.output }"), step("then", needs=["first"])]},
            },
            step("behind", needs=["group"], compensate=undone(0)),
            {**FAIL, "needs": ["behind"]},
        ]
    }
    _, found = await perform(spec)
    assert [name for name, _, _ in found] == [
        "behind.compensate", "first", "then", "group.compensate", "inner.compensate",
    ]  # fmt: skip


async def test_a_cancelled_run_is_undone_too(perform, begin):
    async def cancel(run_id):
        async def waiting():
            return [step.state for step in await begin.store.steps(run_id)][-1:] == [State.DELAYED]

        await eventually(waiting, True, 20)
        await begin.publish(await begin.store.stop(run_id, CANCEL))

    spec = {
        "steps": [
            step("a", compensate=undone("${ error.message }")),
            {**WAIT, "needs": ["a"]},
        ],
        "finally": [step("tell", "${ run.phase }")],
    }
    run, found = await perform(spec, then=cancel)
    assert run.phase is Phase.CANCELLED
    assert found == [("a.compensate", "Succeeded", '"no longer wanted"'), ("tell", "Succeeded", '"Cancelled"')]


async def test_a_run_that_is_cleaned_up_is_not_stopped_any_more(begin):
    spec = {"steps": [step("a")], "finally": [{"name": "last", "wait": {"duration": "1s"}}]}
    run_id, store, _ = await begin(spec)

    async def settled():
        return (await store.run(run_id)).outcome

    await eventually(settled, Phase.SUCCEEDED, 20)
    assert await store.stop(run_id, CANCEL) == []

    async def phase():
        return (await store.run(run_id)).phase

    await eventually(phase, Phase.SUCCEEDED, 20)


async def test_finally_sees_how_the_run_ends_and_steps_that_never_ran(perform):
    spec = {
        "steps": [WAIT, step("never", needs=["w"]), step("a", needs=[]), {**FAIL, "needs": ["a"]}],
        "finally": [
            step("tell", "${ [run.phase, error.message, steps.a.state, steps.never.state] }"),
            step("more", "${ steps.tell.output[0] }"),
        ],
    }
    run, found = await perform(spec)
    assert found[0] == ("tell", "Succeeded", '["Failed","step refuse failed: no room","Succeeded","Cancelled"]')
    assert found[1] == ("more", "Succeeded", '"Failed"')
    assert run.phase is Phase.FAILED


async def test_the_output_is_settled_before_finally(perform):
    spec = {"steps": [step("a", 3)], "output": "${ steps.a.output }", "finally": [step("tell", "${ error == null }")]}
    run, found = await perform(spec)
    assert (run.phase, run.output, found[0][2]) == (Phase.SUCCEEDED, 3, "true")
    assert (run.succeeded, run.total) == (2, 2)


async def test_a_finally_that_fails_makes_a_good_end_a_bad_one(perform):
    spec = {"steps": [step("a", 3)], "output": "${ steps.a.output }", "finally": [FAIL, step("other")]}
    run, found = await perform(spec)
    assert (run.phase, run.output, run.error["message"]) == (Phase.FAILED, None, "step refuse failed: no room")
    assert ("other", "Succeeded", "1") in found


async def test_a_finally_that_fails_hides_no_earlier_failure(perform):
    spec = {"steps": [{"name": "first", "fail": {"message": "the cause"}}], "finally": [FAIL]}
    run, _ = await perform(spec)
    assert run.error["message"] == "step first failed: the cause"


async def test_an_output_that_cannot_be_evaluated_is_undone_for(perform):
    spec = {"steps": [step("a", 1, compensate=undone(2))], "output": "${ steps.a.output / 0 }"}
    run, found = await perform(spec)
    assert run.error["type"] == "Expression"
    assert found == [("a.compensate", "Succeeded", "2")]


async def test_a_compensation_has_its_own_retry(perform):
    spec = {
        "steps": [
            step("a", compensate={
                "script": {"shell": "bash", "run": "exit 3"},
                "retry": {"max": 2, "backoff": {"initial": "10ms"}},
            }),
            {**FAIL, "needs": ["a"]},
        ]
    }  # fmt: skip
    run, found = await perform(spec)
    assert found == [("a.compensate", "Failed", None)]
    assert run.error["type"] == "CompensationFailed"


async def test_a_compensation_that_fails_leaves_what_came_before_and_finally_runs(perform):
    spec = {
        "steps": [
            step("a", compensate=undone("never")),
            step("b", needs=["a"], compensate={"fail": {"message": "the door is locked"}}),
            step("c", needs=["b"], compensate=undone("first")),
            {**FAIL, "needs": ["c"]},
        ],
        "finally": [step("tell", "${ run.phase }")],
    }
    run, found = await perform(spec)
    assert [(name, state) for name, state, _ in found] == [
        ("c.compensate", "Succeeded"), ("b.compensate", "Failed"), ("tell", "Succeeded"),
    ]  # fmt: skip
    assert run.phase is Phase.FAILED
    assert run.error["message"] == (
        "step b could not be undone: the door is locked; the run was to end as Failed: step refuse failed: no room"
    )


async def test_a_run_that_is_over_its_time_is_undone(perform):
    spec = {
        "timeout": "300ms",
        "steps": [
            step("a", compensate=undone("${ error.type }")),
            {**WAIT, "needs": ["a"]},
        ],
    }
    run, found = await perform(spec)
    assert (run.phase, run.error["type"]) == (Phase.FAILED, "Timeout")
    assert found == [("a.compensate", "Succeeded", '"Timeout"')]


async def test_a_suspended_cleanup_waits(begin):
    spec = {
        "steps": [
            step("a", compensate={"wait": {"duration": "10ms"}}),
            {**WAIT, "needs": ["a"]},
        ],
    }
    run_id, store, _ = await begin(spec)
    await store.suspend(run_id, True)
    await begin.publish(await store.stop(run_id, CANCEL))

    async def outcome():
        return (await store.run(run_id)).outcome

    await eventually(outcome, Phase.CANCELLED, 20)

    async def phase():
        return (await store.run(run_id)).phase

    if await phase() is Phase.SUSPENDED:  # it was suspended before it was stopped: a stop resumes
        await begin.publish(await store.suspend(run_id, False))
    await eventually(phase, Phase.CANCELLED, 20)


async def test_more_items_than_slots_are_undone_one_after_the_other(perform):
    spec = {
        "inputs": {"n": {"type": "array"}},
        "steps": [
            {"name": "each", "forEach": "${ inputs.n }", "transform": "${ item }", "compensate": undone("${ item }")},
            {**FAIL, "needs": ["each"]},
        ],
    }
    run, found = await perform(spec, {"n": list(range(300))})
    assert sorted(int(output) for _, _, output in found) == list(range(300))
    assert run.total == run.succeeded + run.failed + run.skipped


LOCKED = {
    "inputs": {"locked": {"type": "boolean"}, "room": {"type": "boolean", "default": False}},
    "steps": [
        step("a", compensate=undone("${ [steps.a.output, error.message] }")),
        {
            "name": "each",
            "needs": ["a"],
            "forEach": [1, 2],
            "maxParallel": 1,
            "transform": "${ item }",
            "compensate": {
                "steps": [
                    {"name": "open", "when": "${ inputs.locked && item == 1 }", "fail": {"message": "locked"}},
                    step("out", "${ item }", needs=["open"]),
                ]
            },
        },
        {"name": "refuse", "needs": ["each"], "when": "${ !inputs.room }", "fail": {"message": "no room"}},
    ],
    "finally": [step("tell", "${ error == null ? 'well' : error.message }")],
}


async def rerun(begin, old, plan, begun, inputs, *, cleanup):
    """A run that goes on from another one, as the operator would make it."""
    record = await begin.store.run(old)
    lineage = Lineage(old, record.name, begun.kept, begun.joins, cleanup)
    run_id = uuid7(datetime.now(UTC), os.urandom(10))
    new = NewRun(run_id, "default", "y", "w", record.revision, inputs, begun.roots, plan.total, lineage=lineage)
    (accepted,) = await begin.store.accept([new])
    await begin.publish(accepted.jobs)
    await over(begin.store, run_id)
    return run_id


async def over(store, run_id):
    async def done():
        return (await store.run(run_id)).phase.done

    await eventually(done, True, 60)


async def test_a_rerun_goes_on_undoing_where_that_failed(begin, postgres_dsn):
    old, store, plan = await begin(LOCKED, {"locked": True, "room": False})
    await over(store, old)
    record = await store.run(old)
    assert record.error["type"] == "CompensationFailed"
    new = await rerun(begin, old, plan, clean_again(plan, record), {"locked": False, "room": False}, cleanup=True)
    found = await store.run(new)
    assert (found.phase, found.error["message"]) == (Phase.FAILED, "step refuse failed: no room")
    assert found.total == found.succeeded + found.failed + found.skipped
    before, after = await cleaned(postgres_dsn, old, plan), await cleaned(postgres_dsn, new, plan)
    assert ("out", "Succeeded", "2") in before
    assert ("out", "Succeeded", "1") not in before
    new_ones = [(name, output) for name, state, output in after[-5:] if state == "Succeeded"]
    assert new_ones == [
        ("out", "1"), ("each.compensate", None), ("a.compensate", '[1,"step refuse failed: no room"]'),
        ("tell", '"step refuse failed: no room"'),
    ]  # fmt: skip


async def test_a_rerun_of_steps_keeps_nothing_that_was_undone(begin):
    old, store, plan = await begin(LOCKED, {"locked": False, "room": False})
    await over(store, old)
    states = {node: state for node, (state, _) in (await store.survey(old, 0)).items()}
    nodes = await store.cleanups.nodes(old)
    gone = undone_by(plan, (undo.by for undo in plan.undoing if undo.by in nodes))
    assert {plan.steps[node].name for node in gone} == {"a", "each"}
    begun = begin_again(plan, await store.run(old), {n: state for n, state in states.items() if n not in gone}, ())
    assert begun.kept == ()
    new = await rerun(begin, old, plan, begun, {"locked": False, "room": True}, cleanup=False)
    assert (await store.run(new)).phase is Phase.SUCCEEDED
