"""Quotas in the store: which runs begin and which steps have a seat, in what order, and what deaths leave behind."""

import asyncio

import asyncpg
import pytest
from tests.support.cli import leat
from tests.support.family import a_house, shelve
from tests.support.hand import CANCEL, Hand, accepted, age, done, job
from tests.support.load import plan_of, revision_of

from leat_engine.caretakers.rescue import rescue
from leat_engine.caretakers.sweep import forget, sweep
from leat_engine.job import StepKey
from leat_engine.quota import NOTHING_SAID, Allowance
from leat_engine.records import Report
from leat_engine.result import Phase, State
from leat_engine.status import run_status
from leat_engine.store.quotas import Seating
from leat_engine.store.writes import Lateness

OTHER = {"steps": [{"name": "new", "function": {"name": "add"}}, {"name": "only", "function": {"name": "add"}}]}
SPEC = {"steps": [{"name": "only", "function": {"name": "add"}}]}


@pytest.fixture
async def hand(store):
    return await Hand.registered(store)


@pytest.fixture
def space(request):
    """A namespace for this test alone."""
    return request.node.name[:60]


async def a_run(store, space, **changes):
    return await accepted(store, SPEC, namespace=space, **changes)


async def finish(store, hand, run, jobs):
    (claim,) = await hand.claim(jobs)
    view = hand.view(run, SPEC, 1, complete=True)
    await hand.end(view, done(1, claim.attempt))
    assert (await store.run(run.run_id)).phase is Phase.SUCCEEDED


async def phase(store, run):
    return (await store.run(run.run_id)).phase


async def seats(store, hand, space, *claims, leaves=()):
    asks = [(claim.key, claim.attempt) for claim in claims]
    left = [(claim.key, claim.attempt) for claim in leaves]
    return await store.quotas.seat(space, hand.runner, Seating(asks=asks, leaves=left))


async def claims_of(store, hand, space, count, **changes):
    found = []
    for _ in range(count):
        _, jobs = await a_run(store, space, **changes)
        found += await hand.claim(jobs)
    return found


# -- runs ---------------------------------------------------------------------------------------------------------


async def test_runs_over_the_quota_wait_as_pending_and_begin_in_the_order_of_their_age(store, hand, space):
    await store.quotas.put(space, Allowance(active_runs=1))
    (first, jobs), (second, nothing), (third, _) = [await a_run(store, space) for _ in range(3)]
    assert (len(jobs), nothing) == (1, [])
    assert [await phase(store, run) for run in (first, second, third)] == [Phase.RUNNING, Phase.PENDING, Phase.PENDING]
    assert (await store.run(second.run_id)).held == "activeRuns: 1 of 1 used"
    assert await hand.claim([job(second.run_id, 1)]) == []
    await finish(store, hand, first, jobs)
    assert await store.quotas.admit(space) == [job(second.run_id, 1)]
    assert await store.quotas.admit(space) == []
    assert [await phase(store, run) for run in (second, third)] == [Phase.RUNNING, Phase.PENDING]


async def test_the_status_of_a_run_that_waits_names_the_word_and_its_figures(store, space):
    await store.quotas.put(space, Allowance(active_runs=0))
    run, _ = await a_run(store, space, uid="u-held")
    (report,) = [report for report in await store.reports.behind(100) if report.run.run_id == run.run_id]
    status = run_status(report, None)
    assert status["phase"] == "Pending"
    assert {condition["reason"] for condition in status["conditions"]} == {"QuotaExceeded"}
    assert status["message"] == "Waits for the quota of the namespace. activeRuns: 0 of 0 used"
    assert "startedAt" not in status
    await store.quotas.put(space, NOTHING_SAID)
    begun = run_status(Report(0, await store.run(run.run_id)), None)
    assert (begun["phase"], begun["conditions"][0]["reason"]) == ("Running", "Running")


