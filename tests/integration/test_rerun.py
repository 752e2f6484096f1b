"""Runs that go on from others, in the real store and on a real runner; and runs that are put before others."""

import asyncio
from contextlib import asynccontextmanager

import asyncpg
import pytest
from tests.support.fleet import FUNCTIONS
from tests.support.graphs import LATE, a_graph
from tests.support.hand import Hand, accepted, done, steps
from tests.support.load import a_run, plan_of, revision_of
from tests.support.queue import eventually

from leat_engine.caretakers import CaretakerOptions, Caretakers
from leat_engine.decide import failed
from leat_engine.job import END
from leat_engine.queue.local import LocalQueue
from leat_engine.records import Lineage
from leat_engine.rerun import begin_again, own_nodes
from leat_engine.result import Phase, State, StepError
from leat_runner.kinds import KindSettings, KindSetup, load_kinds
from leat_runner.work import Runner, RunnerOptions

BROKEN = failed(StepError("Boom", "as it should"))
ADD = {"function": {"name": "add", "with": {"values": [1]}}}
BY_CHECK = "${ steps.check.output }"
DIAMOND = {
    "inputs": {"ok": {"type": "boolean", "default": False}},
    "steps": [
        {"name": "reserve", **ADD},
        {"name": "pack", "function": {"name": "add", "with": {"values": ["${ steps.reserve.output }"]}}},
        {"name": "check", "needs": ["reserve"], "transform": "${ inputs.ok ? 1 : [1][5] }"},
        {"name": "send", "function": {"name": "add", "with": {"values": ["${ steps.pack.output }", BY_CHECK]}}},
    ],
    "output": "${ steps.send.output }",
}  # fmt: skip


@pytest.fixture
def effects(tmp_path, monkeypatch):
    path = tmp_path / "effects"
    path.touch()
    monkeypatch.setenv("LEAT_TEST_EFFECTS", str(path))
    return lambda: sorted(tuple(line.split()[:2]) for line in path.read_text().splitlines())


@asynccontextmanager
async def running(store):
    """A runner and caretakers in this process."""
    queue = LocalQueue()
    kinds = load_kinds(KindSetup(KindSettings(functions=(str(FUNCTIONS),))))
    runner = Runner(store, queue, kinds, RunnerOptions("in-process", slots=10, heartbeat=0.2, grace=5))
    caretakers = Caretakers(store, queue, CaretakerOptions(interval=0.1))
    await runner.start()
    caretakers.start()
    try:
        yield queue
    finally:
        await caretakers.stop()
        await runner.stop()
        await queue.close()


async def again(store, spec, old, *start, **changes):
    """The run that goes on from ``old``, as the operator would make it."""
    record = await store.run(old.run_id)
    ends = await store.survey(old.run_id, 0)
    begun = begin_again(plan_of(spec), record, {node: state for node, (state, _) in ends.items()}, start)
    lineage = Lineage(old.run_id, old.name, begun.kept, begun.joins)
    return a_run(spec, **{"roots": begun.roots, "lineage": lineage, **changes})


async def ended(store, run):
    async def over():
        return (await store.run(run.run_id)).phase.done

    await eventually(over, True, 30)
    return await store.run(run.run_id)


async def failed_chain(store, spec, *ends):
    """A run of which the hand has committed these ends, the last of which ended it."""
    hand = await Hand.registered(store)
    run, jobs = await accepted(store, spec)
    await hand.claim(jobs)
    view = hand.view(run, spec, *plan_of(spec).roots, complete=True)
    for end in ends:
        await hand.end(view, end)
    assert (await store.run(run.run_id)).phase is Phase.FAILED
    return run


async def test_only_what_failed_and_what_needs_it_runs_again_with_the_inputs_that_differ(store, effects):
    await store.save_revision(revision_of(DIAMOND))
    old = a_run(DIAMOND, inputs={"ok": False})
    async with running(store) as queue:
        await queue.publish(list((await store.accept([old]))[0].jobs))
        assert (await ended(store, old)).phase is Phase.FAILED
        new = await again(store, DIAMOND, old, inputs={"ok": True})
        await queue.publish(list((await store.accept([new]))[0].jobs))
        found = await ended(store, new)
    assert (found.phase, found.output, found.rerun_of) == (Phase.SUCCEEDED, 5, old.name)
    assert (found.succeeded, found.failed, found.skipped, found.live) == (4, 0, 0, 0)
    mine = [name for run_id, name in effects() if run_id == str(new.run_id)]
    kept = {plan_of(DIAMOND).steps[node].name for node in new.lineage.kept}
    assert "reserve" in kept
    assert mine == sorted({"pack", "send"} - kept)


