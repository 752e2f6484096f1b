"""The store: what each verb promises, and what it promises when two of them meet."""

import asyncio
import json
import os
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import pytest
from tests.support.hand import CANCEL, CANCELLED, Hand, accepted, age, done, job, steps, waits_for_a_lock
from tests.support.load import a_run, revision_of

from leat_engine.caretakers.rescue import rescue
from leat_engine.caretakers.wake import wake
from leat_engine.commit import written_form
from leat_engine.job import END, StepKey, uuid7
from leat_engine.result import Phase, Result, State
from leat_engine.store.store import PINNED, SQL
from leat_engine.store.writes import Lateness

LOST = {"type": "RunnerLost", "message": "the runner fell silent"}
CHAIN = steps("one", two=["one"])
PAIR = steps("left", "right")


@pytest.fixture
async def hand(store):
    return await Hand.registered(store)


async def states(store, run_id):
    return {step.key.step: step.state for step in await store.steps(run_id)}


async def phase(store, run_id):
    return (await store.run(run_id)).phase


# -- accept and claim -------------------------------------------------------------------------------------------------


async def test_a_run_that_is_accepted_twice_is_there_once_and_its_jobs_are_told_once(store):
    run = a_run(PAIR)
    await store.save_revision(revision_of(PAIR))
    (first,) = await store.accept([run, run])
    (again,) = await store.accept([run])
    assert first.created
    assert len(first.jobs) == 2
    assert (again.created, again.jobs) == (False, ())
    assert (await store.run(run.run_id)).live == 2


async def test_runs_that_are_accepted_by_many_at_once_are_there_once(store):
    run = a_run(CHAIN)
    answers = await asyncio.gather(*(store.accept([run]) for _ in range(8)))
    assert sum(one.created for answer in answers for one in answer) == 1


async def test_a_job_is_claimed_by_exactly_one_of_many(store):
    run, jobs = await accepted(store, CHAIN)
    hands = [await Hand.registered(store) for _ in range(8)]
    claims = [claim for found in await asyncio.gather(*(each.claim(jobs) for each in hands)) for claim in found]
    assert [claim.key for claim in claims] == [StepKey(run.run_id, 0, 1)]


async def test_a_job_of_an_old_attempt_claims_nothing(store, hand):
    run, jobs = await accepted(store, CHAIN)
    await hand.claim(jobs)
    await store.care.rescue(hand.runner, LOST)
    other = await Hand.registered(store)
    assert await other.claim(jobs) == []
    assert len(await other.claim([job(run.run_id, 1, attempt=2)])) == 1


async def test_without_the_broker_jobs_are_claimed_by_priority_and_then_by_age(store):
    spec = {**CHAIN, "pool": "polled"}
    hand = await Hand.registered(store, "polled")
    runs = [(await accepted(store, spec, priority=priority))[0].run_id for priority in (0, 9, 0)]
    polled = [(await store.poll(hand.runner, "polled", 1))[0].key.run_id for _ in runs]
    assert polled == [runs[1], runs[0], runs[2]]
    assert await store.poll(hand.runner, "polled", 1) == []


# -- commit -----------------------------------------------------------------------------------------------------------


async def test_a_run_ends_with_the_commit_of_its_last_step(store, hand):
    run, jobs = await accepted(store, CHAIN)
    await hand.claim(jobs)
    view = hand.view(run, CHAIN, 1, complete=True)
    written = await hand.end(view, done(1))
    assert written.claimed == {(run.run_id, 0): {2: 1}}
    assert (await hand.end(view, done(2))).runs[run.run_id].phase is Phase.SUCCEEDED
    found = await store.run(run.run_id)
    assert (found.phase, found.succeeded, found.live) == (Phase.SUCCEEDED, 2, 0)


async def test_the_commit_of_a_runner_that_was_declared_dead_is_refused_whole(store, hand, database):
    run, jobs = await accepted(store, PAIR)
    await hand.claim(jobs)
    await age(database, hand.runner, 60)
    assert hand.runner in {dead.id for dead in await store.care.bury(30)}
    written = await hand.end(hand.view(run, PAIR, 1, 2, complete=True), done(1), done(2))
    assert written.runs == {}
    assert await states(store, run.run_id) == {1: State.CLAIMED, 2: State.CLAIMED}
    assert (await store.run(run.run_id)).live == 2


async def test_of_a_run_whose_one_step_was_handed_on_nothing_is_committed(store, hand):
    run, jobs = await accepted(store, PAIR)
    await hand.claim(jobs)
    written = await hand.end(hand.view(run, PAIR, 1, 2, complete=True), done(1), done(2, attempt=7))
    assert written.runs == {}
    assert await states(store, run.run_id) == {1: State.CLAIMED, 2: State.CLAIMED}


