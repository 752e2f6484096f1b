"""Who may hold the Lease, by the own clock alone."""

from hypothesis import given
from hypothesis import strategies as st

from leat_operator.lease import Move, Watch, decide


def lease(holder, version="1", duration=15):
    spec = {"holderIdentity": holder, "leaseDurationSeconds": duration}
    return {"metadata": {"resourceVersion": version}, "spec": spec}


def test_a_lease_that_is_not_there_is_created():
    assert decide(None, "me", Watch(), 0.0) is Move.CREATE


def test_a_released_lease_is_taken():
    assert decide(lease(""), "me", Watch("1", 0.0), 0.0) is Move.TAKE


def test_an_own_lease_is_taken_again():
    assert decide(lease("me"), "me", Watch("1", 0.0), 0.0) is Move.TAKE


def test_a_holder_that_renews_is_waited_for_however_long():
    watch = Watch()
    for second in range(0, 100, 5):
        current = lease("other", version=str(second))
        watch.see(current, float(second))
        assert decide(current, "me", watch, float(second)) is Move.WAIT


def test_a_holder_that_is_silent_for_the_duration_is_replaced():
    watch = Watch()
    watch.see(lease("other"), 100.0)
    assert decide(lease("other"), "me", watch, 115.0) is Move.WAIT
    assert decide(lease("other"), "me", watch, 115.1) is Move.TAKE


@given(st.floats(0, 15), st.floats(0, 1e6))
def test_a_candidate_that_has_just_come_waits_for_a_whole_duration(waited, start):
    watch = Watch()
    watch.see(lease("other"), start)
    assert decide(lease("other"), "me", watch, start + waited * 0.999) is Move.WAIT
