"""How often a resource is told something."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leat_engine.result import Phase
from leat_operator.pace import FIRST_DELAY, LONGEST_INTERVAL, Pace, Stage, poll_interval


def tellings(seconds, step=0.5):
    """When a run that changes all the time is told, until it ends after so many seconds."""
    pace, told, now = Pace(not_before=FIRST_DELAY), [], 0.0
    while now < seconds:
        if pace.due(Phase.RUNNING, 1, now) <= now:
            told.append(now)
            pace.told(Phase.RUNNING, 1, now)
        now += step
    assert pace.due(Phase.SUCCEEDED, 1, now) == now
    return [*told, now]


def test_a_run_that_ends_before_its_first_telling_is_told_once():
    pace = Pace(not_before=FIRST_DELAY)
    assert pace.due(Phase.RUNNING, 1, 0.0) == FIRST_DELAY
    assert pace.due(Phase.SUCCEEDED, 1, 0.01) == 0.01
    assert pace.stage(Phase.SUCCEEDED) is Stage.FINAL


def test_a_run_of_less_than_two_seconds_is_told_twice():
    assert len(tellings(1.9)) == 2


def test_intervals_double():
    assert tellings(40)[:5] == [0.5, 2.5, 6.5, 14.5, 30.5]


def test_a_run_of_an_hour_is_told_less_often_than_each_minute():
    assert len(tellings(3600)) < 70


@pytest.mark.parametrize("phase", [Phase.SUSPENDED, Phase.COMPENSATING])
def test_notable_phases_are_told_at_once_when_they_begin_and_when_they_end(phase):
    pace = Pace()
    pace.told(Phase.RUNNING, 1, 0.0)
    assert pace.due(phase, 1, 0.1) == 0.1
    pace.told(phase, 1, 0.1)
    assert pace.due(Phase.RUNNING, 1, 0.2) == 0.2


def test_a_new_spec_is_acknowledged_at_once():
    pace = Pace()
    pace.told(Phase.RUNNING, 1, 0.0)
    assert pace.due(Phase.RUNNING, 1, 0.1) == 2.0
    assert pace.due(Phase.RUNNING, 2, 0.1) == 0.1


@given(st.floats(0, 1e6), st.lists(st.floats(0, 100), max_size=30))
def test_an_end_is_never_kept_waiting(start, gaps):
    pace, now = Pace(), start
    for gap in gaps:
        pace.told(Phase.RUNNING, 1, now)
        assert pace.interval <= LONGEST_INTERVAL
        now += gap
        assert pace.due(Phase.FAILED, 1, now) == now


@given(st.floats(0, 1e9))
def test_the_store_is_asked_often_after_something_happened_and_seldom_when_idle(quiet):
    assert 0.025 <= poll_interval(quiet) <= 1.0
    assert poll_interval(quiet) <= max(0.025, quiet / 50)


def test_what_a_step_waits_for_is_told_promptly_and_so_is_that_it_does_not_any_more():
    pace = Pace()
    pace.told(Phase.RUNNING, 1, 0.0)
    assert pace.due(Phase.RUNNING, 1, 0.1, "ImagePullBackOff") == 0.1
    pace.told(Phase.RUNNING, 1, 0.1, "ImagePullBackOff")
    assert pace.due(Phase.RUNNING, 1, 2.5) == 2.5


def test_notes_that_change_all_the_time_are_told_no_faster_than_anything_else():
    pace, told, now = Pace(), 0, 0.0
    while now < 20:
        if pace.due(Phase.RUNNING, 1, now, f"note at {now}") <= now:
            pace.told(Phase.RUNNING, 1, now, f"note at {now}")
            told += 1
        now += 0.1
    assert told <= 11
