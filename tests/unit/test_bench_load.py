"""What the benchmark's figures mean."""

import pytest
from bench.load import Figures, Load, Measured, Sample, best_window, figures, percentile, schedule
from hypothesis import given
from hypothesis import strategies as st

moments = st.floats(min_value=0, max_value=1000, allow_nan=False)


def test_a_percentile_is_a_value_that_was_seen() -> None:
    assert percentile([40, 10, 30, 20], 0.5) == 20
    assert percentile([10, 1000], 0.5) == 10


def test_the_99th_percentile_of_200_values_leaves_two_above_it() -> None:
    assert percentile(range(1, 201), 0.99) == 198


@given(st.lists(moments, min_size=1), st.floats(min_value=0, max_value=1))
def test_at_least_the_share_asked_for_lies_at_or_below_a_percentile(values: list[float], q: float) -> None:
    found = percentile(values, q)
    assert found in values
    assert sum(value <= found for value in values) >= q * len(values)


def test_a_percentile_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing finished"):
        percentile([], 0.5)


def test_a_share_beyond_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected 0\.\.1"):
        percentile([1.0], 99)


def test_a_paced_schedule_starts_at_once_and_keeps_even_distances() -> None:
    assert schedule(rate=4, seconds=1) == [0, 0.25, 0.5, 0.75]


def test_a_steady_engine_has_the_same_throughput_in_every_window() -> None:
    assert best_window([n / 10 for n in range(301)], seconds=10) == pytest.approx(10)


def test_the_best_window_leaves_a_slow_start_out() -> None:
    slow = [float(n) for n in range(10)]
    fast = [10 + n / 100 for n in range(1001)]
    assert best_window(slow + fast, seconds=10) == pytest.approx(100)


def test_the_best_window_does_not_reach_beyond_what_was_observed() -> None:
    with pytest.raises(ValueError, match=r"observed 9\.0 s"):
        best_window([float(n) for n in range(10)], seconds=10)


@given(st.lists(moments, min_size=2), st.floats(min_value=0.1, max_value=1000))
def test_no_window_holds_more_runs_than_finished(finished: list[float], seconds: float) -> None:
    if max(finished) - min(finished) >= seconds:
        assert best_window(finished, seconds) * seconds <= len(finished)


def test_throughput_comes_from_the_saturated_phase_and_latency_from_the_paced_one() -> None:
    saturated = [Sample(0, n / 100) for n in range(1101)]
    paced = [Sample(n, n + 0.005) for n in range(100)]
    found = figures("one", saturated, paced, seconds=10)
    assert found.runs_per_s == pytest.approx(100)
    assert found.p50_ms == pytest.approx(5)
    assert found.p99_ms == pytest.approx(5)


def test_an_engine_is_reported_at_its_fastest_setting() -> None:
    slow, fast = Figures("slow", 10, 1, 2), Figures("fast", 20, 3, 4)
    assert Measured([slow, fast], {}).best is fast


def test_the_saturated_phase_is_longer_than_the_window_it_is_judged_by() -> None:
    load = Load(seconds=10)
    assert load.observed > load.seconds
