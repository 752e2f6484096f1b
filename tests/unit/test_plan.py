import time
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from leat_engine import limits
from leat_engine.advice import advice
from leat_engine.errors import Rejected
from leat_engine.plan import END, Edge, Plan, compile_plan, revision_id
from leat_engine.result import State
from leat_engine.spec import parse_spec
from leat_engine.spec.kinds import load_models

DEFAULT = frozenset({State.SUCCEEDED, State.SKIPPED})


def plan(*steps: dict[str, Any], **spec: Any) -> Plan:
    return compile_plan(parse_spec({"steps": [*steps], **spec}), load_models(), "r")


def step(name: str, *needs: Any, **fields: Any) -> dict[str, Any]:
    if not fields.keys() - {"when", "retry", "timeout", "deadline", "pool"}:
        fields["transform"] = name
    return {"name": name, "needs": [*needs], **fields}


def rejected(*steps: dict[str, Any], **spec: Any) -> dict[str, str]:
    """The reasons by path."""
    with pytest.raises(Rejected) as caught:
        plan(*steps, **spec)
    return {reason.path: reason.message for reason in caught.value.reasons}


def test_nodes_are_numbered_in_the_order_of_the_spec_and_end_needs_every_leaf():
    diamond = plan(step("d", "b", "c"), step("a"), step("b", "a"), step("c", "a"), step("alone"))
    assert [one.name for one in diamond.steps] == ["end", "d", "a", "b", "c", "alone"]
    assert [one.id for one in diamond.steps] == [0, 1, 2, 3, 4, 5]
    assert diamond.roots == (2, 5)
    assert diamond.steps[2].next == (3, 4)
    assert diamond.steps[1].next == (END,)
    assert {edge.step for edge in diamond.steps[END].needs} == {1, 5}
    assert all(edge.on == {state for state in State if state.done} for edge in diamond.steps[END].needs)


def test_a_step_needs_what_its_expressions_read():
    compiled = plan(
        step("a"),
        step("b"),
        step("c", when="${ steps.a.output == 1 }", transform={"x": ["${ steps.b.output }"]}),
        output="${ steps.a.output }",
    )
    assert compiled.steps[3].needs == (Edge(1, DEFAULT), Edge(2, DEFAULT))
    assert compiled.steps[3].reads == (1, 2)
    assert compiled.steps[END].reads == (1,)


@pytest.mark.parametrize(
    ("written", "taken"),
    [
        (["Succeeded"], {State.SUCCEEDED}),
        (["Failed"], {State.FAILED}),
        (["Skipped"], {State.SKIPPED, State.OMITTED}),
        (["Failed", "Succeeded"], {State.FAILED, State.SUCCEEDED}),
        (["Finished"], {state for state in State if state.done}),
    ],
)
def test_a_written_need_says_which_ends_it_takes(written, taken):
    compiled = plan(step("a"), step("b", {"step": "a", "on": written}, transform="${ steps.a.error }"))
    assert compiled.steps[2].needs == (Edge(1, frozenset(taken)),)


def test_a_cycle_is_rejected_with_the_path_of_steps():
    reasons = rejected(step("a", "c"), step("b", "a"), step("c", "b"), step("d", "c"))
    assert list(reasons.values()) == ["needs itself by a cycle: a needs c needs b needs a"]


def test_a_cycle_through_an_expression_is_found_too():
    assert "by a cycle" in str(rejected(step("a", "b"), step("b", transform="${ steps.a.output }")))


def test_several_cycles_are_all_named():
    reasons = rejected(step("a", "b"), step("b", "a"), step("x", "y"), step("y", "x"))
    assert len(reasons) == 2


def test_a_step_cannot_need_or_read_itself():
    assert rejected(step("a", "a"))["spec.steps[0].needs[0]"] == "step 'a' needs itself"
    assert "reads its own result" in rejected(step("a", transform="${ steps.a.output }"))["spec.steps[0]"]


def test_an_unknown_step_is_answered_with_the_closest_name():
    reasons = rejected(step("charge"), step("b", "chrage"), step("c", transform="${ steps.chrge.output }"))
    assert reasons["spec.steps[1].needs[0]"] == "there is no step 'chrage'; did you mean 'charge'?"
    assert "did you mean 'charge'?" in reasons["spec.steps[2].transform"]


def test_a_step_needed_twice_is_rejected():
    assert (
        "is needed twice"
        in rejected(step("a"), step("b", "a", {"step": "a", "on": ["Failed"]}))["spec.steps[1].needs[1]"]
    )


