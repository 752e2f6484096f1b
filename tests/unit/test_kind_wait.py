from datetime import UTC, datetime, timedelta

from tests.support.steps import NOW, a_setup, a_step

from leat_engine.result import Parked, Succeeded
from leat_engine.spec.kinds import Wait
from leat_runner.kinds.wait import WaitKind


def a_wait(**fields):
    return Wait.model_validate(fields)


async def test_a_duration_parks_the_step_from_now_on():
    assert await WaitKind(a_setup()).execute(a_step(), a_wait(duration="1h30m")) == Parked(NOW + timedelta(minutes=90))


async def test_a_time_in_another_zone_parks_the_step_until_then_in_utc():
    outcome = await WaitKind(a_setup()).execute(a_step(), a_wait(until="2030-01-31T15:00:00+01:00"))
    assert outcome == Parked(datetime(2030, 1, 31, 14, 0, tzinfo=UTC))
    assert outcome.until.tzinfo is UTC


async def test_a_time_that_has_passed_does_not_wait():
    assert await WaitKind(a_setup()).execute(a_step(), a_wait(until="2030-01-31T12:00:00Z")) == Succeeded()


async def test_a_duration_of_nothing_does_not_wait():
    assert await WaitKind(a_setup()).execute(a_step(), a_wait(duration="0s")) == Succeeded()


async def test_a_resumed_wait_is_over_even_if_this_clock_is_behind():
    assert await WaitKind(a_setup()).execute(a_step(resumed=True), a_wait(until="2031-01-01T00:00:00Z")) == Succeeded()
