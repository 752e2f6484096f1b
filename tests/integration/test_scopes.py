"""Bodies: forEach, repeat, switch, nested steps, by a real runner on a real Postgres."""

import pytest
from tests.support.begin import beginning
from tests.support.queue import eventually

from leat_engine.records import Stop
from leat_engine.result import Phase, State


@pytest.fixture
async def begin(postgres_dsn):
    """Lets a run begin, on a runner that takes it."""
    async with beginning(postgres_dsn) as begin:
        yield begin


@pytest.fixture
async def perform(begin):
    """Runs a spec to its end and gives the run."""

    async def play(spec, inputs=None):
        run_id, store, _ = await begin(spec, inputs)

        async def done():
            return (await store.run(run_id)).phase.done

        await eventually(done, True, 60)
        assert not begin.runner._desk.views, "a run that is over is forgotten"
        return await store.run(run_id)

    return play


def over(items, **more):
    return {"name": "each", "forEach": items, **more}


async def test_each_item_is_done_once_and_the_output_is_in_their_order(perform):
    spec = {
        "steps": [over(["a", "b", "c"], transform="${ string(index) + item }")],
        "output": "${ steps.each.output }",
    }
    run = await perform(spec)
    assert (run.phase, run.output) == (Phase.SUCCEEDED, ["0a", "1b", "2c"])
    assert (run.succeeded, run.total) == (4, 4)


async def test_the_output_over_an_object_has_its_keys(perform):
    spec = {"steps": [over({"x": 1, "y": 2}, transform="${ item.value + 1 }")], "output": "${ steps.each.output }"}
    assert (await perform(spec)).output == {"x": 2, "y": 3}


async def test_each_key_of_an_object_is_done_once_however_often_it_is_looked_at(perform):
    value = {f"k{number}": number for number in range(60)}
    steps = [over("${ inputs.o }", maxParallel=2, transform="${ item.key + string(item.value) }")]
    listed = over("${ inputs.o.map(k, k) }", maxParallel=2, transform="${ item }") | {"name": "listed"}
    spec = {
        "inputs": {"o": {}},
        "steps": [*steps, listed],
        "output": ["${ steps.each.output }", "${ steps.listed.output }"],
    }
    run = await perform(spec, {"o": dict(sorted(value.items(), key=lambda pair: -pair[1]))})
    assert run.output == [{key: f"{key}{number}" for key, number in value.items()}, sorted(value)]


@pytest.mark.parametrize(
    "body",
    [
        {"steps": [{"name": "inner", "transform": "${ item * 10 }"}], "output": "${ steps.inner.output }"},
        {
            "switch": [
                {
                    "default": True,
                    "steps": [{"name": "inner", "transform": "${ item * 10 }"}],
                    "output": "${ steps.inner.output }",
                }
            ]
        },
    ],
)
async def test_items_are_left_out_beside_a_body_too(perform, body):
    spec = {"steps": [over([1, 2, 3], when="${ item != 2 }", **body)], "output": "${ steps.each.output }"}
    assert (await perform(spec)).output == [10, None, 30]


@pytest.mark.parametrize(("items", "output"), [([], []), ({}, {})])
async def test_nothing_is_done_for_no_items(perform, items, output):
    spec = {"steps": [over(items, transform=1)], "output": "${ steps.each.output }"}
    assert (await perform(spec)).output == output


async def test_items_that_their_condition_leaves_out_give_null(perform):
    spec = {
        "steps": [over([1, 2, 3], when="${ item != 2 }", transform="${ item }")],
        "output": "${ steps.each.output }",
    }
    assert (await perform(spec)).output == [1, None, 3]


async def test_a_condition_on_something_else_skips_the_step_as_a_whole(perform):
    spec = {
        "steps": [over([1], when="${ 1 > 2 }", transform=1)],
        "output": "${ [steps.each.state, steps.each.output] }",
    }
    assert (await perform(spec)).output == ["Skipped", None]


async def test_more_items_than_slots_and_windows_are_all_done(perform):
    spec = {
        "steps": [
            {"name": "many", "transform": "${ inputs.n }"},
            over("${ steps.many.output }", transform="${ item * 2 }", maxParallel=50),
        ],
        "output": "${ steps.each.output }",
        "inputs": {"n": {"type": "array"}},
    }
    run = await perform(spec, {"n": list(range(2500))})
    assert run.output == [number * 2 for number in range(2500)]


async def test_a_body_reads_what_is_around_it_and_gives_its_output(perform):
    body = [
        {"name": "twice", "transform": "${ item * 2 }"},
        {"name": "more", "transform": "${ steps.twice.output + steps.base.output + vars.v + index }"},
    ]
    spec = {
        "vars": {"v": 1000},
        "steps": [
            {"name": "base", "transform": 100},
            over([1, 2], steps=body, output={"sum": "${ steps.more.output }"}),
        ],
        "output": "${ steps.each.output }",
    }
    assert (await perform(spec)).output == [{"sum": 1102}, {"sum": 1105}]


async def test_bodies_are_nested(perform):
    inner = {"name": "inner", "forEach": "${ item }", "transform": "${ item + steps.base.output }"}
    spec = {
        "steps": [
            {"name": "base", "transform": 10},
            over([[1, 2], [], [3]], steps=[inner], output="${ steps.inner.output }"),
            {
                "name": "group",
                "steps": [{"name": "a", "transform": "${ steps.each.output }"}],
                "output": "${ steps.a.output }",
            },
        ],
        "output": "${ steps.group.output }",
    }
    assert (await perform(spec)).output == [[11, 12], [], [13]]