@pytest.mark.parametrize("name", ["", "1a", "a b", "ä", "a.b", "a/b", "-a", "a" * 64, "a\n", "$", "true"])
def test_odd_names_are_rejected(name):
    with pytest.raises(Rejected) as caught:
        plan(step(name))
    assert caught.value.reasons[0].path == "spec.steps[0].name"


@pytest.mark.parametrize("name", ["a", "A", "a-b_c9", "a" * 63])
def test_plain_names_are_taken(name):
    assert plan(step(name)).by_name == {name: 1}


def test_names_are_unique():
    assert rejected(step("a"), step("b"), step("a"))["spec.steps[2].name"] == "'a' is the name of spec.steps[0] already"


def test_a_step_has_exactly_one_kind():
    assert (
        "has no kind; add one of approval, container, email, fail, function, http"
        in rejected({"name": "a"})["spec.steps[0]"]
    )
    assert "has 2 kinds" in rejected(step("a", transform=1, wait={"duration": "1s"}))["spec.steps[0]"]


def test_an_unknown_kind_or_field_is_answered_with_the_closest_word():
    assert rejected({"name": "a", "htpp": {}})["spec.steps[0].htpp"].endswith("did you mean 'http'?")
    assert rejected(step("a", transform=1, tiemout="1s"))["spec.steps[0].tiemout"].endswith("did you mean 'timeout'?")
    assert rejected(step("a", http={"url": "x", "haeders": {}}))["spec.steps[0].http.haeders"].endswith("'headers'?")


def test_a_field_has_the_name_that_is_documented_and_no_other():
    found = rejected(step("a", for_each=[1], transform=1), step("b", function={"name": "f", "arguments": {}}))
    assert "spec.steps[0].forEach" not in found
    assert found["spec.steps[0].for_each"] == "there is no kind or field 'for_each'; did you mean 'forEach'?"
    assert "there is no field 'arguments'" in found["spec.steps[1].function.arguments"]


def test_a_field_that_is_not_there_is_named_whatever_its_value_is():
    found = rejected(
        step("a", http={"url": "x", "haeders": "${ run.name }"}), step("b", sql={"querry": "${ run.name }"})
    )
    assert found["spec.steps[0].http.haeders"] == "there is no field 'haeders'; did you mean 'headers'?"
    assert "did you mean 'query'?" in found["spec.steps[1].sql.querry"]


def test_a_kind_of_another_package_may_take_its_fields_by_two_names():
    class Shout(BaseModel):
        model_config = ConfigDict(populate_by_name=True)
        text: Annotated[str, Field(alias="words")]

    for name in ("text", "words"):
        compile_plan(parse_spec({"steps": [{"name": "a", "shout": {name: "x"}}]}), {"shout": Shout}, "r")


def test_a_time_without_a_zone_and_a_file_outside_are_told_in_plain_words():
    found = rejected(step("a", wait={"until": "2030-01-31"}), step("b", script={"run": "x", "files": {"/a": 1}}))
    assert (
        found["spec.steps[0].wait.until"]
        == "found '2030-01-31', expected a time with its timezone, such as 2030-01-31T12:00:00Z"
    )
    assert found["spec.steps[1].script.files./a"].startswith("found '/a', expected a file below")


def test_a_kind_of_another_package_is_planned_with_its_model():
    class Shout(BaseModel):
        text: str

    spec = parse_spec({"steps": [{"name": "a", "shout": {"text": "${ run.name }!"}}]})
    compiled = compile_plan(spec, {**load_models(), "shout": Shout}, "r")
    assert compiled.steps[1].kind == "shout"
    assert compiled.steps[1].model is Shout


@pytest.mark.parametrize(
    ("kind", "fields", "path", "said"),
    [
        ("http", {}, ".url", "is required and missing"),
        ("http", {"url": "x", "method": "GTE"}, ".method", "found 'GTE', expected 'GET'"),
        ("http", {"url": 5}, ".url", "found 5, expected string"),
        ("http", {"url": "x", "expect": ["9xx"]}, ".expect[0]", "expected a status such as 200"),
        ("http", {"url": "x", "maxResponseBytes": 2**40}, ".maxResponseBytes", "at most 68719476736"),
        ("script", {"run": "x", "shell": "fish"}, ".shell", "'bash' or 'python'"),
        ("wait", {}, "", "expected exactly one of `duration` and `until`"),
        ("wait", {"duration": "5"}, ".duration", "expected a duration such as"),
        ("wait", {"duration": "9999d"}, ".duration", "expected at most 366 days"),
        ("wait", {"until": "2030-01-01T00:00:00"}, ".until", "timezone"),
        ("fail", {"message": "x", "reason": "out of stock"}, ".reason", "CamelCase"),
        ("function", {"with": {}}, ".name", "is required and missing"),
    ],
)
def test_wrong_fields_of_a_kind_are_named(kind, fields, path, said):
    assert said in rejected(step("a", **{kind: fields}))[f"spec.steps[0].{kind}{path}"]