async def test_replaying_a_commit_changes_nothing(store, hand):
    spec = steps("one", two=["one"], three=["one"])
    run, jobs = await accepted(store, spec)
    await hand.claim(jobs)
    writes = written_form([hand.decision(hand.view(run, spec, 1, complete=True), done(1), takes=False)])
    await store.commit(hand.runner, writes)
    before = (await store.run(run.run_id), await store.steps(run.run_id))
    assert (await store.commit(hand.runner, writes)).runs == {}
    assert (await store.run(run.run_id), await store.steps(run.run_id)) == before


async def test_a_replay_that_waits_behind_the_commit_that_it_replays_changes_nothing(store, hand, database):
    spec = steps("one", "two", join=["one", "two"])
    run, jobs = await accepted(store, spec)
    await hand.claim(jobs)
    writes = written_form([hand.decision(hand.view(run, spec, 1), done(1), takes=False)])
    first, second = await asyncpg.connect(database), await asyncpg.connect(database)
    transaction = first.transaction()
    await transaction.start()
    await first.fetch(SQL["commit"], hand.runner, *writes.literals())  # its answer is lost, and it is sent again
    replay = asyncio.create_task(second.fetch(SQL["commit"], hand.runner, *writes.literals()))
    await waits_for_a_lock(database, replay)
    await transaction.commit()
    before = (await store.run(run.run_id), await store.steps(run.run_id))
    with pytest.raises(asyncpg.DivisionByZeroError):
        await replay
    assert (await store.run(run.run_id), await store.steps(run.run_id)) == before
    assert (await store.commit(hand.runner, writes)).runs == {}
    await first.close()
    await second.close()


async def test_a_join_is_begun_by_whoever_ends_its_last_need(store):
    spec = steps("a", "b", "c", join=["a", "b", "c"])
    run, _ = await accepted(store, spec)
    hands = [await Hand.registered(store) for _ in range(3)]
    for step, each in enumerate(hands, 1):
        await each.claim([job(run.run_id, step)])
    ends = [each.end(each.view(run, spec, step), done(step)) for step, each in enumerate(hands, 1)]
    granted = [list(written.claimed.get((run.run_id, 0), ())) for written in await asyncio.gather(*ends)]
    assert sorted(granted) == [[], [], [4]]


# -- suspend and resume -----------------------------------------------------------------------------------------------


async def test_a_suspended_run_gives_no_claims_and_a_resumed_one_gives_its_jobs_again(store, hand):
    run, jobs = await accepted(store, CHAIN)
    assert await store.suspend(run.run_id, True) == []
    assert await hand.claim(jobs) == []
    assert await store.suspend(run.run_id, True) == []
    again = await store.suspend(run.run_id, False)
    assert len(await hand.claim(again)) == 1


async def test_what_follows_in_a_suspended_run_waits_for_its_resumption(store, hand):
    run, jobs = await accepted(store, CHAIN)
    await hand.claim(jobs)
    await store.suspend(run.run_id, True)
    written = await hand.end(hand.view(run, CHAIN, 1, complete=True), done(1))
    assert (written.claimed, written.readied) == ({}, {(run.run_id, 0): {2: 1}})
    assert await hand.claim([job(run.run_id, 2)]) == []
    assert len(await hand.claim(await store.suspend(run.run_id, False))) == 1


async def test_the_end_of_a_run_is_for_the_pool_of_its_workflow(store):
    spec = {**steps("one"), "pool": "elsewhere"}
    hand = await Hand.registered(store, "elsewhere")
    run, jobs = await accepted(store, spec)
    await hand.claim(jobs)
    await store.suspend(run.run_id, True)
    await hand.end(hand.view(run, spec, 1, complete=False), done(1))
    (end,) = await store.suspend(run.run_id, False)
    assert (end.key.step, end.pool) == (END, "elsewhere")


@pytest.mark.parametrize("suspended", [True, False])
async def test_a_run_that_is_suspended_or_resumed_while_a_commit_is_under_way_forgets_no_step(
    suspended, store, hand, database
):
    run, jobs = await accepted(store, CHAIN)
    await hand.claim(jobs)
    if not suspended:
        await store.suspend(run.run_id, True)
    writes = written_form([hand.decision(hand.view(run, CHAIN, 1, complete=True), done(1), takes=False)])
    connection = await asyncpg.connect(database)
    transaction = connection.transaction()
    await transaction.start()
    await connection.fetch(SQL["commit"], hand.runner, *writes.literals())
    task = asyncio.create_task(store.suspend(run.run_id, suspended))
    await waits_for_a_lock(database, task)
    await transaction.commit()
    await connection.close()
    jobs = await task
    claims = await hand.claim([job(run.run_id, 2)])
    assert (len(jobs), len(claims)) == ((0, 0) if suspended else (1, 1))


