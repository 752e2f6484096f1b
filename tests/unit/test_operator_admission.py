"""What the webhook answers, without a cluster."""

from datetime import UTC, datetime

import pytest

from leat_engine.errors import Reason, Rejected
from leat_engine.plan import compile_plan
from leat_engine.pools import Announced
from leat_engine.spec import parse_workflow
from leat_engine.spec.kinds import load_models
from leat_operator.catalog import Catalog
from leat_operator.serving import verdict
from leat_operator.serving.verdict import Verdict, judge_pool, judge_run, judge_workflow, response, subject, workflow_of

GREET = {"name": "greet", "transform": "hello"}


def resource(kind, name, **spec):
    metadata = {"name": name, "namespace": "shop", "uid": f"uid-{name}", "generation": 1}
    return {"apiVersion": "leat.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def asked(body, operation="CREATE", **more):
    kind = {"group": "leat.dev", "version": "v1alpha1", "kind": body["kind"]}
    request = {"uid": "1", "kind": kind, "operation": operation, "namespace": "shop", "name": body["metadata"]["name"]}
    return {**request, "object": body, **more}


@pytest.fixture
def catalog():
    return Catalog(load_models())


BROKEN = resource(
    "Workflow", "broken", steps=[{"name": "a", "transform": "${ inputs.x }"}, {"name": "a", "nothing": 1}]
)


def test_a_workflow_is_refused_for_the_reasons_that_lint_gives(catalog):
    with pytest.raises(Rejected) as error:
        compile_plan(parse_workflow(BROKEN).spec, load_models(), "revision")
    assert judge_workflow(BROKEN, catalog).reasons == error.value.reasons
    assert len(error.value.reasons) > 2


def test_a_workflow_is_refused_for_its_steps_and_its_triggers_at_once(catalog):
    every_day = {"name": "daily", "schedule": {"cron": "@daily"}, "inputs": {"day": 1}}
    steps = [{"name": "a", "transform": "${ inputs.x }"}]
    found = judge_workflow(resource("Workflow", "broken", steps=steps, triggers=[every_day]), catalog)
    assert [reason.path for reason in found.reasons] == ["spec.steps[0].transform", "spec.triggers[0].inputs.day"]
    listed = catalog.put(resource("Workflow", "broken", steps=steps, triggers=[every_day]))
    assert (listed.reasons, listed.triggers) == (found.reasons, ())


def test_a_workflow_that_is_no_workflow_is_refused_by_its_fields(catalog):
    found = judge_workflow(resource("Workflow", "odd", steps="none"), catalog)
    assert [reason.path for reason in found.reasons] == ["spec.steps"]


def test_what_is_allowed_and_hardly_meant_is_a_warning(catalog):
    steps = [GREET, {"name": "after", "needs": ["greet"], "transform": "${ steps.greet.error.message }"}]
    found = judge_workflow(resource("Workflow", "odd", steps=steps), catalog)
    assert not found.reasons
    assert "always null" in found.warnings[0]


def test_what_is_hardly_meant_is_a_warning_unless_an_annotation_allows_it(catalog):
    body = resource("Workflow", "odd", steps=[{"name": "a", "http": {"url": "https://x/"}, "timeout": "1s"}])
    (warning,) = judge_workflow(body, catalog).warnings
    assert warning.startswith("spec.steps[0].http: one failed request fails the step for good")
    body["metadata"]["annotations"] = {"leat.dev/lint-allow": "no-retry:a"}
    assert judge_workflow(body, catalog).warnings == ()


def test_a_step_that_its_pool_cannot_run_is_a_warning(catalog):
    at = datetime(2026, 3, 1, tzinfo=UTC)
    catalog.announce({"default": Announced("default", "", frozenset({"http"}), frozenset(), 10, at)})
    steps = [{"name": "a", "script": {"run": "true"}}, {"name": "b", "script": {"run": "true"}, "pool": "unknown"}]
    found = judge_workflow(resource("Workflow", "odd", steps=steps), catalog)
    assert not found.reasons
    warning, *doubts = found.warnings
    assert all(doubt.endswith("[no-timeout]") for doubt in doubts)
    assert warning.startswith("spec.steps[0].script: pool 'default' cannot run it")


def test_a_pool_is_judged_by_its_fields_and_its_namespace():
    assert judge_pool(resource("RunnerPool", "default"), "shop") == Verdict()
    wrong = judge_pool(resource("RunnerPool", "default", replicas=3, slot=1), "shop")
    assert {reason.path for reason in wrong.reasons} == {"spec.replicas", "spec.slot"}
    elsewhere = judge_pool(resource("RunnerPool", "default"), "leat-system")
    assert not elsewhere.reasons
    assert "only RunnerPools of namespace leat-system get runners" in elsewhere.warnings[0]


def test_a_run_is_held_against_the_inputs_of_its_workflow(catalog):
    workflow = resource("Workflow", "hello", inputs={"who": {"type": "string"}}, steps=[GREET])
    fine = resource("WorkflowRun", "run", workflow={"name": "hello"}, inputs={"who": "world"})
    wrong = resource("WorkflowRun", "run", workflow={"name": "hello"}, inputs={"who": 3, "what": 1})
    assert judge_run(fine, workflow, catalog) == Verdict()
    assert {reason.path for reason in judge_run(wrong, workflow, catalog).reasons} == {
        "spec.inputs.who",
        "spec.inputs.what",
    }


def test_a_sensitive_input_is_not_repeated_to_whoever_gave_it_wrong(catalog):
    workflow = resource(
        "Workflow", "pay", inputs={"card": {"type": "string", "maxLength": 3, "sensitive": True}}, steps=[GREET]
    )
    wrong = resource("WorkflowRun", "run", workflow={"name": "pay"}, inputs={"card": "4711-0815"})
    found = judge_run(wrong, workflow, catalog)
    assert found.reasons
    assert "4711" not in str(response(asked(wrong), found))


def test_a_run_without_its_workflow_is_let_through_with_a_warning(catalog):
    found = judge_run(resource("WorkflowRun", "run", workflow={"name": "late"}), None, catalog)
    assert not found.reasons
    assert "Workflow late is not there yet" in found.warnings[0]


def test_a_run_of_an_invalid_workflow_is_refused_with_its_reasons(catalog):
    found = judge_run(resource("WorkflowRun", "run", workflow={"name": "broken"}), BROKEN, catalog)
    assert all(reason.message.startswith("Workflow broken is invalid: spec.steps") for reason in found.reasons)


def test_an_inline_workflow_is_judged_at_its_place(catalog):
    body = resource("WorkflowRun", "run", inline=BROKEN["spec"])
    assert workflow_of(body) is None
    assert all(reason.path.startswith("spec.inline.steps") for reason in judge_run(body, None, catalog).reasons)


@pytest.mark.parametrize("spec", [None, [], {"workflow": []}, {"workflow": {"name": 3}}])
def test_a_run_that_is_no_run_is_refused_and_breaks_nothing(catalog, spec):
    body = {**resource("WorkflowRun", "run"), "spec": spec}
    assert judge_run(body, None, catalog).reasons
    assert workflow_of(body) is None


def test_who_changes_no_spec_is_not_held_up():
    labelled = {**BROKEN, "metadata": {**BROKEN["metadata"], "labels": {"a": "b"}}}
    assert subject(asked(labelled, "UPDATE", oldObject=BROKEN)) is None
    assert subject(asked(BROKEN, "UPDATE", oldObject=resource("Workflow", "broken", steps=[GREET]))) is BROKEN


def test_what_is_on_its_way_out_is_not_judged():
    leaving = {**BROKEN, "metadata": {**BROKEN["metadata"], "deletionTimestamp": "2026-03-01T12:00:00Z"}}
    assert subject(asked(leaving, "UPDATE", oldObject=BROKEN)) is None
    assert subject({"uid": "1", "operation": "DELETE", "object": None, "oldObject": BROKEN}) is None


def test_an_answer_names_every_mistake_on_a_line_of_its_own():
    reasons = (Reason("spec.steps[0]", "is wrong"), Reason("spec.output", "is wrong too"))
    answer = response(asked(BROKEN), Verdict(reasons))["response"]
    assert (answer["uid"], answer["allowed"], answer["status"]["code"]) == ("1", False, 422)
    assert answer["status"]["message"].splitlines() == [
        "2 mistakes in Workflow broken:",
        "  spec.steps[0]: is wrong",
        "  spec.output: is wrong too",
    ]
    assert [cause["field"] for cause in answer["status"]["details"]["causes"]] == ["spec.steps[0]", "spec.output"]


def test_an_answer_has_a_bound():
    reasons = tuple(Reason(f"spec.steps[{number}]", "x" * 10_000) for number in range(5_000))
    answer = response(asked(BROKEN), Verdict(reasons, ("w" * 10_000,) * 100))["response"]
    assert answer["status"]["message"].endswith(f"and {5_000 - verdict.REASONS} more; `leat lint FILE` names all")
    assert len(str(answer)) < 100_000


def test_an_answer_that_allows_says_nothing_else():
    assert response(asked(BROKEN), Verdict())["response"] == {"uid": "1", "allowed": True}


def test_the_inputs_of_a_run_that_goes_on_are_judged_when_it_is_accepted(catalog):
    steps = {"steps": [GREET], "inputs": {"who": {"type": "string"}}}
    workflow = resource("Workflow", "hello", **steps)
    body = resource("WorkflowRun", "run", workflow={"name": "hello"}, rerun={"of": "hello-1"})
    assert judge_run(body, workflow, catalog) == judge_run(body, None, catalog) == Verdict()
    wrong = resource("WorkflowRun", "run", workflow={"name": "hello"}, rerun={"from": 5})
    assert {reason.path for reason in judge_run(wrong, workflow, catalog).reasons} == {
        "spec.rerun.of", "spec.rerun.from"}  # fmt: skip
