"""Child runs, as far as they are decided without a store: names, ids, limits, trees, and inputs of calls."""

import re
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leat_engine import limits
from leat_engine.calls import call_problems, calls
from leat_engine.child import Parent, child_name, hidden_with, outcome_of, time_of, too_many
from leat_engine.errors import Rejected
from leat_engine.job import StepKey, child_id_of, uuid7
from leat_engine.kin import ChildRecord, kin_of, owners_of
from leat_engine.plan import compile_plan
from leat_engine.redaction import Redaction
from leat_engine.result import Failed, Phase, Succeeded
from leat_engine.spec import parse_spec
from leat_engine.spec.kinds import load_models

NOW = datetime(2030, 1, 31, 23, 59, 59, 999_000, tzinfo=UTC)
RUN = uuid7(NOW, b"0123456789")


def plan_of(*steps, **spec):
    return compile_plan(parse_spec({"steps": list(steps), **spec}), load_models(), "revision")


def call(name, inputs=None, **fields):
    return {"name": "call", "workflow": {"name": name, "inputs": inputs or {}}, **fields}


numbers = st.integers(0, 10)


@given(st.tuples(numbers, numbers, numbers), st.tuples(numbers, numbers, numbers))
def test_each_try_of_each_step_has_a_child_of_its_own_in_the_partition_of_its_parent(one, other):
    ids = [child_id_of(StepKey(RUN, scope, step), number) for scope, step, number in (one, other)]
    assert (ids[0] == ids[1]) == (one == other)
    assert {found.int >> 80 for found in ids} == {RUN.int >> 80}
    assert {found.version for found in ids} == {7}


@given(st.text(), st.text(), st.uuids())
def test_the_name_of_a_child_is_one_that_a_resource_could_have(parent, step, run_id):
    name = child_name(f"run{parent}", step, run_id)
    assert re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", name)
    assert len(name) <= 253


def test_names_of_children_tell_whose_they_are_and_differ():
    names = {child_name("order-1", "Pack_it", child_id_of(StepKey(RUN, scope, 1), 1)) for scope in range(2_000)}
    assert len(names) == 2_000
    assert all(name.startswith("order-1-pack-it-") for name in names)


def test_the_limits_are_told_by_their_numbers():
    assert too_many(Parent(False, 0, None, limits.CHILD_DEPTH - 1, limits.CHILDREN - 1)) is None
    deep = too_many(Parent(False, 0, None, limits.CHILD_DEPTH, 0))
    many = too_many(Parent(False, 0, None, 0, limits.CHILDREN))
    assert (deep.reason, many.reason, deep.retriable, many.retriable) == ("TooDeep", "TooMany", False, False)
    assert "may have 16 above it" in deep.message
    assert "may start 10000" in many.message


@pytest.mark.parametrize(
    ("known", "least"), [((None, None), None), ((3.0, None, 5.0), 3.0), ((None, -1.0), 0.0), ((2.0, 1.0), 1.0)]
)
def test_a_child_has_the_least_time_of_all(known, least):
    assert time_of(*known) == least


def test_a_step_ends_as_its_child_did():
    assert outcome_of("c", Phase.SUCCEEDED, {"a": 1}, None) == Succeeded({"a": 1})
    failed = outcome_of("c", Phase.FAILED, None, {"type": "Fail", "message": "no"})
    cancelled = outcome_of("c", Phase.CANCELLED, None, None)
    assert isinstance(failed, Failed)
    assert isinstance(cancelled, Failed)
    assert (failed.error.message, failed.error.retriable) == ("run c failed: no", True)
    assert (cancelled.error.message, cancelled.error.retriable) == ("run c was cancelled", False)
    assert failed.error.details == {"run": "c", "phase": "Failed", "error": {"type": "Fail", "message": "no"}}


def test_what_is_hidden_goes_along_only_with_a_value_that_has_some_of_it():
    redaction = Redaction.of(frozenset({"a", "b"}), {"a": "secret-a", "b": "secret-b"}, ("secret-c",))
    assert hidden_with(redaction, {"x": ["by secret-c"]}) == redaction.texts
    assert set(redaction.texts) == {"secret-a", "secret-b", "secret-c"}
    assert hidden_with(redaction, {"x": ["nothing"]}) == ()


# -- trees --------------------------------------------------------------------------------------------------------


def record(number, parent, step=1):
    return ChildRecord(UUID(int=number), parent, step, f"c{number}", "w", Phase.RUNNING, 0, 1, NOW, None)