@pytest.mark.parametrize("suspended", [True, False])
async def test_a_timer_that_fires_while_its_run_is_suspended_or_resumed_forgets_no_step(
    suspended, store, hand, database
):
    run, jobs = await accepted(store, CHAIN)
    await hand.claim(jobs)
    await store.delay(hand.runner, [Lateness(StepKey(run.run_id, 0, 1), 1, 0, "default", None)])
    if not suspended:
        await store.suspend(run.run_id, True)
    connection = await asyncpg.connect(database)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("update leat.run set suspended = $2 where id = $1", run.run_id, suspended)
    woken = asyncio.create_task(store.care.wake(100))
    await asyncio.wait({woken}, timeout=0.2)  # it waits for the run, or leaves the timer to the next round
    await transaction.commit()
    await connection.close()
    await woken
    await store.care.wake(100)
    assert len(await hand.claim([job(run.run_id, 1)])) == (0 if suspended else 1)


# -- stop -------------------------------------------------------------------------------------------------------------


async def ended(store, hand, run, spec, jobs):
    """Claim and commit the END of a stopped run."""
    (claim,) = await hand.claim(jobs)
    assert claim.key.step == END
    view = hand.view(run, spec, END)
    view.stopping, view.error = claim.stopping, claim.error
    await hand.end(view, done(END, claim.attempt))
    return await store.run(run.run_id)


async def test_a_run_that_is_stopped_with_nothing_running_ends_at_once(store, hand):
    run, _ = await accepted(store, PAIR)
    jobs = await store.stop(run.run_id, CANCEL)
    assert await store.stop(run.run_id, CANCEL) == []
    found = await ended(store, hand, run, PAIR, jobs)
    assert (found.phase, found.skipped, found.live) == (Phase.CANCELLED, 2, 0)
    assert found.error == CANCEL.error


async def test_a_run_that_is_stopped_with_a_step_running_ends_when_that_step_does(store, hand):
    run, _ = await accepted(store, PAIR)
    await hand.claim([job(run.run_id, 1)])
    assert await store.stop(run.run_id, CANCEL) == []
    (told,) = await store.interrupted(hand.runner)
    assert (told.run_id, told.stopping) == (run.run_id, Phase.CANCELLED)
    view = hand.view(run, PAIR, 1)
    view.stopping = told.stopping
    assert (await hand.end(view, done(1, result=CANCELLED))).claimed == {(run.run_id, 0): {END: 1}}
    await hand.end(view, done(END))
    assert await phase(store, run.run_id) is Phase.CANCELLED


async def test_a_run_that_is_stopped_while_it_waits_for_a_timer_ends_at_once(store, hand):
    run, jobs = await accepted(store, CHAIN, timeout=3600.0)
    await hand.claim(jobs)
    await store.delay(hand.runner, [Lateness(StepKey(run.run_id, 0, 1), 1, 3600, "default", None)])
    found = await ended(store, hand, run, CHAIN, await store.stop(run.run_id, CANCEL))
    assert (found.phase, found.live) == (Phase.CANCELLED, 0)
    assert await store.care.wake(100) == []


async def test_a_run_that_is_stopped_when_only_its_end_is_left_ends(store, hand):
    """Its END is ready and not claimed: it was handed on when a runner died, or its run is suspended."""
    run, jobs = await accepted(store, CHAIN)
    await hand.claim(jobs)
    view = hand.view(run, CHAIN, 1)
    await hand.end(view, done(1))
    await hand.end(view, done(2))
    assert view.live == {END}
    (again,) = await store.care.rescue(hand.runner, LOST)
    other = await Hand.registered(store)
    jobs = [again, *await store.stop(run.run_id, CANCEL)]
    found = await ended(store, other, run, CHAIN, jobs)
    assert (found.phase, found.live) == (Phase.CANCELLED, 0)