async def test_a_repetition_ends_when_its_condition_is_true(perform):
    spec = {
        "steps": [
            {
                "name": "count",
                "repeat": {"until": "${ last >= 4 }", "max": 10},
                "transform": "${ iteration == 0 ? 1 : last + 1 }",
            }
        ],
        "output": "${ steps.count.output }",
    }
    run = await perform(spec)
    assert (run.phase, run.output) == (Phase.SUCCEEDED, 4)


async def test_a_repetition_with_a_delay_goes_on_after_it(perform):
    spec = {
        "steps": [
            {
                "name": "count",
                "repeat": {"max": 3, "delay": "50ms"},
                "steps": [{"name": "n", "transform": "${ iteration }"}],
                "output": "${ steps.n.output }",
            }
        ],
        "output": "${ steps.count.output }",
    }
    assert (await perform(spec)).output == 2


async def test_a_repetition_whose_condition_never_holds_fails(perform):
    spec = {"steps": [{"name": "count", "repeat": {"until": "${ last < 0 }", "max": 3}, "transform": 1}]}
    run = await perform(spec)
    assert (run.phase, run.error["type"]) == (Phase.FAILED, "Exhausted")


@pytest.mark.parametrize(("n", "output"), [(1, "one"), (2, "two"), (3, "many")])
async def test_the_first_case_that_holds_is_taken(perform, n, output):
    def case(value, **how):
        return {**how, "steps": [{"name": "say", "transform": value}], "output": "${ steps.say.output }"}

    spec = {
        "inputs": {"n": {"type": "integer"}},
        "steps": [
            {
                "name": "choose",
                "switch": [
                    case("one", when="${ inputs.n == 1 }"),
                    case("two", when="${ inputs.n == 2 }"),
                    case("many", default=True),
                ],
            }
        ],
        "output": "${ steps.choose.output }",
    }
    assert (await perform(spec, {"n": n})).output == output


FAILING = {"message": "no ${ string(item) }"}


async def test_the_failure_of_an_item_is_that_of_the_run_and_names_it(perform):
    run = await perform({"steps": [over([1, 2], when="${ item == 2 }", fail=FAILING)]})
    assert run.phase is Phase.FAILED
    assert run.error["type"] == "Fail"
    assert "no 2" in run.error["message"]


@pytest.mark.parametrize(
    ("tolerate", "phase"),
    [
        (1, Phase.FAILED),
        (2, Phase.SUCCEEDED),
        ("49%", Phase.FAILED),
        ("50%", Phase.SUCCEEDED),
        ("all", Phase.SUCCEEDED),
    ],
)
async def test_so_many_failures_are_tolerated(perform, tolerate, phase):
    body = [
        {"name": "odd", "when": "${ item % 2 == 1 }", "fail": FAILING},
        {"name": "even", "needs": [{"step": "odd", "on": ["Skipped"]}], "transform": "${ item }"},
    ]
    spec = {
        "steps": [over([1, 2, 3, 4], steps=body, output="${ steps.even.output }", tolerate=tolerate)],
        "output": "${ steps.each.output }",
    }
    run = await perform(spec)
    assert run.phase is phase
    if phase is Phase.SUCCEEDED:
        assert run.output == [None, 2, None, 4]
    else:
        assert "2 of 4 items failed; item 0: step odd failed: no 1" in run.error["message"]


async def test_a_failure_inside_that_the_step_around_handles_does_not_fail_the_run(perform):
    spec = {
        "steps": [
            {"name": "risky", "steps": [{"name": "boom", "fail": {"message": "boom"}}]},
            {
                "name": "saved",
                "needs": [{"step": "risky", "on": ["Failed"]}],
                "transform": "${ steps.risky.error.message }",
            },
        ],
        "output": "${ steps.saved.output }",
    }
    run = await perform(spec)
    assert (run.phase, run.output) == (Phase.SUCCEEDED, "step boom failed: boom")


SLOW = {"wait": {"duration": "60s"}}


async def test_a_cancelled_run_ends_with_its_items(begin):
    run_id, store, _ = await begin({"steps": [over(list(range(30)), maxParallel=10, **SLOW)]})
    await eventually(lambda: _delayed(store, run_id), 10)
    error = {"type": "Cancelled", "message": "by a test"}
    await begin.publish(await store.stop(run_id, Stop(Phase.CANCELLED, interrupt=True, error=error)))
    await eventually(lambda: _phase(store, run_id), Phase.CANCELLED)
    assert (await store.run(run_id)).live == 0


async def test_a_suspended_run_begins_no_further_item_until_it_is_resumed(begin):
    body = {
        "steps": [{"name": "pause", "wait": {"duration": "1ms"}}, {"name": "out", "needs": ["pause"], "transform": 1}]
    }
    spec = {
        "steps": [over(list(range(40)), maxParallel=4, **body, output="${ item }")],
        "output": "${ steps.each.output }",
    }
    run_id, store, _ = await begin(spec)
    await store.suspend(run_id, True)
    await eventually(lambda: _phase(store, run_id), Phase.SUSPENDED)
    await begin.publish(await store.suspend(run_id, False))
    await eventually(lambda: _phase(store, run_id), Phase.SUCCEEDED, 60)
    assert (await store.run(run_id)).output == list(range(40))


async def _phase(store, run_id):
    return (await store.run(run_id)).phase


async def _delayed(store, run_id):
    return sum(step.state is State.DELAYED for step in await store.steps(run_id))


async def test_what_is_no_list_is_said(perform):
    run = await perform({"inputs": {"n": {}}, "steps": [over("${ inputs.n }", transform=1)]}, {"n": 5})
    assert run.phase is Phase.FAILED
    assert "spec.steps[0].forEach: found a number, expected a list or an object" in run.error["message"]