async def test_the_higher_priority_begins_first_and_a_suspended_run_lets_others_pass(store, hand, space):
    await store.quotas.put(space, Allowance(active_runs=1))
    first, jobs = await a_run(store, space)
    asleep, _ = await a_run(store, space, priority=9, suspended=True)
    low, _ = await a_run(store, space)
    high, _ = await a_run(store, space)
    assert await store.prioritise(high.run_id, 5) == []
    await finish(store, hand, first, jobs)
    (begun,) = await store.quotas.admit(space)
    assert begun.key.run_id == high.run_id
    assert await store.suspend(asleep.run_id, False) == []  # resumed, and there is no room
    assert (await store.run(low.run_id)).held
    assert await hand.claim([job(asleep.run_id, 1)]) == []
    await store.stop(high.run_id, CANCEL)
    await finish_end(hand, high)
    assert [job.key.run_id for job in await store.quotas.admit(space)] == [asleep.run_id]


async def finish_end(hand, run):
    """End a run that is being stopped."""
    (claim,) = await hand.claim([job(run.run_id, 0)])
    view = hand.view(run, SPEC, 0)
    view.stop(claim.stopping, claim.error)
    await hand.end(view, done(0, claim.attempt))


async def test_a_run_that_is_resumed_begins_at_once_when_there_is_room(store, space):
    await store.quotas.put(space, Allowance(active_runs=1))
    run, jobs = await a_run(store, space, suspended=True)
    assert jobs == []
    assert await store.suspend(run.run_id, False) == [job(run.run_id, 1)]


async def test_a_run_that_waits_can_be_cancelled_and_never_counts(store, hand, space):
    await store.quotas.put(space, Allowance(active_runs=0))
    run, _ = await a_run(store, space)
    (end,) = await store.stop(run.run_id, CANCEL)
    assert end.key == StepKey(run.run_id, 0, 0)
    await finish_end(hand, run)
    assert await phase(store, run) is Phase.CANCELLED
    usage = (await store.quotas.usage([space]))[space]
    assert (usage.active_runs, usage.waiting_runs) == (0, 0)


async def test_runs_from_before_the_quota_count_and_go_on(store, hand, space):
    old, jobs = await a_run(store, space)
    await store.quotas.put(space, Allowance(active_runs=1))
    new, nothing = await a_run(store, space)
    assert nothing == []
    await finish(store, hand, old, jobs)
    assert await store.quotas.admit(space) == [job(new.run_id, 1)]


async def test_a_quota_that_is_raised_or_taken_away_acts_at_once_and_a_lower_one_stops_nothing(store, space):
    await store.quotas.put(space, Allowance(active_runs=1))
    runs = [(await a_run(store, space))[0] for _ in range(6)]
    assert {begun.key.run_id for begun in await store.quotas.put(space, Allowance(active_runs=3))} == {
        run.run_id for run in runs[1:3]
    }
    assert await store.quotas.put(space, Allowance(active_runs=2)) == []
    assert [await phase(store, run) for run in runs[:3]] == [Phase.RUNNING] * 3
    assert (await store.run(runs[3].run_id)).held == "activeRuns: 2 of 2 used"
    assert len(await store.quotas.put(space, NOTHING_SAID)) == 3
    _, jobs = await a_run(store, space)
    assert len(jobs) == 1
    assert space not in await store.quotas.allowed()


async def test_starts_come_out_of_a_bucket_and_the_sweep_lets_them_in_when_they_are_due(store, database, space):
    await store.quotas.put(space, Allowance(starts_per_minute=60))
    runs = [await a_run(store, space) for _ in range(8)]
    assert [len(jobs) for _, jobs in runs] == [1] * 5 + [0] * 3  # the starts of five seconds
    assert "startsPerMinute: 5 of 60 used" in (await store.run(runs[5][0].run_id)).held
    connection = await asyncpg.connect(database)
    await connection.execute("update leat.quota set spent = spent - 2.001 where namespace = $1", space)  # 2 s go by
    swept = {found.key.run_id for found in await sweep(store)}
    assert {run.run_id for run, _ in runs[5:7]} <= swept
    assert runs[7][0].run_id not in swept
    await connection.close()
    await store.quotas.put(space, NOTHING_SAID)


