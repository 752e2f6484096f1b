"""What a migration keeps and refuses: laws for random graphs at any moment, and the answers to what cannot be."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.test_decide_laws import graphs, plan_of

from leat_engine.compare import Progress, Span, Transfer, compare
from leat_engine.errors import Rejected
from leat_engine.job import END
from leat_engine.plan import Plan
from leat_engine.result import State

ENDS = st.sampled_from([State.SUCCEEDED, State.FAILED, State.SKIPPED, State.OMITTED])
LIVE = st.sampled_from([(State.READY, False), (State.READY, True), (State.DELAYED, True), (State.CLAIMED, True)])
Rows = list[Progress]


def moment(plan: Plan, done: Mapping[int, State], live: Mapping[int, tuple[State, bool]]) -> Rows:
    """The rows of a run whose steps ``done`` are over. ``live``: how those are that can begin; ready otherwise."""
    rows = [Progress(0, node, state, 1, executed=True) for node, state in done.items()]
    for step in plan.steps:
        arrived = sum(edge.step in done for edge in step.needs)
        if step.body or step.undoes or step.id < END or step.id in done or (step.needs and not arrived):
            continue
        if arrived < len(step.needs):
            rows.append(Progress(0, step.id, State.WAITING, 0, executed=False))
        else:
            state, executed = live.get(step.id, (State.READY, False)) if step.id else (State.READY, False)
            rows.append(Progress(0, step.id, state, 1, executed=executed))
    return rows


@st.composite
def moments(draw: st.DrawFn) -> tuple[dict[str, Any], Plan, Rows]:
    """A workflow and a run of it at some moment."""
    spec, _ = draw(graphs())
    plan = plan_of(spec)
    done: dict[int, State] = {}
    for node in range(1, plan.total + 1):  # each needs only earlier ones
        if all(edge.step in done for edge in plan.steps[node].needs) and draw(st.booleans()):
            done[node] = draw(ENDS)
    live = {node: draw(LIVE) for node in range(1, plan.total + 1)}
    return spec, plan, moment(plan, done, live)


def named(need: Any) -> str:
    return need if isinstance(need, str) else need["step"]


def done_of(rows: Rows) -> set[int]:
    return {row.node for row in rows if row.state.done}


def told(old: Plan, new: Plan, rows: Rows, spans: Sequence[Span] = (), inputs: Mapping[str, Any] | None = None) -> str:
    """Every reason, one in a line."""
    with pytest.raises(Rejected) as caught:
        compare(old, new, inputs or {}, rows, spans)
    return "\n".join(map(str, caught.value.reasons))


def check(new: Plan, rows: Rows, transfer: Transfer) -> None:
    """What must hold of every transfer of a run without bodies."""
    begun = {transfer.nodes[row.node] for row in rows if row.begun}
    done = {transfer.nodes[node] for node in done_of(rows)}
    fresh = {each.node for each in transfer.ready if each.fresh}
    counted = {each.node: each.missing for each in transfer.counted}
    assert not begun & (fresh | counted.keys())
    for step in new.steps:
        if step.id in begun or step.body:
            continue
        missing = sum(edge.step not in done for edge in step.needs)
        assert (step.id in fresh) == (missing == 0)
        assert counted.get(step.id) == (missing if 0 < missing < len(step.needs) else None)
    assert transfer.live == len(fresh) + sum(row.state.live for row in rows if row.begun)
    assert transfer.live or done == {step.id for step in new.steps if step.id > END}


@settings(max_examples=150, deadline=None)
@given(moments())
def test_a_run_goes_on_by_its_own_plan_as_it_is(case):
    _, plan, rows = case
    transfer = compare(plan, plan, {}, rows, ())
    check(plan, rows, transfer)
    assert all(old == new for old, new in transfer.nodes.items())
    assert {each.node for each in transfer.ready} == {row.node for row in rows if row.state is State.READY}
    assert {each.node for each in transfer.counted} == {row.node for row in rows if row.state is State.WAITING}
    assert (transfer.more, transfer.live) == (0, sum(row.state.live for row in rows))


@settings(max_examples=150, deadline=None)
@given(moments(), st.data())
def test_a_new_last_step_can_always_be_added(case, data):
    spec, plan, rows = case
    names = [step["name"] for step in spec["steps"]]
    needs = data.draw(st.lists(st.sampled_from(names), unique=True))
    new = plan_of({**spec, "steps": [*spec["steps"], {"name": "extra", "needs": needs, "function": {"name": "work"}}]})
    transfer = compare(plan, new, {}, rows, ())
    check(new, rows, transfer)
    assert transfer.more == 1


@settings(max_examples=150, deadline=None)
@given(moments(), st.data())
def test_a_step_that_has_begun_cannot_go_and_any_other_can(case, data):
    spec, plan, rows = case
    gone = data.draw(st.sampled_from(spec["steps"]))["name"]
    steps = [
        {**step, "needs": [need for need in step["needs"] if named(need) != gone]}
        for step in spec["steps"]
        if step["name"] != gone
    ]
    if not steps:
        return
    new = plan_of({**spec, "steps": steps})
    node = plan.by_name[gone]
    begun = {row.node for row in rows if row.begun and row.node}
    if node in begun:
        assert f"{plan.steps[node].path}: step {gone!r}" in told(plan, new, rows)
        return
    if {row.node for row in rows if row.begun and not row.state.done and row.node > node}:
        return  # what is under way behind it would get another number: the next law
    check(new, rows, compare(plan, new, {}, rows, ()))


@settings(max_examples=150, deadline=None)
@given(moments(), st.integers(0, 2**32))
def test_ends_follow_their_steps_wherever_these_are_and_what_runs_keeps_its_number(case, seed):
    spec, plan, rows = case
    steps = list(spec["steps"])
    random.Random(seed).shuffle(steps)
    new = plan_of({**spec, "steps": steps})
    moved = [
        row
        for row in rows
        if row.begun
        and not row.state.done
        and plan.steps[row.node].kind == "function"
        and new.by_name[plan.steps[row.node].name] != row.node
    ]
    if moved:
        reasons = told(plan, new, rows)
        assert all(f"step {plan.steps[row.node].name!r} is under way as step number" in reasons for row in moved)
        return
    transfer = compare(plan, new, {}, rows, ())
    check(new, rows, transfer)
    assert all(plan.steps[old].name == new.steps[to].name for old, to in transfer.nodes.items())


# -- what cannot be ---------------------------------------------------------------------------------------------------


def work(name: str, *needs: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "needs": list(needs), "function": {"name": "work"}, **more}


def flat(*steps: dict[str, Any], **more: Any) -> Plan:
    return plan_of({"steps": list(steps), **more})


CHAIN = flat(work("one"), work("two", "one"), work("three", "two"))
ONE = {1: State.SUCCEEDED}
RUNS = {2: (State.DELAYED, True)}


def test_a_step_that_runs_keeps_its_kind_its_pool_and_its_needs():
    rows = moment(CHAIN, ONE, RUNS)
    reasons = told(
        CHAIN, flat(work("one"), {"name": "two", "needs": ["one"], "transform": 1}, work("three", "two")), rows
    )
    assert reasons == (
        "spec.steps[1]: step 'two' is under way as kind 'function', found 'transform': "
        "keep it, or migrate when the step has ended"
    )
    assert "as pool 'default', found 'other'" in told(CHAIN, flat(work("one"), work("two", "one", pool="other")), rows)
    late = flat(work("one"), work("two", "one", "three"), work("three"))
    assert "spec.steps[1]: step 'two' is under way, and would need 'three', which has not ended" in told(
        CHAIN, late, rows
    )


def test_what_waits_for_its_first_runner_may_become_anything():
    rows = moment(CHAIN, ONE, {})
    transfer = compare(CHAIN, flat(work("one"), {"name": "instead", "needs": ["one"], "transform": 1}), {}, rows, ())
    assert [(each.node, each.fresh) for each in transfer.ready] == [(2, True)]
    assert transfer.dropped == ((0, 2),)


def test_an_end_stays_whatever_its_step_would_be_now_but_needs_no_more_than_is_over():
    rows = moment(CHAIN, ONE, {})
    other = flat({"name": "one", "transform": 1}, work("two", "one"))
    assert compare(CHAIN, other, {}, rows, ()).nodes == {1: 1}
    late = flat(work("zero"), work("one", "zero"), work("two", "one"))
    assert "step 'one' has ended Succeeded, and would need 'zero', which has not ended" in told(CHAIN, late, rows)


def test_a_run_at_its_end_goes_on_with_what_was_added():
    rows = moment(CHAIN, {1: State.SUCCEEDED, 2: State.SUCCEEDED, 3: State.SUCCEEDED}, {})
    assert [row.node for row in rows if row.state is State.READY] == [END]
    longer = flat(work("one"), work("two", "one"), work("three", "two"), work("four", "three"))
    transfer = compare(CHAIN, longer, {}, rows, ())
    assert [each.node for each in transfer.ready] == [4]
    assert transfer.dropped == ((0, END),)


def test_inputs_are_what_the_other_revision_takes_and_none_is_shown_that_was_not():
    def of(**inputs: Any) -> Plan:
        return flat(work("one"), inputs=inputs)

    old = of(order={"type": "string"}, card={"type": "string", "sensitive": True})
    given = {"order": "A-1", "card": "4711"}
    rows = moment(old, {}, {})
    fine = of(order={"type": "string"}, card={"type": "string", "sensitive": True}, fast={"default": True})
    assert compare(old, fine, given, rows, ()).inputs == {**given, "fast": True}
    assert compare(fine, old, {**given, "fast": True}, rows, ()).inputs == given
    assert "spec.inputs.fast: there is no input 'fast'" in told(fine, old, rows, inputs={**given, "fast": False})
    wrong = of(order={"type": "integer"}, card={"type": "string", "sensitive": True}, more={"type": "string"})
    reasons = told(old, wrong, rows, inputs=given)
    assert "spec.inputs.order:" in reasons
    assert "spec.inputs.more: is required and missing" in reasons
    shown = told(old, of(order={"type": "string"}, card={"type": "integer"}), rows, inputs=given)
    assert "spec.inputs.card: is sensitive in the run's revision" in shown
    assert "4711" not in shown


def test_compensations_are_left_to_the_end_of_the_run():
    undo = {"compensate": {"function": {"name": "undo"}}}
    old = flat(work("one", **undo), work("two", "one"))
    new = flat(work("one", **undo), work("two", "one"), work("three", "two"))
    transfer = compare(old, new, {}, moment(old, ONE, {}), ())
    assert [each.node for each in transfer.ready] == [2]


# -- bodies -----------------------------------------------------------------------------------------------------------


def fanned(*inner: dict[str, Any], items: Any = "${ [1, 2] }", before: Sequence[dict[str, Any]] = ()) -> Plan:
    return plan_of({"steps": [*before, {"name": "each", "forEach": items, "steps": list(inner)}, work("last", "each")]})


FAN = fanned(work("a"), work("b", "a"))
"""Nodes: each 1, last 2, a 3, b 4, the end of the body -1."""
SPANS = [Span(0, 1, 1, base=1, size=2, opened=2)]
OPENED = [
    Progress(0, 1, State.WAITING, 1, executed=True),
    Progress(1, 3, State.SUCCEEDED, 1, executed=True),
    Progress(1, 4, State.READY, 1, executed=False),
    Progress(2, 3, State.SUCCEEDED, 1, executed=True),
    Progress(2, 4, State.SUCCEEDED, 1, executed=True),
    Progress(2, -1, State.SUCCEEDED, 1, executed=True),
]


def test_bodies_go_on_in_the_scopes_that_are_not_over():
    new = fanned(work("a"), work("b", "a"), work("c", "b"), before=[work("zero")])
    transfer = compare(FAN, new, {}, OPENED, SPANS)
    assert transfer.nodes == {1: 2, 3: 4, 4: 5, -1: -1}
    assert transfer.bodies == {1: 1}
    assert [(each.scope, each.node) for each in transfer.ready] == [(0, 1), (1, 5)]
    assert transfer.counted == ()
    assert transfer.more == 1 + 2 * 1


def test_an_opened_list_and_an_opened_body_stay():
    assert "spec.steps[0].forEach: step 'each' is under way" in told(
        FAN, fanned(work("a"), work("b", "a"), items="${ [1, 2, 3] }"), OPENED, SPANS
    )
    gone = plan_of({"steps": [work("each"), work("last", "each")]})
    reasons = told(FAN, gone, OPENED, SPANS)
    assert "step 'each' has opened a body, and has none like it" in reasons
    assert "is under way as kind 'forEach', found 'function'" in reasons
    assert "step 'b' has ended Succeeded, and is not there" in told(FAN, fanned(work("a")), OPENED, SPANS)


def test_a_list_that_reads_variables_keeps_these():
    def of(value: int) -> Plan:
        return plan_of({"vars": {"n": [value]}, "steps": [{**work("each"), "forEach": "${ vars.n }"}]})

    rows = [Progress(0, 1, State.WAITING, 1, executed=True), Progress(1, 2, State.READY, 1, executed=False)]
    spans = [Span(0, 1, 1, base=1, size=1, opened=1)]
    assert compare(of(1), of(1), {}, rows, spans).live == 1
    assert "its list would be another one" in told(of(1), of(2), rows, spans)


def test_a_loop_under_way_keeps_its_max():
    def of(most: int) -> Plan:
        return plan_of({"steps": [{**work("again"), "repeat": {"max": most}}]})

    rows = [Progress(0, 1, State.WAITING, 1, executed=True), Progress(1, 2, State.READY, 1, executed=False)]
    spans = [Span(0, 1, 1, base=1, size=3, opened=1)]
    assert compare(of(3), of(3), {}, rows, spans).live == 1
    assert told(of(3), of(5), rows, spans) == (
        "spec.steps[0].repeat.max: step 'again' is under way with max 3, found 5: keep it"
    )
