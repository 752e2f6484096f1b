"""Migration on a real Postgres: what a runner still knows, or writes again, of the revision before does not count."""

import asyncio
from dataclasses import replace

import pytest
from tests.integration.test_limited_runs import Works
from tests.support.fleet import FUNCTIONS
from tests.support.hand import CANCEL, Hand, accepted, done, job, steps
from tests.support.load import plan_of, revision_of
from tests.support.queue import eventually

from leat_engine.caretakers import CaretakerOptions, Caretakers
from leat_engine.errors import Rejected
from leat_engine.job import StepKey
from leat_engine.migrate import migrate
from leat_engine.queue.local import LocalQueue
from leat_engine.result import State
from leat_engine.store import Store
from leat_engine.store.versions import Claimed
from leat_engine.store.writes import Lateness
from leat_engine.view import RunView
from leat_runner.kinds import KindSettings, KindSetup, load_kinds
from leat_runner.work import Runner, RunnerOptions

PAIR = steps("one", two=["one"])
OTHER = steps("one", instead=["one"])


@pytest.fixture
async def hand(store):
    return await Hand.registered(store)


async def moved(store, run, old, new):
    """Migrate a run that nobody has a step of."""
    await store.save_revision(revision_of(new))
    return await store.versions.migrate(run.run_id, plan_of(old), plan_of(new), resume=False)


def seen(run, spec, *live, epoch=0):
    view = RunView(run.run_id, plan_of(spec), run.namespace, run.name, run.inputs, epoch=epoch)
    view.live.update(live)
    return view


async def states(store, run):
    plan = plan_of((await store.revision((await store.run(run.run_id)).revision)).spec)
    return {plan.steps[step.key.step].name: step.state.label for step in await store.steps(run.run_id)}


# -- what runners write -----------------------------------------------------------------------------------------------


async def test_a_replay_of_a_commit_from_before_is_refused(store, hand):
    run, jobs = await accepted(store, PAIR)
    await hand.claim(jobs)
    await hand.end(seen(run, PAIR, 1), done(1), takes=False)
    await hand.claim([job(run.run_id, 2)])
    await store.hand_back(hand.runner, [claim for claim in await store.mine(hand.runner) if claim.key.step == 2])
    (job2,) = await moved(store, run, PAIR, OTHER)
    (claim,) = await hand.claim([job2])
    assert (claim.key.step, claim.attempt, claim.epoch) == (2, 1, 1)
    stale = seen(run, PAIR, 2)
    assert (await hand.end(stale, done(2))).runs == {}
    late = Lateness(StepKey(run.run_id, 0, 2), 1, 5.0, "default", None)
    assert await store.delay(hand.runner, [late]) == []
    assert await states(store, run) == {"one": "Succeeded", "instead": "Running"}
    written = await hand.end(seen(run, OTHER, 2, epoch=1), done(2))
    assert run.run_id in written.runs
    assert (await store.delay(hand.runner, [replace(late, epoch=1)])) == []


async def test_a_message_for_another_pool_claims_nothing(store, hand):
    run, _ = await accepted(store, PAIR)
    elsewhere = {"steps": [{**PAIR["steps"][0], "pool": "gpu"}, PAIR["steps"][1]]}
    (told,) = await moved(store, run, PAIR, elsewhere)
    assert told.pool == "gpu"
    assert await hand.claim([job(run.run_id, 1)]) == []
    other = await Hand.registered(store, "gpu")
    assert len(await other.claim([told])) == 1


# -- the migration itself ---------------------------------------------------------------------------------------------


async def test_a_step_that_runs_is_waited_for(store, hand):
    run, jobs = await accepted(store, PAIR)
    await hand.claim(jobs)
    with pytest.raises(Claimed, match=f"runners have 1 steps of run {run.name}"):
        await moved(store, run, PAIR, OTHER)
    with pytest.raises(Claimed):
        await migrate(store, run.run_id, (plan_of(PAIR), plan_of(OTHER)), patience=0.0)
    assert not (await store.run(run.run_id)).suspended
    going = asyncio.create_task(migrate(store, run.run_id, (plan_of(PAIR), plan_of(OTHER)), patience=30))
    await eventually(lambda: _suspended(store, run), True)
    await hand.end(seen(run, PAIR, 1), done(1))
    _, jobs = await going
    assert [each.key.step for each in jobs] == [2]
    assert await states(store, run) == {"one": "Succeeded", "instead": "Ready"}
    record = await store.run(run.run_id)
    assert (record.suspended, record.epoch, record.revision) == (False, 1, plan_of(OTHER).revision)


async def test_who_asks_again_changes_nothing_more(store):
    run, _ = await accepted(store, PAIR)
    assert len(await moved(store, run, PAIR, OTHER)) == 1
    assert await moved(store, run, PAIR, OTHER) == []
    assert (await store.run(run.run_id)).epoch == 1


async def test_a_suspended_run_stays_so_and_is_ready_when_it_is_resumed(store):
    run, _ = await accepted(store, PAIR, suspended=True)
    _, jobs = await migrate(store, run.run_id, (plan_of(PAIR), plan_of(OTHER)), patience=0)
    assert jobs == []
    assert (await store.run(run.run_id)).suspended
    assert [each.key.step for each in await store.suspend(run.run_id, suspended=False)] == [1]