async def test_what_died_between_its_accept_and_its_admission_is_let_in_by_the_sweep(store, database, space):
    await store.quotas.put(space, Allowance(active_runs=1))
    run, _ = await a_run(store, space)
    connection = await asyncpg.connect(database)
    await connection.execute("update leat.run set held = '' where id = $1", run.run_id)
    await connection.execute("update leat.ready set suspended = true where run_id = $1", run.run_id)
    await connection.close()
    assert job(run.run_id, 1) in await sweep(store)
    assert job(run.run_id, 1) not in await sweep(store)


async def test_the_timeout_of_a_run_begins_when_it_is_let_in(store, database, space):
    await store.quotas.put(space, Allowance(active_runs=0))
    run, _ = await a_run(store, space, timeout=100.0)
    connection = await asyncpg.connect(database)
    question = "select extract(epoch from due_at - now())::int from leat.timer where run_id = $1"
    assert await connection.fetchval(question, run.run_id) is None
    await store.quotas.put(space, Allowance(active_runs=1))
    assert 98 <= await connection.fetchval(question, run.run_id) <= 100
    await connection.close()


async def test_many_who_accept_at_once_let_no_more_in_than_the_quota(store, space):
    await store.quotas.put(space, Allowance(active_runs=3))
    answers = await asyncio.gather(*(a_run(store, space) for _ in range(12)))
    begun = {begun.key.run_id for _, jobs in answers for begun in jobs}
    assert len(begun) == 3
    usage = (await store.quotas.usage([space]))[space]
    assert (usage.active_runs, usage.waiting_runs, usage.starts) == (3, 9, 3)


async def test_one_namespace_takes_nothing_from_another(store, space):
    await store.quotas.put(space, Allowance(active_runs=0, steps=0))
    _, jobs = await accepted(store, SPEC, namespace=f"{space}-other")
    assert len(jobs) == 1


async def test_the_command_line_says_why_a_run_waits(store, database, space):
    await store.quotas.put(space, Allowance(active_runs=0))
    run, _ = await a_run(store, space)
    done = await asyncio.to_thread(leat, "describe", run.name, "-n", space, "--database", database)
    assert "Pending" in done.out, done.err
    assert "Waits for the quota of the namespace. activeRuns: 0 of 0 used" in done.out


async def test_a_child_that_is_waited_for_begins_in_the_room_of_its_parent_and_counts(store):
    await shelve(store, "nap", {"steps": [{"name": "nap", "wait": {"duration": "1h"}}]})
    await store.quotas.put("test", Allowance(active_runs=1))
    async with a_house(store) as house:
        run = await house.begin({"steps": [{"name": "call", "workflow": {"name": "nap"}}]})
        child = await house.child(run)
        assert await phase(store, child) is Phase.RUNNING
        assert (await store.quotas.usage(["test"]))["test"].active_runs == 2
        late, nothing = await a_run(store, "test")
        assert (nothing, await phase(store, late)) == ([], Phase.PENDING)
    await store.quotas.put("test", NOTHING_SAID)


async def test_a_run_that_waits_may_be_migrated_and_goes_on_waiting(store, hand, space):
    await store.quotas.put(space, Allowance(active_runs=0))
    run, _ = await accepted(store, SPEC, namespace=space)
    await store.save_revision(revision_of(OTHER))
    assert await store.versions.migrate(run.run_id, plan_of(SPEC), plan_of(OTHER), resume=True) == []
    assert await hand.claim([job(run.run_id, 1)]) == []
    assert await phase(store, run) is Phase.PENDING
    assert {begun.key.run_id for begun in await store.quotas.put(space, NOTHING_SAID)} == {run.run_id}


