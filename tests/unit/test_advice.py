"""What is right and hardly meant."""

import re
import sys
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from leat_cli.__main__ import app
from leat_cli.graph import Form
from leat_engine.advice import ALLOW, RULES, advice
from leat_engine.plan import Plan, compile_plan
from leat_engine.reach import never_run
from leat_engine.result import State
from leat_engine.spec import parse_spec
from leat_engine.spec.kinds import load_models

GET = {"url": "https://shop.example/"}


def plan(*steps, **spec) -> Plan:
    return compile_plan(parse_spec({"steps": list(steps), **spec}), load_models(), "r")


def step(name, *needs, **fields):
    return {"name": name, "needs": list(needs), **(fields or {"transform": 1})}


def on(name, *ends):
    return {"step": name, "on": list(ends)}


def found(rule, *steps, **spec):
    return [
        (each.path.removeprefix("spec."), each.message) for each in advice(plan(*steps, **spec)) if each.rule == rule
    ]


def paths(rule, *steps, **spec):
    return [path for path, _ in found(rule, *steps, **spec)]


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"sql": {"url": "postgresql://app:hunter2@db/shop", "query": "select 1"}}, "sql.url"),
        ({"sql": {"url": "mysql://db/shop", "password": "hunter2", "query": "select 1"}}, "sql.password"),
        ({"publish": {"kafka": {"url": "kafka://me:hunter2@k", "topic": "a", "value": 1}}}, "publish.kafka.url"),
        ({"http": {**GET, "headers": {"Authorization": "Bearer hunter2"}}}, "http.headers.Authorization"),
        ({"script": {"run": "x", "env": {"PAY_TOKEN": "hunter2"}}}, "script.env.PAY_TOKEN"),
    ],
)
def test_a_password_in_a_workflow_is_pointed_at_and_not_told(fields, path):
    ((where, message),) = found("secret-written", {"name": "a", **fields})
    assert where == f"steps[0].{path}"
    assert "secret('NAME', 'KEY')" in message
    assert "hunter2" not in message


def test_a_password_that_is_read_or_is_none_is_right():
    read = "${ secret('db', 'x') }"
    env = {"TOKEN": read, "HOME": "/x", "EMPTY_PASSWORD": ""}
    steps = [
        step("a", sql={"url": read, "password": read, "query": "select 1"}),
        step("b", sql={"url": "postgresql://app:${ secret('db', 'x') }@db/shop", "query": "select 1"}),
        step("c", http={**GET, "headers": {"authorization": f"Bearer {read}"}, "body": {"token": "next"}}),
        step("d", script={"run": "x", "env": env}),
        step("e", transform={"password": "public"}),
    ]
    assert found("secret-written", *steps) == []


@pytest.mark.parametrize("when", [False, "${ false }", "${ 1 > 2 }"])
def test_a_step_that_is_switched_off_never_runs(when):
    assert found("never-runs", step("a", when=when, transform=1)) == [
        ("steps[0]", "never runs: `when` is always false")
    ]


def test_a_step_whose_condition_depends_or_cannot_be_evaluated_may_run():
    conditions = ["${ inputs.x > 1 }", "${ now > timestamp('2030-01-01T00:00:00Z') }", "${ 1 / 0 > 1 }", True]
    steps = [step(f"s{n}", when=when, transform=1) for n, when in enumerate(conditions)]
    assert found("never-runs", *steps, inputs={"x": {}}) == []


def test_a_need_that_cannot_be_satisfied_is_pointed_at_once_and_not_at_each_step_behind_it():
    steps = [step("a"), step("b", on("a", "Failed")), step("c", "b"), step("d", "c")]
    said = "never runs: it needs 'a' to be Failed, and that is always Succeeded"
    assert found("never-runs", *steps) == [("steps[1]", said)]


def test_a_step_that_always_fails_is_never_followed_by_what_needs_its_success():
    steps = [step("a", fail={"message": "no"}), step("b", "a"), step("c", on("a", "Finished"))]
    said = "never runs: it needs 'a' to be Succeeded or Skipped, and that is always Failed"
    assert found("never-runs", *steps) == [("steps[1]", said)]


