"""What the store shows to people who read: bounded, and with the names of runners."""

from tests.support.hand import Hand, accepted, done, steps

from leat_engine.job import StepKey
from leat_engine.result import Result, State

CHAIN = steps("one", two=["one"], three=["two"])
LOST = {"type": "RunnerLost", "message": "the runner fell silent"}


async def test_steps_are_shown_as_far_as_they_have_begun_with_the_names_of_their_runners(store):
    hand = await Hand.registered(store)
    run, jobs = await accepted(store, CHAIN)
    await hand.claim(jobs)
    (one,) = await store.shown.steps(run.run_id, range(1, 4), 4096)
    assert (one.record.key.step, one.record.state, one.runner) == (1, State.CLAIMED, "hand")
    await hand.end(hand.view(run, CHAIN, 1), done(1, result=Result(State.SUCCEEDED, {"a": 1})))
    one, two = await store.shown.steps(run.run_id, range(1, 4), 4096)
    assert (one.record.output, one.runner, two.record.state) == ({"a": 1}, "hand", State.CLAIMED)
    assert [each.record.key.step for each in await store.shown.steps(run.run_id, range(2, 4), 4096)] == [2]


async def test_a_large_output_stays_where_it_is_and_its_size_is_told(store):
    hand = await Hand.registered(store)
    run, jobs = await accepted(store, CHAIN)
    await hand.claim(jobs)
    await hand.end(hand.view(run, CHAIN, 1), done(1, result=Result(State.SUCCEEDED, "x" * 5_000)))
    one, _ = await store.shown.steps(run.run_id, range(1, 4), 4096)
    assert (one.record.output, one.output_bytes) == (None, 5_002)


async def test_of_many_attempts_the_last_ones_are_shown_in_their_order(store):
    run, jobs = await accepted(store, CHAIN)
    for _ in range(5):
        hand = await Hand.registered(store)
        await hand.claim(jobs)
        jobs = await store.care.rescue(hand.runner, LOST, lost=False)
    found = await store.shown.attempts(run.run_id, range(1, 4), 4)
    assert [each.record.attempt for each in found] == [2, 3, 4, 5]
    assert {(each.record.key, each.runner) for each in found} == {(StepKey(run.run_id, 0, 1), "hand")}
    assert await store.shown.attempts(run.run_id, range(2, 4), 4) == []