def test_children_hang_below_the_step_that_has_the_body_they_were_started_in():
    body = {
        "name": "each",
        "forEach": [1],
        "steps": [call("x"), {"name": "inner", "steps": [{**call("y"), "name": "deep"}]}],
    }
    plan = plan_of({"name": "first", "transform": 1}, body)
    nodes = {node.name: node.id for node in plan.steps if node.id > 0}
    owners = owners_of(plan)
    assert {name: owners[node] for name, node in nodes.items()} == {
        "first": 1, "each": 2, "call": 2, "inner": 2, "deep": 2
    }  # fmt: skip
    records = [record(1, RUN, nodes["call"]), record(2, RUN, nodes["deep"]), record(3, UUID(int=1))]
    kin = kin_of(RUN, records, owners)
    assert {step: [each.record.name for each in found] for step, found in kin.items()} == {2: ["c1", "c2"]}
    assert [each.record.name for each in kin[2][0].children] == ["c3"]


def test_children_of_cleanups_hang_below_what_is_undone_and_those_of_finally_below_the_run():
    undo = {"workflow": {"name": "undo"}}
    plan = plan_of(
        {**call("x"), "compensate": undo},
        {"name": "each", "forEach": [1], "steps": [{**call("y"), "name": "inner", "compensate": undo}]},
        {"name": "items", "forEach": [1], "workflow": {"name": "z"}, "compensate": undo},
        **{"finally": [{"name": "tell", "workflow": {"name": "tell"}}]},
    )
    owners = owners_of(plan)
    found = {node.name: owners[node.id] for node in plan.steps if node.id > 0}
    assert found["tell"] == 0
    assert {found["call"], found["call.compensate"]} == {1}
    assert {found["each"], found["inner"], found["inner.compensate"]} == {2}
    assert {found["items"], found["items.compensate"]} == {3}


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 3)), max_size=20))
def test_every_child_is_in_the_tree_once(drawn):
    """Each hangs from one that comes before it, or from the run."""
    records = [
        record(number, RUN if above % number == 0 else UUID(int=above % number), step)
        for number, (above, step) in enumerate(drawn, start=1)
    ]

    def names(kin):
        return [kin.record.name] + [name for child in kin.children for name in names(child)]

    found = [name for kin in kin_of(RUN, records, {}).values() for each in kin for name in names(each)]
    assert sorted(found) == sorted(each.name for each in records)


# -- calls --------------------------------------------------------------------------------------------------------

CALLEE = plan_of(
    {"name": "s", "transform": 1},
    inputs={"sku": {"type": "string"}, "count": {"type": "integer", "minimum": 1}, "note": {"default": ""}},
)


@pytest.mark.parametrize(
    ("inputs", "problems"),
    [
        ({"sku": "tea", "count": 2}, []),
        ({"sku": "${ inputs.x }", "count": "${ 0 }"}, []),
        ({"sku": "tea", "count": 0}, ["spec.steps[0].workflow.inputs.count: 0 is less than the minimum of 1"]),
        ({"sku": "${ inputs.x }", "count": "2"}, ['spec.steps[0].workflow.inputs.count: "2" is not of type "integer"']),
        ({"sku": "tea"}, ["spec.steps[0].workflow.inputs.count: is required and missing"]),
        ({"sku": "tea", "count": 1, "cuont": 1}, ["spec.steps[0].workflow.inputs.cuont: "]),
    ],
)
def test_inputs_of_a_call_are_checked_as_far_as_they_are_known(inputs, problems):
    plan = plan_of(call("callee", inputs), inputs={"x": {"type": "string"}})
    found = [str(reason) for reason in call_problems(plan, {"callee": CALLEE})]
    assert len(found) == len(problems)
    assert all(one.startswith(other) for one, other in zip(found, problems, strict=True)), found


def test_a_workflow_or_inputs_that_an_expression_gives_are_not_judged_before():
    by_name = plan_of(call("${ inputs.x }"), inputs={"x": {"type": "string"}})
    step = {"name": "call", "workflow": {"name": "callee", "inputs": "${ inputs.x }"}}
    by_inputs = plan_of(step, inputs={"x": {"type": "object"}})
    assert list(calls(by_name)) == []
    assert [name for _, name in calls(by_inputs)] == ["callee"]
    assert list(call_problems(by_inputs, {"callee": CALLEE})) == []


@pytest.mark.parametrize(
    ("fields", "path", "message"),
    [
        ({}, "spec.steps[0].workflow.name", "is required and missing"),
        (
            {"name": "Big Name"},
            "spec.steps[0].workflow.name",
            "found 'Big Name', expected a name of lower case letters",
        ),
        ({"name": "x", "mode": "later"}, "spec.steps[0].workflow.mode", "'wait' or 'detach'"),
        ({"name": "x", "input": {}}, "spec.steps[0].workflow.input", "inputs"),
        ({"name": "x", "inputs": {"a": "${ secret('s', 'k') }"}}, "spec.steps[0].workflow.inputs.a", "secret"),
    ],
)
def test_what_is_wrong_with_a_call_is_told_with_its_path(fields, path, message):
    with pytest.raises(Rejected) as rejected:
        plan_of({"name": "call", "workflow": fields})
    (reason,) = rejected.value.reasons
    assert reason.path == path
    assert message in reason.message