def test_needs_that_exclude_one_another_are_pointed_at():
    steps = [step("a", http=GET), step("b", "a", http=GET), step("c", on("a", "Failed"), "b")]
    said = "never runs: it needs 'a' to be Failed, and then 'b', which it needs too, is never Succeeded or Skipped"
    assert found("never-runs", *steps) == [("steps[2]", said)]


def test_needs_exclude_one_another_over_several_steps_and_without_being_written():
    steps = [
        step("a", http=GET),
        step("handled", on("a", "Failed"), http=GET),
        step("b", "handled", http=GET),
        step("c", http={**GET, "body": "${ [steps.a.output, steps.b.output] }"}),
        step("d", on("a", "Finished"), on("b", "Skipped"), http=GET),
    ]
    assert paths("never-runs", *steps) == ["steps[3]"]


ENDS = ["Succeeded", "Failed", "Skipped", "Finished"]


@st.composite
def graphs(draw: st.DrawFn):
    steps = []
    for n in range(draw(st.integers(2, 6))):
        needs = [
            draw(st.sampled_from([f"s{m}", *[on(f"s{m}", end) for end in ENDS], on(f"s{m}", "Succeeded", "Failed")]))
            for m in sorted(draw(st.sets(st.integers(0, n - 1))) if n else ())
        ]
        when = draw(st.sampled_from([None, False, "${ inputs.x > 1 }"]))
        body = draw(st.sampled_from([{"transform": 1}, {"http": GET}, {"fail": {"message": "no"}}]))
        steps.append(step(f"s{n}", *needs, **body, **({} if when is None else {"when": when})))
    return plan(*steps, inputs={"x": {}})


@settings(deadline=None)
@given(graphs())
def test_a_step_that_is_said_to_never_run_runs_for_no_ends_of_the_others(compiled):
    """Every choice of ends is tried, by the rules of the language written down once more."""
    steps = compiled.steps[1:]
    never = {each.id for each, _ in never_run(compiled)}
    for chosen in product((State.SUCCEEDED, State.FAILED), (False, True), repeat=len(steps)):
        states: dict[int, State] = {}
        for each, end, holds in zip(steps, chosen[::2], chosen[1::2], strict=True):
            constant = each.when.evaluate({}) if each.when and each.when.constant else True
            if not all(states[edge.step] in edge.on for edge in each.needs):
                states[each.id] = State.OMITTED
            elif not constant or (each.when and not holds):
                states[each.id] = State.SKIPPED
            else:
                assert each.id not in never
                states[each.id] = (
                    State.FAILED if each.kind == "fail" else end if each.kind == "http" else State.SUCCEEDED
                )


def test_a_step_that_waits_for_others_without_a_timeout_is_pointed_at():
    steps = [
        step("a", http=GET),
        step("b", script={"run": "true"}),
        step("c", container={"image": "x"}),
        step("d", http=GET, timeout="1s"),
        step("e", http=GET, deadline="1s"),
        step("f", wait={"duration": "1h"}),
        step("g"),
        step("h", sql={"url": "postgresql://db/x", "query": "select 1"}),  # has a time of its own
    ]
    assert paths("no-timeout", *steps) == ["steps[0].http", "steps[1].script", "steps[2].container"]
    assert paths("no-timeout", *steps, defaults={"timeout": "1m"}) == []
    assert paths("no-timeout", *steps, timeout="1h") == []
    around = {"name": "inner", "steps": steps}
    assert paths("no-timeout", {"name": "body", "timeout": "1h", "steps": [around]}) == []
    assert len(paths("no-timeout", {"name": "body", "steps": [around]})) == 3


def test_a_request_that_is_tried_once_is_pointed_at_unless_somebody_has_thought_of_it():
    steps = [
        step("a", http=GET),
        step("b", http=GET, retry={"max": 0}),
        step("c", http=GET, retry={"max": 3}),
        step("d", http=GET),
        step("e", on("d", "Failed")),
        step("f", script={"run": "true"}),
    ]
    assert paths("no-retry", *steps) == ["steps[0].http"]
    assert paths("no-retry", *steps, defaults={"retry": {}}) == []


