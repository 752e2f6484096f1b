"""What an operator asks the store for estimates, and what it tells with them."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.support.hand import Hand, accepted, done, steps
from tests.support.load import plan_of

from leat_engine.store.durations import Durations
from leat_operator.forecasts import Forecasts

SPEC = steps("a", b=["a"])


@pytest.fixture
def asked(monkeypatch):
    """The questions about durations, in their order."""
    questions = []
    for name in ("of", "situations"):
        real = getattr(Durations, name)

        async def counted(self, keys, real=real, name=name):
            questions.append((name, len(keys)))
            return await real(self, keys)

        monkeypatch.setattr(Durations, name, counted)
    return questions


@pytest.fixture
async def taught(store):
    """A store that knows that `a` takes 20 s and `b` 40 s."""
    hand = await Hand.registered(store)
    run, jobs = await accepted(store, SPEC)
    await hand.claim(jobs)
    await hand.end(hand.view(run, SPEC, 1, complete=True), done(1))
    await hand.end(hand.view(run, SPEC, 2, complete=True), done(2))
    for step, seconds in ((1, 20), (2, 40)):
        await store._pool.execute(
            "update leat.step set opened_at = finished_at - make_interval(secs => $3) where run_id = $1 and id = $2",
            run.run_id,
            step,
            float(seconds),
        )
    await store.durations.fold(datetime.now(UTC) + timedelta(seconds=10))
    return store


async def begun(store, seconds, **changes):
    """Of a run that began so long ago, the record."""
    run, _ = await accepted(store, SPEC, **changes)
    await store._pool.execute(
        "update leat.step set opened_at = opened_at - make_interval(secs => $2) where run_id = $1",
        run.run_id,
        float(seconds),
    )
    await store._pool.execute(
        "update leat.run set created_at = created_at - make_interval(secs => $2) where id = $1",
        run.run_id,
        float(seconds),
    )
    return await store.run(run.run_id)


def seconds_left(finish):
    return (finish - datetime.now(UTC)).total_seconds()


async def test_a_run_is_told_when_it_ends_by_what_earlier_ones_took(taught):
    forecasts, plan = Forecasts(taught), plan_of(SPEC)
    young, old = await begun(taught, 0), await begun(taught, 10)
    looked = await forecasts.look([young, old])
    assert set(looked) == {old.run_id}  # a young one is where it began
    for run, expected in ((young, 60), (old, 50)):
        await forecasts.learn(run, plan)
        assert seconds_left(forecasts.finish(run, plan, looked.get(run.run_id))) == pytest.approx(expected, rel=0.1)


async def test_a_batch_is_one_question_and_a_workflow_one_in_a_minute(taught, asked):
    forecasts, plan = Forecasts(taught), plan_of(SPEC)
    runs = [await begun(taught, 5) for _ in range(20)]
    for _ in range(3):
        await forecasts.look(runs)
        for run in runs:
            await forecasts.learn(run, plan)
    assert asked == [("situations", 20), ("of", 1), ("situations", 20), ("situations", 20)]


async def test_nothing_is_asked_for_runs_that_are_on_no_way_to_their_end(taught, asked):
    forecasts, plan = Forecasts(taught), plan_of(SPEC)
    suspended = await begun(taught, 5, suspended=True)
    assert await forecasts.look([suspended]) == {}
    await forecasts.learn(suspended, plan)
    assert asked == []
    assert forecasts.finish(suspended, plan, None) is None


async def test_of_a_workflow_without_ends_nothing_is_told(taught):
    forecasts, plan = Forecasts(taught), plan_of(SPEC)
    run = await begun(taught, 5, workflow="other")
    await forecasts.learn(run, plan)
    assert forecasts.finish(run, plan, (await forecasts.look([run]))[run.run_id]) is None


async def test_without_the_store_a_status_goes_without_an_estimate(taught):
    forecasts, plan = Forecasts(taught), plan_of(SPEC)
    run = await begun(taught, 5)
    await taught.close()
    await forecasts.learn(run, plan)
    assert forecasts.finish(run, plan, None) is None