async def test_a_refusal_changes_and_holds_up_nothing(store, hand):
    run, jobs = await accepted(store, PAIR)
    await hand.claim(jobs)
    await hand.end(seen(run, PAIR, 1), done(1), takes=False)
    before = await store.run(run.run_id)
    with pytest.raises(Rejected, match="step 'one' has ended Succeeded, and is not there"):
        await migrate(store, run.run_id, (plan_of(PAIR), plan_of(steps("two"))), patience=0)
    assert await store.run(run.run_id) == before
    assert len(await hand.claim([job(run.run_id, 2)])) == 1


async def test_what_has_ended_or_is_being_stopped_is_not_migrated(store):
    run, _ = await accepted(store, PAIR)
    await store.stop(run.run_id, CANCEL)
    with pytest.raises(Rejected, match="the run is being stopped"):
        await moved(store, run, PAIR, OTHER)


async def test_what_a_step_said_and_how_it_was_tried_go_with_it(store, hand):
    run, jobs = await accepted(store, PAIR)
    await hand.claim(jobs)
    key = StepKey(run.run_id, 0, 1)
    await store.delay(hand.runner, [Lateness(key, 1, 0.0, "default", '{"type": "Boom"}')])
    (again,) = await store.care.wake(10)
    (claim,) = await hand.claim([again])
    await hand.end(seen(run, PAIR, 1), done(1, claim.attempt), takes=False)
    front = {"steps": [steps("zero")["steps"][0], *PAIR["steps"]]}
    jobs = await moved(store, run, PAIR, front)
    assert [each.key.step for each in jobs] == [1, 3]
    tries = [tried.record for tried in await store.shown.attempts(run.run_id, range(1, 4), 9)]
    assert [(tried.key.step, tried.attempt) for tried in tries] == [(2, 1)]
    assert await states(store, run) == {"zero": "Ready", "one": "Succeeded", "two": "Ready"}
    assert (await store.run(run.run_id)).total == 3


# -- history ----------------------------------------------------------------------------------------------------------


async def test_a_workflow_has_a_history_of_its_own(store):
    first, second = (replace(revision_of(spec), namespace="mine", workflow="order") for spec in (PAIR, OTHER))
    await store.versions.note(first)
    await store.versions.note(first)
    await store.versions.note(second)
    await accepted(store, PAIR, namespace="mine", workflow="order")
    newest, older = await store.versions.history("mine", "order")
    assert (newest.revision, newest.active) == (second.id, 0)
    assert (older.revision, older.active, older.finished, older.returned_at) == (first.id, 1, 0, None)
    await store.versions.note(first)
    assert [each.revision for each in await store.versions.history("mine", "order")] == [first.id, second.id]
    assert (await store.versions.revision("mine", "order", second.id)).spec == second.spec
    assert await store.versions.revision("theirs", "order", second.id) is None
    assert await store.versions.revision("mine", "other", second.id) is None
    assert await store.versions.history("theirs", "order") == []


# -- a real runner ----------------------------------------------------------------------------------------------------


class Slow(Store):
    """A store that commits when it is let, and answers when it is let: the answer is on its way meanwhile."""

    def hold(self):
        self.asked, self.go, self.written, self.answer = (asyncio.Event() for _ in range(4))

    async def commit(self, runner, writes):
        self.asked.set()
        await self.go.wait()
        written = await super().commit(runner, writes)
        self.written.set()
        await self.answer.wait()
        return written


async def test_a_runner_that_has_not_heard_of_its_commit_goes_on_by_the_new_revision(
    database, store, tmp_path, monkeypatch
):
    monkeypatch.setenv("LEAT_TEST_EFFECTS", str(tmp_path / "effects"))

    def chain(*names):
        made = []
        for name in names:
            values = [f"${{ steps.{made[-1]['name']}.output }}"] if made else []
            made.append({"name": name, "function": {"name": "add", "with": {"values": values}}})
        return {"steps": made, "output": f"${{ steps.{names[-1]}.output }}"}

    old, new = chain("one", "two"), chain("one", "between", "two")
    slow = await Store.connect(database, size=6)
    slow.__class__ = Slow
    slow.hold()
    queue = LocalQueue()
    kinds = load_kinds(KindSetup(KindSettings(functions=(str(FUNCTIONS),))))
    runner = Runner(slow, queue, kinds, RunnerOptions("slow", heartbeat=0.2))
    caretakers = Caretakers(store, queue, CaretakerOptions(interval=0.1))
    works = Works(store, queue, tmp_path / "effects")
    await store.save_revision(revision_of(new))
    run, jobs = await accepted(store, old, suspended=True)
    assert jobs == []
    await runner.start()
    caretakers.start()
    try:
        await queue.publish(await store.suspend(run.run_id, suspended=False))
        await asyncio.wait_for(slow.asked.wait(), 20)
        await store.suspend(run.run_id, suspended=True)  # so that step 2 is not claimed with the end of step 1
        slow.go.set()
        await asyncio.wait_for(slow.written.wait(), 20)
        jobs = await store.versions.migrate(run.run_id, plan_of(old), plan_of(new), resume=True)
        await queue.publish(jobs)
        await eventually(lambda: _state(store, run, 2), State.CLAIMED)
        slow.answer.set()
        (record,) = await works.ended(run.run_id)
        assert record.output == 3
        executed = [line.split()[1] for line in works.effects.read_text().splitlines()]
        assert executed == ["one", "between", "two"]
        assert (record.revision, record.epoch) == (plan_of(new).revision, 1)
    finally:
        slow.go.set()
        slow.answer.set()
        await caretakers.stop()
        await runner.stop()
        await slow.close()


async def _state(store, run, node):
    return next((step.state for step in await store.steps(run.run_id) if step.key.step == node), None)


async def _suspended(store, run):
    return (await store.run(run.run_id)).suspended
