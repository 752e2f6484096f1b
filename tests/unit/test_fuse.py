"""A breaker: closed, open, half-open."""

from hypothesis import given
from hypothesis import strategies as st

from leat_engine.fuse import Pass, Position, Switch, ask, heard
from leat_engine.restraint import Fuse

FUSE = Fuse(None, failures=3, window=10.0, cool_down=5.0)


def after(*failures: float) -> Switch:
    switch = Switch()
    for at in failures:
        switch = heard(switch, FUSE, at, failed=True, probe=False)
    return switch


def test_it_opens_with_the_last_of_so_many_failures_within_its_window():
    assert after(1, 2).position(2) is Position.CLOSED
    assert after(1, 2, 3).position(3) is Position.OPEN
    assert ask(after(1, 2, 3), FUSE, 4) == Pass(allowed=False, wait=4.0)


def test_failures_that_are_older_than_its_window_do_not_count():
    assert after(1, 2, 11.5).position(11.5) is Position.CLOSED


def test_successes_between_failures_do_not_keep_it_closed():
    switch = heard(after(1, 2), FUSE, 2.5, failed=False, probe=False)
    assert heard(switch, FUSE, 3, failed=True, probe=False).position(3) is Position.OPEN


def test_when_it_has_cooled_down_it_lets_one_through_and_the_others_wait_for_that_one():
    switch = after(1, 2, 3)
    assert switch.position(8) is Position.HALF_OPEN
    assert ask(switch, FUSE, 8) == Pass(allowed=True, probe=True)
    assert not ask(Switch(open_until=8, probing=True), FUSE, 9).allowed


def test_the_success_of_that_one_closes_it_and_its_failure_opens_it_again():
    switch = after(1, 2, 3)
    assert heard(switch, FUSE, 9, failed=False, probe=True) == Switch()
    assert heard(switch, FUSE, 9, failed=True, probe=True) == Switch(open_until=14.0)


def test_attempts_that_began_before_it_opened_change_nothing():
    switch = after(1, 2, 3)
    assert heard(switch, FUSE, 4, failed=True, probe=False) == switch
    assert heard(switch, FUSE, 4, failed=False, probe=False) == switch


@given(st.lists(st.tuples(st.floats(0, 3), st.booleans()), max_size=60))
def test_it_keeps_no_more_failures_than_it_counts_and_none_while_it_is_open(ends):
    switch, now = Switch(), 0.0
    for seconds, failed in ends:
        now += seconds
        answer = ask(switch, FUSE, now)
        if answer.allowed:
            switch = heard(switch, FUSE, now, failed=failed, probe=answer.probe)
        assert len(switch.failures) < FUSE.failures
        assert not switch.failures or switch.open_until is None