@pytest.mark.parametrize("seed", range(0, 400, 16))
async def test_a_rerun_ends_as_its_run_did_or_better_and_repeats_no_effect_that_was_kept(seed, store, effects):
    graph = a_graph(seed, slowest=0.01)
    await store.save_revision(revision_of(graph.spec))
    old = a_run(graph.spec)
    plan = plan_of(graph.spec)
    nodes = sorted(own_nodes(plan))
    start = plan.steps[nodes[seed % len(nodes)]].name
    async with running(store) as queue:
        await queue.publish(list((await store.accept([old]))[0].jobs))
        await ended(store, old)
        new = await again(store, graph.spec, old, start)
        await queue.publish(list((await store.accept([new]))[0].jobs))
        found = await ended(store, new)
    assert found.phase.label == graph.phase
    if graph.phase == "Succeeded":
        assert found.output == graph.outputs
        over = found.succeeded + found.failed + found.skipped
        limited = any(step["name"] == LATE for step in graph.spec["steps"])  # in such a body some steps never begin
        assert over <= found.total if limited else over == found.total
    repeated = {name for run_id, name in effects() if run_id == str(new.run_id)}
    assert not repeated & {plan.steps[node].name for node in new.lineage.kept}
    before = {step.key.step: step for step in await store.steps(old.run_id)}
    for step in await store.steps(new.run_id):
        if step.key.step in new.lineage.kept:
            was = before[step.key.step]
            assert (step.state, step.output, step.error, step.attempt, step.finished_at) == (
                was.state, was.output, was.error, was.attempt, was.finished_at)  # fmt: skip


async def test_a_rerun_that_is_accepted_twice_or_by_many_is_there_once(store):
    spec = steps("one", two=["one"], three=["one", "two"])
    old = await failed_chain(store, spec, done(1), done(2, result=BROKEN))
    new = await again(store, spec, old)
    answers = await asyncio.gather(*(store.accept([new]) for _ in range(4)))
    assert sum(one.created for answer in answers for one in answer) == 1
    assert [job.key.step for answer in answers for one in answer for job in one.jobs] == [2]
    assert [(step.key.step, step.state) for step in await store.steps(new.run_id)] == [
        (1, State.SUCCEEDED), (2, State.READY), (3, State.WAITING)]  # fmt: skip
    record = await store.run(new.run_id)
    assert (record.succeeded, record.live, record.total) == (1, 1, 3)


async def test_when_the_old_run_is_not_there_any_more_nothing_of_the_new_one_is(store, database):
    spec = steps("one", two=["one"])
    old = await failed_chain(store, spec, done(1), done(2, result=BROKEN))
    new = await again(store, spec, old)
    connection = await asyncpg.connect(database)
    await connection.execute("delete from leat.step where run_id = $1", old.run_id)
    await connection.close()
    with pytest.raises(ValueError, match="has not all steps of run"):
        await store.accept([new])
    assert await store.run(new.run_id) is None
    assert await store.steps(new.run_id) == []


async def test_a_rerun_that_is_suspended_waits_for_its_resume(store):
    spec = steps("one", two=["one"])
    old = await failed_chain(store, spec, done(1), done(2, result=BROKEN))
    new = await again(store, spec, old, suspended=True)
    (answer,) = await store.accept([new])
    assert (answer.created, answer.jobs) == (True, ())
    assert [job.key.step for job in await store.suspend(new.run_id, False)] == [2]


async def test_when_the_output_alone_was_wrong_only_the_end_runs_again(store, effects):
    spec = {"inputs": {"by": {"type": "integer"}}, "steps": [{"name": "one", **ADD}], "output": "${ 4 / inputs.by }"}
    await store.save_revision(revision_of(spec))
    old = a_run(spec, inputs={"by": 0})
    async with running(store) as queue:
        await queue.publish(list((await store.accept([old]))[0].jobs))
        assert (await ended(store, old)).phase is Phase.FAILED
        new = await again(store, spec, old, inputs={"by": 2})
        assert [root.step for root in new.roots] == [END]
        await queue.publish(list((await store.accept([new]))[0].jobs))
        found = await ended(store, new)
    assert (found.phase, found.output, found.succeeded) == (Phase.SUCCEEDED, 2, 1)
    assert len(effects()) == 1


# -- priority ---------------------------------------------------------------------------------------------------------


async def test_a_changed_priority_acts_on_ready_steps_and_on_those_to_come(store):
    spec = {**steps("one", two=["one"], three=["one"]), "pool": "hurried"}
    hand = await Hand.registered(store, "hurried")
    first, jobs = await accepted(store, spec)
    second, _ = await accepted(store, spec)
    assert await store.prioritise(second.run_id, 9) != []
    (claim,) = await store.poll(hand.runner, "hurried", 1)
    assert claim.key.run_id == second.run_id
    await hand.claim(jobs)
    view = hand.view(first, spec, 1, complete=True)
    assert await store.prioritise(first.run_id, 7) == []
    await hand.end(view, done(1), takes=False)  # the hand does not know of the change
    assert {job.priority for job in await store.care.resend("hurried", 0, 10)} == {7}


async def test_a_priority_that_is_the_same_or_of_a_run_that_is_over_changes_nothing(store):
    run = await failed_chain(store, steps("one"), done(1, result=BROKEN))
    assert await store.prioritise(run.run_id, 5) == []
    other, _ = await accepted(store, steps("one"), priority=3)
    assert await store.prioritise(other.run_id, 3) == []
    assert (await store.run(run.run_id)).priority == 0


async def test_the_priority_of_a_suspended_run_tells_nobody_and_holds_when_it_is_resumed(store):
    run, _ = await accepted(store, steps("one"), suspended=True)
    assert await store.prioritise(run.run_id, 4) == []
    assert [job.priority for job in await store.suspend(run.run_id, False)] == [4]
