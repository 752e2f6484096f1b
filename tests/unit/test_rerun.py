"""What a rerun keeps of an old run: laws for random graphs and ends, and the answers to what cannot be."""

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.statuses import RECORD
from tests.unit.test_decide_laws import graphs, plan_of, played

from leat_engine.errors import Rejected
from leat_engine.job import END
from leat_engine.plan import Plan
from leat_engine.rerun import KEEPABLE, Beginning, begin_again, beginning, own_nodes, runs_again
from leat_engine.result import Phase, State

FAILED = replace(RECORD, name="order-1", phase=Phase.FAILED)
CHAIN = {"steps": [{"name": name, "needs": needs, "function": {"name": "work"}} for name, needs in (
    ("reserve", []), ("charge", ["reserve"]), ("pack", ["reserve"]), ("send", ["charge", "pack"]))]}  # fmt: skip
STATES = {1: State.SUCCEEDED, 2: State.FAILED, 3: State.SUCCEEDED}


@st.composite
def old_runs(draw: st.DrawFn) -> tuple[Plan, dict[int, State], tuple[str, ...]]:
    """A plan, how its steps ended in a run that was played or in any way at all, and steps to begin with."""
    spec, failing = draw(graphs())
    plan = plan_of(spec)
    nodes = sorted(own_nodes(plan))
    if draw(st.booleans()):
        results = played(plan, failing, draw(st.integers(0, 2**32)), 2).view.results
        states = {node: results[node].state for node in nodes if node in results}
    else:
        ends = st.sampled_from([None, *State])
        states = {node: state for node in nodes if (state := draw(ends)) is not None}
    start = draw(st.lists(st.sampled_from([plan.steps[node].name for node in nodes]), unique=True, max_size=3))
    return plan, states, tuple(start)


def begun(plan: Plan, states: dict[int, State], start: Iterable[str]) -> Beginning:
    return begin_again(plan, FAILED, states, tuple(start))


@settings(max_examples=150, deadline=None)
@given(old_runs())
def test_nothing_that_is_kept_needs_anything_that_runs_again(old):
    plan, states, start = old
    kept = set(begun(plan, states, start).kept)
    assert all(edge.step in kept for node in kept for edge in plan.steps[node].needs)


@settings(max_examples=150, deadline=None)
@given(old_runs())
def test_what_was_named_and_what_did_not_end_well_runs_again(old):
    plan, states, start = old
    kept = set(begun(plan, states, start).kept)
    assert END not in kept
    assert not kept & {plan.by_name[name] for name in start}
    assert all(states.get(node) in KEEPABLE for node in kept)


@settings(max_examples=150, deadline=None)
@given(old_runs())
def test_only_what_was_named_or_is_missing_and_what_needs_it_runs_again(old):
    plan, states, start = old
    again = runs_again(plan, states, (plan.by_name[name] for name in start))
    causes = {plan.by_name[name] for name in start}
    for node in again:
        needs = {edge.step for edge in plan.steps[node].needs}
        assert node in causes or states.get(node) not in KEEPABLE or needs & again


@settings(max_examples=150, deadline=None)
@given(old_runs())
def test_every_step_is_kept_ready_counted_or_reached_by_one_that_runs_again(old):
    plan, states, start = old
    first = begun(plan, states, start)
    kept, roots = set(first.kept), {root.step for root in first.roots}
    joins = {join.step: join for join in first.joins}
    assert not kept & roots
    assert not (kept | roots) & joins.keys()
    assert roots, "some step can begin, or the run would never end"
    for node in (plan.steps[number] for number in (END, *own_nodes(plan))):
        missing = sum(edge.step not in kept for edge in node.needs)
        if node.id in joins:
            assert (joins[node.id].needs, joins[node.id].missing) == (len(node.needs), missing)
            assert 0 < missing < len(node.needs)
        elif node.id in roots:
            assert missing == 0
        elif node.id not in kept:
            assert missing == len(node.needs) > 0


@settings(max_examples=80, deadline=None)
@given(graphs())
def test_a_run_that_keeps_nothing_begins_as_a_new_one_does(graph):
    spec, _failing = graph
    plan = plan_of(spec)
    first = beginning(plan, frozenset())
    assert {root.step for root in first.roots} == set(plan.roots)
    assert first.joins == ()


@settings(max_examples=80, deadline=None)
@given(old_runs())
def test_going_on_from_what_goes_on_keeps_at_least_as_much(old):
    plan, states, start = old
    first = begun(plan, states, start)
    after = {node: states[node] for node in first.kept}
    assert begun(plan, after, ()).kept == first.kept


def test_without_a_name_the_failed_step_and_what_needs_it_run_again():
    first = begun(plan_of(CHAIN), STATES, ())
    assert first.kept == (1, 3)
    assert [root.step for root in first.roots] == [2]
    assert [(join.step, join.needs, join.missing) for join in first.joins] == [(4, 2, 1)]


def test_when_only_the_output_failed_the_end_alone_runs_again():
    first = begun(plan_of(CHAIN), dict.fromkeys(range(1, 5), State.SUCCEEDED), ())
    assert first.kept == (1, 2, 3, 4)
    assert [root.step for root in first.roots] == [END]


def test_a_step_that_was_omitted_for_a_kept_end_stays_so():
    steps = [{"name": "charge", "function": {"name": "work"}},
             {"name": "apologise", "needs": [{"step": "charge", "on": ["Failed"]}], "function": {"name": "work"}},
             {"name": "send", "needs": ["charge"], "function": {"name": "work"}}]  # fmt: skip
    states = {1: State.SUCCEEDED, 2: State.OMITTED, 3: State.FAILED}
    plan = plan_of({"steps": steps})
    assert begun(plan, states, ()).kept == (1, 2)
    assert begun(plan, states, ["charge"]).kept == ()


@pytest.mark.parametrize(
    ("changes", "start", "path", "message"),
    [
        ({"phase": Phase.RUNNING}, (), "spec.rerun.of", "run order-1 is Running, expected one that has ended"),
        ({"phase": Phase.SUCCEEDED}, (), "spec.rerun.from", "is required, as run order-1 succeeded"),
        ({}, ("chrage",), "spec.rerun.from", "there is no step 'chrage'; did you mean 'charge'?"),
    ],
)
def test_what_cannot_be_run_again_is_refused_with_what_to_do(changes, start, path, message):
    with pytest.raises(Rejected) as refused:
        begin_again(plan_of(CHAIN), replace(FAILED, **changes), STATES, start)
    (reason,) = refused.value.reasons
    assert reason.path == path
    assert message in reason.message