def test_a_field_that_holds_an_expression_is_checked_when_it_runs():
    compiled = plan(
        step(
            "a",
            http={
                "url": "${ run.id }",
                "method": "${ run.name }",
                "maxResponseBytes": "${ 5 }",
                "expect": "${ [200] }",
            },
        ),
        step("b", wait={"duration": "${ run.name }s"}),
        step("c", http="${ {'url': 'x'} }"),
    )
    fields = compiled.steps[1].fields.evaluate({"run": {"id": "u", "name": "GET"}})
    assert compiled.steps[1].model.model_validate(fields).model_dump()["max_response_bytes"] == 5


def test_a_script_is_no_template():
    compiled = plan(step("a", script={"run": 'echo "${X} ${ oops"'}))
    assert compiled.steps[1].fields.evaluate({}) == {"run": 'echo "${X} ${ oops"'}


def test_retry_and_times_come_from_the_step_then_from_the_defaults():
    compiled = plan(
        step("a", script={"run": "true"}, retry={"max": 5, "when": "${ error.status >= 500 }"}, timeout="1m"),
        step("b", script={"run": "true"}, deadline="1h", pool="gpu"),
        defaults={"retry": {"max": 2, "backoff": {"initial": "500ms", "jitter": "none"}}, "timeout": "30s"},
        pool="cpu",
    )
    a, b = compiled.steps[1:]
    assert (a.retry.max, a.retry.initial, a.retry.full_jitter, a.timeout, a.pool) == (5, 0.5, False, 60, "cpu")
    assert (b.retry.max, b.retry.when, b.timeout, b.deadline, b.pool) == (2, None, 30, 3600, "gpu")
    assert a.retry.when is not None
    assert a.retry.when.evaluate({"error": {"status": 503}, "inputs": {}, "vars": {}}) is True


def test_without_a_policy_there_is_no_retry_and_an_empty_policy_means_three():
    compiled = plan(step("a"), step("b", retry={}, transform=1))
    assert [one.retry.max for one in compiled.steps[1:]] == [0, 3]


def test_the_condition_of_a_retry_reads_the_error_and_no_steps():
    reasons = rejected(step("a"), step("b", transform=1, retry={"when": "${ steps.a.output }"}))
    assert "there is no variable 'steps'" in reasons["spec.steps[1].retry.when"]


def test_inputs_get_their_defaults_and_are_validated():
    inputs = plan(
        step("a"), inputs={"id": {"type": "string", "minLength": 1}, "n": {"type": "integer", "default": 3}}
    ).inputs
    assert inputs.apply({"id": "A-17"}) == {"id": "A-17", "n": 3}
    with pytest.raises(Rejected) as caught:
        inputs.apply({"n": "x", "idd": 1})
    assert {reason.path: reason.message for reason in caught.value.reasons} == {
        "spec.inputs.idd": "there is no input 'idd'; did you mean 'id'?",
        "spec.inputs.id": "is required and missing",
        "spec.inputs.n": '"x" is not of type "integer"',
    }