async def test_a_suspended_run_can_be_stopped(store, hand):
    run, _ = await accepted(store, PAIR)
    await hand.claim([job(run.run_id, 1)])
    await store.suspend(run.run_id, True)
    await store.stop(run.run_id, CANCEL)
    jobs = await store.care.rescue(hand.runner, LOST)  # its runner died before it could be interrupted
    other = await Hand.registered(store)
    (claim,) = await other.claim(jobs)
    view = other.view(run, PAIR, 1)
    view.stopping = claim.stopping
    await other.end(view, done(1, 2, CANCELLED))
    jobs = await store.care.rescue(other.runner, LOST)  # the next one died before the END
    found = await ended(store, await Hand.registered(store), run, PAIR, jobs)
    assert found.phase is Phase.CANCELLED


async def test_a_run_that_is_being_stopped_is_not_suspended_any_more(store, hand):
    run, _ = await accepted(store, PAIR)
    jobs = await store.stop(run.run_id, CANCEL)
    await store.suspend(run.run_id, True)
    assert (await ended(store, hand, run, PAIR, jobs)).phase is Phase.CANCELLED


async def test_the_end_of_a_stopped_run_is_given_to_one_of_those_who_end_its_last_steps_at_once(store):
    spec = steps(*(f"s{number}" for number in range(6)))
    for _ in range(5):
        run, _ = await accepted(store, spec)
        hands = [await Hand.registered(store) for _ in spec["steps"]]
        for step, each in enumerate(hands, 1):
            await each.claim([job(run.run_id, step)])
        ends = [each.end(each.view(run, spec, step), done(step)) for step, each in enumerate(hands, 1)]
        jobs, *written = await asyncio.gather(store.stop(run.run_id, CANCEL), *ends)
        granted = [each for each, one in zip(hands, written, strict=True) if one.claimed.get((run.run_id, 0))]
        assert len(granted) + len(jobs) == 1
        assert (await store.run(run.run_id)).live == 1


async def test_a_run_that_is_over_its_timeout_is_stopped_and_fails(store, hand):
    run, _ = await accepted(store, PAIR, timeout=0.0)
    found = await ended(store, hand, run, PAIR, await wake(store))
    assert (found.phase, found.error["reason"]) == (Phase.FAILED, "RunTimeout")


async def test_a_failure_that_nobody_handles_ends_the_run_when_the_other_steps_have_ended(store, hand):
    spec = steps("left", "right", after=["right"])
    run, jobs = await accepted(store, spec)
    await hand.claim(jobs)
    view = hand.view(run, spec, 1, 2, complete=True)
    failed = Result(State.FAILED, error={"type": "Fail", "message": "broken"})
    await hand.end(view, done(1, result=failed))
    assert view.stopping is Phase.FAILED
    assert (await hand.end(view, done(2))).claimed == {(run.run_id, 0): {END: 1}}
    await hand.end(view, done(END))
    assert await phase(store, run.run_id) is Phase.FAILED
    assert await states(store, run.run_id) == {1: State.FAILED, 2: State.SUCCEEDED}


# -- report -----------------------------------------------------------------------------------------------------------


async def test_many_changes_of_a_run_are_one_report_and_what_comes_later_is_told_again(store, hand):
    run, jobs = await accepted(store, CHAIN, uid=str(uuid4()))
    await hand.claim(jobs)
    view = hand.view(run, CHAIN, 1, complete=True)
    await hand.end(view, done(1))
    (early,) = [report for report in await store.reports.behind(1000) if report.run.run_id == run.run_id]
    await hand.end(view, done(2))
    await store.reports.told([(run.run_id, early.version)])
    (late,) = [report for report in await store.reports.behind(1000) if report.run.run_id == run.run_id]
    assert late.version > early.version
    assert late.run.phase is Phase.SUCCEEDED
    await store.reports.told([(run.run_id, late.version)])
    assert run.run_id not in {report.run.run_id for report in await store.reports.behind(1000)}


async def test_a_run_without_a_resource_is_never_reported(store, hand):
    run, jobs = await accepted(store, CHAIN)
    await hand.claim(jobs)
    await hand.end(hand.view(run, CHAIN, 1, complete=True), done(1))
    assert run.run_id not in {report.run.run_id for report in await store.reports.behind(1000)}


async def test_an_heir_learns_when_its_try_was_begun_and_a_retry_that_nobody_began_it(store, hand):
    run, (first,) = await accepted(store, CHAIN)
    await hand.claim([first])
    assert await store.begun(first.key, 1) is None
    claimed = (await store.steps(run.run_id))[0].started_at
    await store.care.rescue(hand.runner, LOST)
    heir = await Hand.registered(store)
    await heir.claim([job(run.run_id, 1, 2)])
    await store.retire(heir.runner)
    assert await store.begun(first.key, 3) == claimed
    third = await Hand.registered(store)
    await third.claim([job(run.run_id, 1, 3)])
    error = '{"type": "ExitCode", "message": ""}'
    await store.delay(third.runner, [Lateness(first.key, 3, 0, "default", error)])
    assert await store.begun(first.key, 4) is None


