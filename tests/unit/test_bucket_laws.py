"""The law of a token bucket: in any time there are no more starts than its burst and what its rate gives."""

from heapq import heappop, heappush

from hypothesis import given
from hypothesis import strategies as st

from leat_engine.bucket import BRIEF, Bucket, turn

FULL = Bucket(0.0, 0.0)
SLACK = 1e-6


def starts(arrivals, late, interval, burst):
    """When attempts start that come at these times, and that are woken late by these."""
    bucket, begun = FULL, []
    agenda = [(at, number, None) for number, at in enumerate(sorted(arrivals))]
    lateness = list(late)
    for _ in range(10_000):
        if not agenda:
            return begun
        now, number, due = heappop(agenda)
        bucket, answer = turn(bucket, interval, burst, now, due)
        if answer.counted:
            assert now <= answer.due <= now + BRIEF
            begun.append(answer.due)
        else:
            assert answer.due > now
            heappush(agenda, (answer.due + (lateness.pop() if lateness else 0.0), number, answer.due))
    raise AssertionError("somebody waits for ever")


times = st.floats(1000, 1010)


@given(
    st.lists(times, min_size=1, max_size=40),
    st.lists(st.floats(0, 20), max_size=60),
    st.floats(0.01, 3),
    st.integers(1, 5),
)
def test_no_time_has_more_starts_than_burst_and_rate_allow_however_late_they_are_woken(arrivals, late, interval, burst):
    begun = sorted(starts(arrivals, late, interval, burst))
    assert len(begun) == len(arrivals)
    for first, start in enumerate(begun):
        for last in range(first, len(begun)):
            assert last - first + 1 <= burst + (begun[last] - start) / interval + SLACK


@given(st.lists(times, min_size=1, max_size=40), st.floats(0.01, 3), st.integers(1, 5))
def test_who_is_woken_in_time_starts_in_the_order_of_arrival_and_no_later_than_the_rate_demands(
    arrivals, interval, burst
):
    arrivals = sorted(arrivals)
    begun = starts(arrivals, [], interval, burst)
    expected, full = [], 0.0
    for at in arrivals:
        full = max(at, full) + interval
        expected.append(max(at, full - burst * interval))
    assert all(abs(one - other) < SLACK for one, other in zip(sorted(begun), expected, strict=True))


def test_a_quiet_time_gives_the_burst_and_no_more():
    assert starts([1000.0] * 4, [], 1.0, 2) == [1000.0, 1000.0, 1001.0, 1002.0]