def test_the_value_of_a_sensitive_input_is_never_in_a_message():
    compiled = plan(step("a"), inputs={"card": {"type": "string", "pattern": "^[0-9]+$", "sensitive": True}})
    assert compiled.sensitive == {"card"}
    with pytest.raises(Rejected) as caught:
        compiled.inputs.apply({"card": "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_inputs_have_a_size_limit():
    inputs = plan(step("a"), inputs={"x": {}}).inputs
    with pytest.raises(Rejected, match="262144"):
        inputs.apply({"x": "a" * limits.INPUTS_BYTES})


@pytest.mark.parametrize(
    ("schema", "path", "said"),
    [
        ({"type": "strin"}, "x.type", "is no valid JSON Schema"),
        ({"type": "integer", "default": "a"}, "x.default", 'is not of type "integer"'),
        ({"$ref": "file:///etc/hostname"}, "x", "is no valid JSON Schema"),
        ({"$ref": "http://localhost/schema"}, "x", "Retrieval is disabled"),
        ({"pattern": "("}, "x.pattern", "is no valid JSON Schema"),
        ({"sensitive": "yes"}, "x.sensitive", "expected true or false"),
    ],
)
def test_a_wrong_input_schema_is_rejected(schema, path, said):
    assert said in rejected(step("a"), inputs={"x": schema})[f"spec.inputs.{path}"]


def test_vars_read_inputs_and_the_run():
    compiled = plan(step("a", transform="${ vars.url }"), vars={"url": "https://${ run.namespace }"})
    assert compiled.vars is not None
    assert compiled.vars.evaluate({"run": {"namespace": "shop"}}) == {"url": "https://shop"}
    assert "there is no variable 'steps'" in rejected(step("a"), vars={"v": "${ steps.a.output }"})["spec.vars.v"]


def test_every_reason_is_collected():
    reasons = rejected(
        step("a b", "nope"),
        {"name": "b", "htp": {}},
        step("c", when="${ 1 }", transform="${ steps.c.output }"),
        inputs={"x": {"type": "no"}},
        output="${ inputs.y }",
    )
    assert set(reasons) == {
        "spec.inputs.x.type", "spec.output", "spec.steps[0].name", "spec.steps[0].needs[0]", "spec.steps[1].htp",
        "spec.steps[2].when", "spec.steps[2]",
    }  # fmt: skip


def test_the_paths_of_an_inline_workflow_begin_where_it_is():
    with pytest.raises(Rejected) as caught:
        compile_plan(parse_spec({"steps": [{"name": "a"}]}), load_models(), "r", "spec.inline")
    assert caught.value.reasons[0].path == "spec.inline.steps[0]"


def test_a_spec_has_a_size_limit():
    assert "a workflow may have 1048576" in rejected(step("a", transform="x" * limits.SPEC_BYTES))["spec"]


def test_the_revision_is_the_hash_of_the_canonical_spec():
    one = parse_spec({"pool": "default", "steps": [{"name": "a", "transform": {"x": 1, "y": 2}}]})
    other = parse_spec({"steps": [{"transform": {"y": 2, "x": 1}, "name": "a", "needs": []}]})
    changed = parse_spec({"steps": [{"name": "a", "transform": {"x": 1, "y": 3}}]})
    assert revision_id(one.as_json()) == revision_id(other.as_json())
    assert revision_id(one.as_json()) != revision_id(changed.as_json())


def test_a_stored_spec_gives_the_same_plan_again():
    spec = parse_spec(
        {"steps": [step("a"), step("b", {"step": "a", "on": ["Failed"]}, retry={"max": 2}, transform=None)]}
    )
    again = parse_spec(spec.as_json())
    assert again == spec


def test_a_thousand_steps_compile_within_a_second_of_cpu():
    steps = [
        step(
            f"s{i}",
            *([f"s{i - 1}"] if i else []),
            http={"url": f"https://x/{i}/${{ run.id }}", "body": "${ inputs.x }"},
        )
        for i in range(1000)
    ]
    start = time.thread_time()
    compiled = plan(*steps, inputs={"x": {}})
    assert time.thread_time() - start < 1
    assert len(compiled.steps) == 1001


def test_an_error_that_is_never_seen_is_pointed_at():
    handled = {"step": "a", "on": ["Failed"]}
    compiled = plan(
        step("a"),
        step("b", when="${ steps.a.error == null }", transform=1),
        step("c", handled, transform="${ steps.a.error.message }"),
        output="${ steps.a.error }",
    )
    assert [each.path for each in advice(compiled) if each.rule == "error-never-seen"] == ["spec.steps[1]"]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30))
def test_a_graph_is_planned_or_rejected_and_a_plan_is_acyclic(pairs):
    needs: dict[int, set[int]] = {node: set() for node in range(10)}
    for node, need in pairs:
        needs[node].add(need)
    steps = [step(f"s{node}", *(f"s{need}" for need in sorted(of))) for node, of in needs.items()]
    try:
        compiled = plan(*steps)
    except Rejected as reason:
        said = str(reason)
        assert "cycle" in said or "needs itself" in said
        return
    order: dict[int, int] = {}
    waiting = set(range(1, 11))
    while waiting:
        ready = {node for node in waiting if all(edge.step in order for edge in compiled.steps[node].needs)}
        assert ready
        order |= dict.fromkeys(ready, len(order))
        waiting -= ready
    for one in compiled.steps:
        assert all(one.id in {edge.step for edge in compiled.steps[node].needs} for node in one.next)