def test_what_is_made_of_a_sensitive_input_is_pointed_at_where_it_is_stored():
    steps = [
        step(
            "a",
            http={
                "url": "https://x/${ vars.made }",
                "body": "${ size(inputs.card) }",
                "headers": {"A": "${ vars.made }"},
            },
        ),
        step("b", transform={"x": ["${ size(inputs.card) }", "${ inputs.order }", "${ size(vars.copy) }"]}),
        step("c", when="${ inputs.card != '' }", fail={"message": "no ${ inputs.card + '!' }"}),
    ]
    spec = {
        "inputs": {"card": {"sensitive": True}, "order": {}},
        "vars": {"made": {"of": "${ inputs.card + 'x' }"}, "copy": "${ inputs.card }", "other": 1},
    }
    where = ["steps[0].http.url", "steps[1].transform.x[0]", "steps[1].transform.x[2]", "steps[2].fail.message"]
    assert paths("sensitive-stored", *steps, **spec, output="${ inputs.card.size() }") == [*where, "output"]


def test_an_exact_copy_of_a_sensitive_input_is_redacted_and_so_no_doubt():
    fields = {"transform": ["card ${ inputs.card }", "${ vars.copy }", "${ inputs.card.number }"]}
    spec = {"inputs": {"card": {"sensitive": True}}, "vars": {"copy": "${ inputs.card }"}}
    assert paths("sensitive-stored", step("a", **fields), **spec, output="${ inputs.card }") == []


def test_inputs_and_variables_that_nothing_reads_are_pointed_at():
    names = {"inputs": {name: {} for name in "abcdef"}, "vars": {"v": "${ inputs.a }", "w": 1, "x": 2}}
    steps = [
        step("one", when="${ inputs.b > 1 }", transform="${ vars.v }"),
        step("two", http=GET, retry={"when": "${ inputs.c && vars.w > 1 }"}),
    ]
    assert paths("unused", *steps, **names, output="${ inputs.d }") == ["inputs.e", "inputs.f", "vars.x"]
    assert paths("unused", *steps, **names, output="${ inputs }") == ["vars.x"]


def test_an_annotation_allows_a_rule_everywhere_or_at_one_step():
    compiled = plan(step("a", http=GET), step("b", http=GET), inputs={"x": {}})
    allowed = {ALLOW: "no-retry, no-timeout:a,,unsed"}
    assert [(each.rule, each.path) for each in advice(compiled, allowed)] == [
        ("unknown-rule", f"metadata.annotations['{ALLOW}']"),
        ("no-timeout", "spec.steps[1].http"),
        ("unused", "spec.inputs.x"),
    ]


def test_a_workflow_of_a_thousand_steps_is_looked_at_without_looking_at_all_of_them_for_each():
    steps = [
        step(f"s{n}", *([f"s{n - 1}", on(f"s{max(n - 2, 0)}", "Finished")] if n > 1 else []), http=GET)
        for n in range(1000)
    ]
    compiled = plan(*steps)
    looks = 0

    def count(frame, event, _arg):
        nonlocal looks
        looks += event == "call" and frame.f_code.co_name == "_impossible"

    sys.setprofile(count)
    try:
        assert list(never_run(compiled)) == []
    finally:
        sys.setprofile(None)
    assert looks < 30_000


DOUBTFUL = """\
apiVersion: leat.dev/v1alpha1
kind: Workflow
metadata: {name: doubtful, annotations: {leat.dev/lint-allow: ALLOWED}}
spec:
  steps:
    - name: get
      http: {url: "https://shop.example/"}
      timeout: 10s
"""