async def test_a_step_that_waits_for_a_seat_asks_again_after_a_migration(store, hand, space):
    await store.quotas.put(space, Allowance(steps=0))
    run, jobs = await accepted(store, SPEC, namespace=space)
    (claim,) = await hand.claim(jobs)
    await seats(store, hand, space, claim)
    await store.quotas.put_back(space, hand.runner, [(claim.key, 1)])
    await store.save_revision(revision_of(OTHER))
    ready = await store.versions.migrate(run.run_id, plan_of(SPEC), plan_of(OTHER), resume=True)
    (again,) = [found for found in await hand.claim(ready) if found.key.step == 2]
    assert (await seats(store, hand, space, again)).seats == frozenset()
    await store.quotas.put_back(space, hand.runner, [(again.key, again.attempt)])
    assert {found.key for found in await store.quotas.put(space, NOTHING_SAID)} >= {again.key}


# -- steps --------------------------------------------------------------------------------------------------------


async def test_steps_without_a_seat_wait_withheld_and_go_on_by_priority_and_age(store, hand, space):
    await store.quotas.put(space, Allowance(steps=1))
    first, second, third = await claims_of(store, hand, space, 3)
    (high,) = await claims_of(store, hand, space, 1, priority=3)
    assert (await seats(store, hand, space, first)).seats == {first.key}
    assert (await seats(store, hand, space, first)).seats == {first.key}
    assert (await seats(store, hand, space, third, second, high)).seats == frozenset()
    waiting = [(claim.key, claim.attempt) for claim in (second, third, high)]
    assert await store.quotas.put_back(space, hand.runner, waiting) == []
    (step,) = await store.steps(second.key.run_id)
    assert (step.state, step.note) == (State.READY, "quota of the namespace, steps: 1 of 1 used")
    assert await hand.claim([job(second.key.run_id, 1)]) == []
    order = []
    while len(order) < 3:
        left = order[-1] if order else first
        (ready,) = (await seats(store, hand, space, leaves=[left])).jobs
        (claim,) = await hand.claim([ready])
        assert not claim.resumed
        assert (await seats(store, hand, space, claim)).seats == {claim.key}
        order.append(claim)
    assert [claim.key for claim in order] == [high.key, second.key, third.key]


async def test_whatever_ends_or_parks_a_step_frees_its_seat(store, hand, space):
    await store.quotas.put(space, Allowance(steps=1))
    run, jobs = await a_run(store, space)
    (first,) = await hand.claim(jobs)
    second, third = await claims_of(store, hand, space, 2)
    await seats(store, hand, space, first)
    await hand.end(hand.view(run, SPEC, 1, complete=True), done(1))
    assert (await seats(store, hand, space, second)).seats == {second.key}
    await store.delay(hand.runner, [Lateness(second.key, 1, 1000.0, "default", None)])
    assert (await seats(store, hand, space, third)).seats == {third.key}
    assert (await store.quotas.usage([space]))[space].steps == 1


async def test_a_dead_runners_seat_goes_with_its_step(store, database, hand, space):
    await store.quotas.put(space, Allowance(steps=1))
    other = await Hand.registered(store)
    (mine,) = await claims_of(store, hand, space, 1)
    (theirs,) = await claims_of(store, other, space, 1)
    await seats(store, hand, space, mine)
    await age(database, hand.runner, 100)
    again = [found for found in await rescue(store, 50) if found.key == mine.key]
    assert (await seats(store, other, space, theirs)).seats == frozenset()
    assert (await seats(store, hand, space, leaves=[mine])).jobs == ()  # it lost the claim: it takes nothing away
    (claim,) = await other.claim(again)
    assert (await seats(store, other, space, claim)).seats == {mine.key}


async def test_who_came_free_while_others_were_put_back_is_found_and_a_death_in_between_is_swept(store, hand, space):
    await store.quotas.put(space, Allowance(steps=1))
    first, second = await claims_of(store, hand, space, 2)
    await seats(store, hand, space, first)
    await seats(store, hand, space, second)
    assert (await seats(store, hand, space, leaves=[first])).jobs == ()  # the second is still claimed
    (ready,) = await store.quotas.put_back(space, hand.runner, [(second.key, 1)])
    assert ready.key == second.key
    third, fourth = await claims_of(store, hand, space, 2)
    await hand.claim([ready])
    await seats(store, hand, space, third, fourth)
    await store.quotas.put_back(space, hand.runner, [(third.key, 1), (fourth.key, 1)])
    await store.delay(hand.runner, [Lateness(second.key, 1, 1000.0, "default", None)])  # and its runner dies
    assert third.key in {found.key for found in await sweep(store)}
    assert fourth.key not in {found.key for found in await sweep(store)}


