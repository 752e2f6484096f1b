"""Laws of estimates, and what they say of each body."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.load import plan_of

from leat_engine.durations import Expected, Fixed, LogNormal
from leat_engine.estimate import Forecast, Opened, Situation

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HTTP = {"http": {"url": "http://a.example"}}


def fixed(**seconds):
    return {name: Expected(span=Fixed(each)) for name, each in seconds.items()}


def steps(**needs):
    return {"steps": [{"name": name, "needs": list(of), **HTTP} for name, of in needs.items()]}


def left(spec, expected, situation=None, counts=None):
    """Seconds until the run has ended, in half of all cases and in nine of ten."""
    found = Forecast(plan_of(spec), expected, counts).estimate(situation or Situation(), NOW)
    return tuple(None if at is None else (at - NOW).total_seconds() for at in (found.finish, found.late))


@st.composite
def graphs(draw):
    """A graph of steps, with what each takes."""
    count = draw(st.integers(1, 8))
    names = [f"s{number}" for number in range(count)]
    needs = {
        name: draw(st.lists(st.sampled_from(names[:place]), unique=True, max_size=3)) if place else []
        for place, name in enumerate(names)
    }
    return needs, {name: draw(st.floats(0.01, 1000)) for name in names}


@st.composite
def spreads(draw):
    p50 = draw(st.floats(0.01, 1000))
    return LogNormal(p50, p50 * draw(st.floats(1.1, 20)))


def longest(needs, seconds):
    ends = {}
    for name, before in needs.items():
        ends[name] = seconds[name] + max((ends[each] for each in before), default=0.0)
    return max(ends.values())


@settings(deadline=None)
@given(graphs())
def test_steps_that_always_take_the_same_end_with_the_longest_path(drawn):
    needs, seconds = drawn
    finish, late = left(steps(**needs), fixed(**seconds))
    assert finish == late == pytest.approx(longest(needs, seconds), abs=1e-5)


@settings(deadline=None)
@given(graphs(), st.data())
def test_a_run_never_ends_before_now_and_rather_late_than_early(drawn, data):
    needs, _ = drawn
    expected = {name: Expected(span=data.draw(spreads()), skipped=data.draw(st.floats(0, 1))) for name in needs}
    done = data.draw(st.sets(st.integers(1, len(needs))))
    live = {node: data.draw(st.floats(0, 5000)) for node in range(1, len(needs) + 1) if node not in done}
    begun = dict(list(live.items())[: data.draw(st.integers(0, len(live)))])
    finish, late = left(steps(**needs), expected, Situation(frozenset(done), begun))
    assert 0 <= finish <= late


@settings(deadline=None)
@given(graphs(), st.data())
def test_a_step_that_takes_longer_never_brings_the_end_nearer(drawn, data):
    needs, _ = drawn
    expected = {name: Expected(span=data.draw(spreads()), skipped=data.draw(st.floats(0, 1))) for name in needs}
    slow = data.draw(st.sampled_from(sorted(needs)))
    factor, before = data.draw(st.floats(1, 10)), expected[slow].span
    slower = Expected(span=LogNormal(before.p50 * factor, before.p90 * factor), skipped=expected[slow].skipped)
    first, second = left(steps(**needs), expected), left(steps(**needs), expected | {slow: slower})
    assert all(one <= other + 1e-5 for one, other in zip(first, second, strict=True))


@settings(deadline=None)
@given(graphs())
def test_the_shares_of_the_critical_path_are_those_of_its_steps(drawn):
    needs, seconds = drawn
    path = Forecast(plan_of(steps(**needs)), fixed(**seconds)).estimate(Situation(), NOW).path
    whole = longest(needs, seconds)
    assert sum(part.share for part in path) == pytest.approx(1, abs=0.1)  # what is below a hundredth is left out
    for part in path:
        assert part.share == pytest.approx(seconds[part.step] / whole)


def test_what_is_done_takes_no_more_time_and_what_runs_takes_what_is_left():
    spec, expected = steps(a=[], b=["a"], c=["b"]), fixed(a=10, b=20, c=30)
    assert left(spec, expected, Situation(frozenset({1}), {2: 5.0})) == (45.0, 45.0)
    assert left(spec, expected, Situation(frozenset({1}), {2: 50.0})) == (30.0, 30.0)
    assert left(spec, expected, Situation(frozenset({1, 2, 3}))) == (0.0, 0.0)


def test_a_step_that_runs_for_long_is_one_of_those_that_run_for_long():
    spec, expected = steps(a=[]), {"a": Expected(span=LogNormal(1.0, 60.0))}
    assert left(spec, expected)[0] < 2
    assert left(spec, expected, Situation(live={1: 50.0}))[0] > 20


def test_without_a_known_duration_nothing_is_told_but_what_is_missing():
    found = Forecast(plan_of(steps(a=[], b=["a"])), fixed(a=1)).estimate(Situation(), NOW)
    assert (found.finish, found.unknown) == (None, ("b",))
    assert Forecast(plan_of(steps(a=[], b=["a"])), fixed(a=1)).estimate(Situation(frozenset({2})), NOW).finish


def test_nobody_knows_when_people_answer():
    spec = {"steps": [{"name": "ask", "approval": {}}, {"name": "a", "needs": ["ask"], **HTTP}]}
    found = Forecast(plan_of(spec), fixed(ask=1, a=1)).estimate(Situation(), NOW)
    assert (found.finish, found.people) == (None, ("ask",))
    assert left(spec, fixed(a=1), Situation(frozenset({1}))) == (1.0, 1.0)


def test_a_wait_says_itself_how_long_it_is_and_a_transform_takes_no_time():
    spec = {"steps": [{"name": "w", "wait": {"duration": "1m30s"}}, {"name": "t", "needs": ["w"], "transform": 1}]}
    assert left(spec, {}) == (90.0, 90.0)


def test_a_step_that_only_handles_a_failure_is_not_expected_until_it_has_run():
    spec = {"steps": [{"name": "a", **HTTP}, {"name": "mend", "needs": [{"step": "a", "on": ["Failed"]}], **HTTP}]}
    assert left(spec, fixed(a=3)) == (3.0, 3.0)
    often = {"mend": Expected(span=Fixed(5), skipped=0.2)}
    assert left(spec, fixed(a=3) | often) == (8.0, 8.0)


@pytest.mark.parametrize(("items", "parallel", "seconds"), [(0, 2, 0), (1, 2, 3), (4, 2, 6), (5, 2, 9), (5, 500, 3)])
def test_items_are_done_in_rounds(items, parallel, seconds):
    spec = {"steps": [{"name": "each", "forEach": list(range(items)), "maxParallel": parallel, **HTTP}]}
    assert left(spec, fixed(**{"each[]": 3})) == (seconds, seconds)


def test_more_items_than_usual_take_longer_and_those_that_are_over_no_more():
    spec = {
        "inputs": {"list": {"type": "array"}},
        "steps": [{"name": "each", "forEach": "${ inputs.list }", "maxParallel": 2, **HTTP}],
    }
    expected = fixed(**{"each[]": 3}) | {"each": Expected(span=Fixed(6), times=4)}
    assert left(spec, expected) == (6.0, 6.0)
    assert left(spec, expected, counts={1: 40}) == (60.0, 60.0)
    assert left(spec, expected, Situation(live={1: 30.0}, opened={1: Opened(40, 22, 20)})) == (30.0, 30.0)
    assert left(spec, expected, Situation(live={1: 90.0}, opened={1: Opened(40, 40, 38)})) == (0.0, 0.0)


def test_a_repetition_takes_as_many_times_as_it_did_before():
    spec = {"steps": [{"name": "poll", "repeat": {"until": "${ last == 1 }", "max": 9, "delay": "10s"}, **HTTP}]}
    assert left(spec, fixed(**{"poll[]": 1}) | {"poll": Expected(times=3)}) == (23.0, 23.0)
    assert left(spec, fixed(**{"poll[]": 1})) == (None, None)


def test_a_switch_takes_its_cases_as_often_as_it_did_before():
    cases = [
        {"when": "${ 1 > 2 }", "steps": [{"name": "a", **HTTP}]},
        {"default": True, "steps": [{"name": "b", **HTTP}]},
    ]
    spec = {"steps": [{"name": "choose", "switch": cases}]}
    inner = fixed(**{"choose[0]/a": 100, "choose[1]/b": 1})
    assert left(spec, inner | {"choose": Expected(cases={0: 1.0, 1: 9.0})}) == (1.0, 100.0)
    assert left(spec, inner | {"choose": Expected(cases={1: 9.0})}) == (1.0, 1.0)
    assert left(spec, fixed(**{"choose[1]/b": 1}) | {"choose": Expected(cases={1: 9.0})}) == (1.0, 1.0)


def test_a_step_that_is_skipped_now_and_then_takes_its_time_now_and_then():
    spec = steps(a=[])
    assert left(spec, {"a": Expected(span=Fixed(10), skipped=0.7)}) == (0.0, 10.0)


def test_the_end_stays_within_what_a_calendar_has():
    finish = Forecast(plan_of(steps(a=[])), fixed(a=1e300)).estimate(Situation(), NOW).finish
    assert finish == NOW + timedelta(days=3660)


def test_what_is_done_at_the_end_takes_its_time_and_what_undoes_a_step_none():
    spec = {
        "steps": [{"name": "a", **HTTP, "compensate": {**HTTP}}],
        "finally": [{"name": "tell", **HTTP}],
    }
    assert left(spec, fixed(**{"a": 3, "finally/tell": 2})) == (5.0, 5.0)
    assert left(spec, fixed(a=3)) == (None, None)