def test_lint_tells_doubts_with_their_rules_and_fails_for_them_only_when_strict(tmp_path):
    file = tmp_path / "flow.yaml"
    file.write_text(DOUBTFUL.replace("ALLOWED", '""'))
    done = CliRunner().invoke(app, ["lint", str(file)])
    assert (done.exit_code, done.stderr) == (0, "no mistakes, 1 doubt in 1 file\n")
    assert done.stdout.startswith(
        f"{file}:7: spec.steps[0].http: one failed request fails the step for good; add `retry`"
    )
    assert done.stdout.endswith("if that is meant [no-retry]\n")
    assert CliRunner().invoke(app, ["lint", "--strict", str(file)]).exit_code == 2
    as_json = CliRunner().invoke(app, ["lint", "-o", "json", str(file)])
    assert '"rule": "no-retry"' in as_json.stdout
    file.write_text(DOUBTFUL.replace("ALLOWED", "no-retry:get"))
    assert CliRunner().invoke(app, ["lint", "--strict", str(file)]).exit_code == 0


def test_the_page_has_every_rule():
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "authoring.md").read_text()
    listed = set(re.findall(r"^\| `([a-z][a-z-]+)` \| ", page, re.MULTILINE))
    assert listed - {form.value for form in Form} == set(RULES)


LINES = {"lines": {"type": "array"}}


def each(over, *, kind="http", **fields):
    doing = {"http": GET, "transform": 1, "function": {"name": "f"}}[kind]
    return {"name": "each", "forEach": over, kind: doing, "retry": {"max": 1}, **fields}


def test_requests_for_as_many_items_as_somebody_gives_are_doubtful():
    said = (
        "inputs.lines may have any number of items, and http of step 'each' is done for 500 of them at once; write "
        "`maxParallel`, a limit of that step (concurrency, rateLimit), or `maxItems` of the input"
    )
    assert found("unbounded-fan-out", each("${ inputs.lines }"), inputs=LINES) == [("steps[0].forEach", said)]
    (path, message), *_ = found("unbounded-fan-out", step("list", http=GET), each("${ steps.list.output.body }"))
    assert (path, message.startswith("the output of step 'list' may")) == ("steps[1].forEach", True)
    assert "maxItems" not in message


def test_requests_deeper_within_the_body_are_found():
    inner = {"name": "twice", "repeat": {"max": 2}, "http": GET}
    steps = {"name": "each", "forEach": "${ inputs.lines }", "steps": [{"name": "group", "steps": [inner]}]}
    assert paths("unbounded-fan-out", steps, inputs=LINES) == ["steps[0].forEach"]


@pytest.mark.parametrize(
    "bounded",
    [
        each("${ inputs.lines }", maxParallel=500),
        each("${ inputs.lines }", concurrency={"limit": 10}),
        each("${ inputs.lines }", rateLimit={"rate": 10}),
        each("${ inputs.few }"),
        each([1, 2, "${ inputs.lines }"]),
        each("${ inputs.lines }", kind="function"),
        each("${ steps.made.output }"),
    ],
)
def test_a_fan_out_that_is_bounded_or_stays_among_our_own_runners_is_not_doubtful(bounded):
    inputs = {**LINES, "few": {"type": "array", "maxItems": 20}}
    assert paths("unbounded-fan-out", step("made"), bounded, inputs=inputs) == []


@pytest.mark.parametrize(
    ("approval", "around", "doubtful"),
    [
        ({}, {"forEach": [1, 2]}, True),
        ({"name": "ok-${ inputs.n }"}, {"forEach": [1, 2]}, True),
        ({"message": "item ${ index }"}, {"forEach": [1, 2]}, True),
        ({"name": "ok-${ item }"}, {"forEach": [1, 2]}, False),
        ({}, {"forEach": [1, 2], "maxParallel": 1}, False),
        ({}, {"repeat": {"max": 2}}, False),
        ({}, {}, False),
    ],
)
def test_items_that_ask_the_same_question_at_once_are_doubtful(approval, around, doubtful):
    inputs = {"n": {"type": "integer", "default": 1}}
    alone = {"name": "ask", "approval": approval, **around}
    assert paths("same-question", alone, inputs=inputs) == ["steps[0].approval"] * doubtful
    inner = {"name": "ask", "approval": approval}
    body = {"name": "each", "steps": [{"name": "group", "steps": [inner]}], **around}
    assert paths("same-question", body, inputs=inputs) == ["steps[0].steps[0].steps[0].approval"] * doubtful