# -- rescue and retire ------------------------------------------------------------------------------------------------


async def test_the_steps_of_a_silent_runner_are_handed_on_as_next_attempts(store, hand, database):
    run, jobs = await accepted(store, PAIR)
    await hand.claim(jobs)
    await age(database, hand.runner, 60)
    again = [each for each in await rescue(store, 30) if each.key.run_id == run.run_id]
    assert sorted((each.key.step, each.attempt) for each in again) == [(1, 2), (2, 2)]
    assert [claim.lost for claim in await (await Hand.registered(store)).claim(again)] == [1, 1]
    tries = await store.shown.attempts(run.run_id, range(1, 3), 9)
    assert {tried.record.error["type"] for tried in tries} == {"RunnerLost"}
    assert not await store.heartbeat(hand.runner, 0)


async def test_the_steps_of_a_runner_whose_undertaker_died_are_handed_on_by_the_next(store, hand, database):
    run, jobs = await accepted(store, CHAIN)
    await hand.claim(jobs)
    await age(database, hand.runner, 60)
    await store.care.bury(30)
    assert run.run_id in {each.key.run_id for each in await rescue(store, 30)}


async def test_a_runner_that_leaves_in_good_order_hands_its_steps_back_without_a_loss(store, hand):
    run, jobs = await accepted(store, CHAIN)
    await hand.claim(jobs)
    again = await store.retire(hand.runner)
    (claim,) = await (await Hand.registered(store)).claim(again)
    assert (claim.key.run_id, claim.attempt, claim.broken_off, claim.lost) == (run.run_id, 2, 1, 0)


async def test_a_runner_does_not_leave_in_the_middle_of_its_own_claim(store, hand, database):
    run, _ = await accepted(store, CHAIN)
    connection = await asyncpg.connect(database)
    transaction = connection.transaction()
    await transaction.start()
    await connection.fetch(SQL["claim"], hand.runner, [run.run_id], [0], [1], [1])
    task = asyncio.create_task(store.retire(hand.runner))
    await asyncio.wait({task}, timeout=0.2)
    await transaction.commit()
    await connection.close()
    (again,) = await task
    assert (again.key.run_id, again.attempt) == (run.run_id, 2)


# -- months -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("days", [-400, 0, 31, 400])
async def test_a_run_of_any_month_works(days, store, hand):
    run_id = uuid7(datetime.now(UTC) + timedelta(days=days), uuid4().bytes)
    run, jobs = await accepted(store, CHAIN, run_id=run_id)
    await hand.claim(jobs)
    view = hand.view(run, CHAIN, 1, complete=True)
    await hand.end(view, done(1))
    await hand.end(view, done(2))
    assert await phase(store, run_id) is Phase.SUCCEEDED


async def test_the_months_ahead_can_be_made_although_runs_of_them_came_early(store):
    later = datetime.now(UTC) + timedelta(days=300)
    run, _ = await accepted(store, CHAIN, run_id=uuid7(later, uuid4().bytes))
    await store.care.prune(later, timedelta(days=90), timedelta(days=1))
    assert await phase(store, run.run_id) is Phase.RUNNING


async def test_who_is_cancelled_in_a_transaction_whose_connection_is_gone_is_cancelled(store):
    entered = asyncio.Event()

    async def leads():
        async with store.care.leading(4711):
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(leads())
    await entered.wait()
    await store.close()
    await asyncio.sleep(0)  # the connection hears of it
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_however_many_runs_have_ended_what_is_behind_is_read_by_the_runs_that_are(database):
    connection = await asyncpg.connect(database, server_settings=PINNED, statement_cache_size=0)
    await connection.execute(
        "insert into leat.run (id, namespace, name, workflow, revision, pool, phase, inputs, total, live, finished_at)"
        " select id, 'shop', 'run', 'order', 'r', 'default', 4, '{}', 1, 0, now() from unnest($1::uuid[]) id",
        [uuid7(datetime.now(UTC), os.urandom(10)) for _ in range(2000)],
    )
    await connection.execute("analyze leat.run")
    await connection.execute(f"prepare reports (int) as {SQL['reports']}")
    ((plan,),) = await connection.fetch("explain (analyze, buffers, format json) execute reports (500)")
    (whole,) = json.loads(plan)
    assert whole["Plan"]["Shared Hit Blocks"] + whole["Plan"]["Shared Read Blocks"] < 20
    await connection.close()