def test_the_full_name_of_a_step_says_which_bodies_it_is_within():
    case = {"steps": [step("ask")]}
    compiled = plan(
        step("first"),
        {"name": "group", "steps": [step("ask"), {"name": "each", "forEach": [1], "transform": 1}]},
        {"name": "choose", "switch": [{"when": "${ 1 > 2 }", **case}, {"default": True, **case}]},
        {"name": "again", "repeat": {"max": 2}, "steps": [{"name": "way", "switch": [{"default": True, **case}]}]},
    )
    assert [compiled.full_name(one) for one in compiled.steps if one.id > END] == [
        "first",
        "group",
        "choose",
        "again",
        "group/ask",
        "group/each",
        "choose[0]/ask",
        "choose[1]/ask",
        "again/way",
        "group/each",
        "again/way[0]/ask",
    ]


@pytest.mark.parametrize("field", ["forEach", "repeat", "switch", "steps"])
def test_a_word_that_makes_a_body_is_not_there_with_nothing_behind_it(field):
    assert "found null" in rejected({"name": "a", "transform": 1, field: None})[f"spec.steps[0].{field}"]


@pytest.mark.parametrize(
    "body",
    [
        {"transform": 1},
        {"steps": [{"name": "b", "transform": 1}], "output": "${ steps.b.output }"},
        {"switch": [{"default": True, "steps": [{"name": "b", "transform": 1}]}]},
    ],
)
def test_a_condition_beside_for_each_leaves_out_items_if_it_reads_them_whatever_is_done_for_each(body):
    about_items = plan({"name": "a", "forEach": [1, 2], "when": "${ item > 1 }", **body}).steps[1]
    assert about_items.when is None
    (inner,) = [step for step in plan({"name": "a", "forEach": [1, 2], "when": "${ index > 1 }", **body}).steps
                if step.when is not None]  # fmt: skip
    assert inner.body == about_items.opens.body
    whole = plan({"name": "a", "forEach": [1, 2], "when": "${ run.name == 'x' }", **body})
    assert [step.id for step in whole.steps if step.when is not None] == [1]


@pytest.mark.parametrize("kind", [{"signal": {"name": "go"}}, {"approval": {}}])
@pytest.mark.parametrize("time", ["timeout", "deadline"])
def test_a_time_that_would_not_end_a_wait_for_people_is_refused(kind, time):
    for around in ({}, {"forEach": [1]}):
        found = rejected({"name": "a", time: "5s", **kind, **around})
        assert "{timeout: 5s}" in found[f"spec.steps[0].{time}"]
    plan({"name": "a", **kind}, defaults={"timeout": "5s"})


def test_the_time_beside_steps_is_that_of_all_items_whether_some_are_left_out_or_not():
    inner = [{"name": "b", "transform": 1}]
    for when in ({}, {"when": "${ item > 1 }"}):
        made = plan({"name": "a", "forEach": [1, 2], "timeout": "5s", "steps": inner, **when})
        assert [step.id for step in made.steps if step.timeout is not None] == [1]


def test_a_need_of_a_step_in_another_body_says_what_to_need_instead():
    group = {"name": "group", "steps": [step("inner"), step("second", "first")]}
    wrong = rejected(step("first"), group, step("last", "inner", "nowhere"))
    assert wrong["spec.steps[1].steps[1].needs[0]"] == (
        "step 'first' is around this body: the step with the body needs it, so write it there"
    )
    assert wrong["spec.steps[2].needs[0]"] == "step 'inner' is inside of step 'group': need that"
    assert "there is no step 'nowhere'" in wrong["spec.steps[2].needs[1]"]


def test_who_reads_into_a_body_is_told_what_to_read():
    group = {"name": "group", "steps": [step("inner")]}
    said = "${ steps.inner.output }: step 'inner' is inside of step 'group'; read steps.group.output"
    assert rejected(group, step("last", transform="${ steps.inner.output }")) == {"spec.steps[1].transform": said}
    assert rejected(group, output="${ steps.inner.output }") == {"spec.output": said}


@pytest.mark.parametrize("repeat", [{}, {"delay": "1s"}])
def test_a_repetition_says_when_it_ends(repeat):
    assert rejected({"name": "a", "transform": 1, "repeat": repeat}) == {
        "spec.steps[0].repeat": "says no end; write `until`, `max`, or both"
    }