async def test_a_suspended_runs_step_lets_others_pass_and_asks_again_when_it_goes_on(store, hand, space):
    await store.quotas.put(space, Allowance(steps=1))
    first, second, third = await claims_of(store, hand, space, 3)
    await seats(store, hand, space, first)
    await seats(store, hand, space, second, third)
    await store.quotas.put_back(space, hand.runner, [(second.key, 1), (third.key, 1)])
    await store.suspend(second.key.run_id, True)
    (ready,) = (await seats(store, hand, space, leaves=[first])).jobs
    assert ready.key == third.key
    (resumed,) = await hand.claim(await store.suspend(second.key.run_id, False))
    assert (await seats(store, hand, space, resumed)).seats == frozenset()


async def test_steps_that_ran_before_there_was_a_quota_count_and_nobody_begins_until_they_are_fewer(store, hand, space):
    old = await claims_of(store, hand, space, 3)
    await store.quotas.put(space, Allowance(steps=2))
    begun = Seating(begun=[(claim.key, claim.attempt) for claim in old])
    assert len((await store.quotas.seat(space, hand.runner, begun)).seats) == 3
    (new,) = await claims_of(store, hand, space, 1)
    assert (await seats(store, hand, space, new, leaves=[old[0]])).seats == frozenset()
    assert (await seats(store, hand, space, new, leaves=[old[1]])).seats == {new.key}


async def test_a_quota_that_goes_lets_all_steps_go_on(store, hand, space):
    await store.quotas.put(space, Allowance(steps=0))
    claims = await claims_of(store, hand, space, 3)
    await seats(store, hand, space, *claims)
    await store.quotas.put_back(space, hand.runner, [(claim.key, 1) for claim in claims])
    jobs = await store.quotas.put(space, NOTHING_SAID)
    assert {found.key for found in jobs} == {claim.key for claim in claims}
    assert len(await hand.claim(jobs)) == 3


async def test_what_is_put_back_into_a_run_that_is_being_stopped_is_published_to_be_cancelled(store, hand, space):
    await store.quotas.put(space, Allowance(steps=0))
    (claim,) = await claims_of(store, hand, space, 1)
    await seats(store, hand, space, claim)
    await store.stop(claim.key.run_id, CANCEL)
    assert [found.key for found in await store.quotas.put_back(space, hand.runner, [(claim.key, 1)])] == [claim.key]


async def test_seats_of_steps_that_are_over_are_forgotten(store, database, hand, space):
    await store.quotas.put(space, Allowance(steps=1))
    run, jobs = await a_run(store, space)
    (claim,) = await hand.claim(jobs)
    await seats(store, hand, space, claim)
    connection = await asyncpg.connect(database)
    count = "select count(*) from leat.seat where namespace = $1"
    await forget(store)
    assert await connection.fetchval(count, space) == 1
    await hand.end(hand.view(run, SPEC, 1, complete=True), done(1))
    await forget(store)
    assert await connection.fetchval(count, space) == 0
    await connection.close()


async def test_a_step_that_waits_for_a_seat_is_told_in_the_status_of_its_run(store, hand, space):
    await store.quotas.put(space, Allowance(steps=0))
    run, jobs = await a_run(store, space, uid="u-seat")
    (claim,) = await hand.claim(jobs)
    await seats(store, hand, space, claim)
    await store.quotas.put_back(space, hand.runner, [(claim.key, 1)])
    (report,) = [report for report in await store.reports.behind(100) if report.run.run_id == run.run_id]
    assert (report.waiting_step, report.waiting) == (1, "quota of the namespace, steps: 0 of 0 used")
    assert run_status(report, plan_of(SPEC))["message"] == f"step only is waiting: {report.waiting}"
    await store.quotas.put(space, NOTHING_SAID)
    (step,) = await store.steps(run.run_id)
    assert step.note is None
