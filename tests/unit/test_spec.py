from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leat_engine.errors import Rejected
from leat_engine.spec import parse_duration, parse_run, parse_spec, parse_workflow
from leat_engine.spec.kinds import Function, Http, load_models, status_expected

API = "leat.dev/v1alpha1"


def workflow(**spec: Any) -> dict[str, Any]:
    steps = [{"name": "a", "transform": 1}]
    return {"apiVersion": API, "kind": "Workflow", "metadata": {"name": "order"}, "spec": {"steps": steps, **spec}}


def run(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": API, "kind": "WorkflowRun", "metadata": {"name": "r"}, "spec": spec}


def rejected(document: dict[str, Any]) -> dict[str, str]:
    parse = parse_run if document.get("kind") == "WorkflowRun" else parse_workflow
    with pytest.raises(Rejected) as caught:
        parse(document)
    return {reason.path: reason.message for reason in caught.value.reasons}


def test_a_resource_of_the_api_server_is_read_with_all_its_metadata():
    document = workflow()
    document["metadata"] |= {
        "uid": "u",
        "labels": {"a": "b"},
        "managedFields": [],
        "generation": 4,
        "ownerReferences": [],
    }
    document["status"] = {"conditions": [], "revision": "abc"}
    assert parse_workflow(document).metadata.generation == 4


@pytest.mark.parametrize(
    ("spec", "path", "said"),
    [
        ({"tiemout": "1s"}, "spec.tiemout", "there is no field 'tiemout'; did you mean 'timeout'?"),
        ({"timeout": 5}, "spec.timeout", "found 5, expected a duration such as 500ms, 30s, 1h30m or 2d"),
        ({"steps": [{"name": "a", "when": 5}]}, "spec.steps[0].when", "found 5, expected boolean or string"),
        (
            {"steps": [{"name": "a", "tolerate": 0.5}]},
            "spec.steps[0].tolerate",
            "found 0.5, expected a number of items, a share",
        ),
        (
            {"steps": [{"name": "a", "tolerate": True}]},
            "spec.steps[0].tolerate",
            "found true, expected a number of items",
        ),
        ({"concurrency": {"on_conflict": "queue"}}, "spec.concurrency.on_conflict", "did you mean 'onConflict'?"),
        ({"tiemouts": "1s"}, "spec.tiemouts", "there is no field 'tiemouts'"),
        (
            {"triggers": [{"name": "A b", "schedule": {"cron": "@daily"}}]},
            "spec.triggers[0].name",
            "found 'A b', expected a text of the pattern '^[a-z]",
        ),
        ({"steps": [{"name": "a", "repeat": 5}]}, "spec.steps[0].repeat", "found 5, expected an object"),
        ({"steps": [{"name": "a", "repeat": {"max": 0}}]}, "spec.steps[0].repeat.max", "found 0, expected at least 1"),
        ({"steps": [{"name": "a", "steps": []}]}, "spec.steps[0].steps", "found an empty list, expected at least 1"),
        ({"steps": [{"name": False}]}, "spec.steps[0].name", "found false, expected string; on, off, yes, no, y and n"),
        ({"steps": [{"name": "a" * 70}]}, "spec.steps[0].name", "found 70 characters, expected at most 63"),
        ({"timeout": "5"}, "spec.timeout", "found '5', expected a duration such as 500ms, 30s, 1h30m or 2d"),
        ({"finally": {}}, "spec.finally", "found an object, expected list"),
        ({"steps": {}}, "spec.steps", "found an object, expected list"),
        ({"steps": [{"transform": 1}]}, "spec.steps[0].name", "is required and missing"),
        ({"defaults": {"retry": {"max": "3"}}}, "spec.defaults.retry.max", "found '3', expected integer"),
        ({"defaults": {"retry": {"backof": {}}}}, "spec.defaults.retry.backof", "did you mean 'backoff'?"),
        ({"steps": [{"name": "a", "needs": ["b", 5]}]}, "spec.steps[0].needs[1]", "found 5, expected"),
        ({"steps": [{"name": "a", "when": 5}]}, "spec.steps[0].when", "found 5, expected"),
        (
            {"steps": [{"name": "a", "needs": [{"step": "b", "on": ["Fail"]}]}]},
            "spec.steps[0].needs[0].on[0]",
            "'Failed'",
        ),
    ],
)
def test_a_wrong_field_is_named_with_what_was_found_and_expected(spec, path, said):
    assert said in rejected(workflow(**spec))[path]


def test_every_wrong_field_is_named_at_once():
    assert set(rejected(workflow(timeout=5, pool=[], nope=1))) == {"spec.timeout", "spec.pool", "spec.nope"}


@pytest.mark.parametrize("key", ["on", "true", True])
def test_the_key_on_is_understood_however_yaml_has_read_it(key):
    spec = parse_spec({"steps": [{"name": "a", "needs": ["x", {"step": "b", key: ["Failed"]}]}]})
    assert [(need.step, need.on) for need in spec.steps[0].needs] == [("x", None), ("b", ["Failed"])]


def test_a_run_names_a_workflow_or_brings_one():
    assert "expected exactly one of `workflow` and `inline`" in rejected(run())["spec"]
    both = run(workflow={"name": "order"}, inline={"steps": [{"name": "a", "transform": 1}]})
    assert "expected exactly one of `workflow` and `inline`" in rejected(both)["spec"]
    assert parse_run(run(workflow={"name": "order"}, priority=9)).spec.priority == 9
    assert "spec.inline.steps" in rejected(run(inline={"steps": []}))


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"priority": 10}, "spec.priority"),
        ({"suspend": "no"}, "spec.suspend"),
        ({"rerun": {"from": "x"}}, "spec.rerun.of"),
    ],
)
def test_a_wrong_field_of_a_run_is_named(spec, path):
    assert path in rejected(run(workflow={"name": "order"}, **spec))


def test_a_document_of_another_kind_is_rejected():
    assert set(rejected({"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": {"steps": [{"name": "a"}]}})) == {
        "apiVersion",
        "kind",
    }


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("1s", 1), ("1.5s", 1.5), ("1h30m", 5400), ("2d", 172_800), ("0s", 0)]
)
def test_durations_are_read(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "s", "-1s", "1 s", "1w", "1s\n", "\u0661s", "367d"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="expected"):
        parse_duration(text)


@given(st.integers(0, 365), st.integers(0, 23), st.integers(0, 59), st.integers(0, 999))
def test_a_duration_is_the_sum_of_its_parts(days, hours, minutes, millis):
    expected = days * 86_400 + hours * 3600 + minutes * 60 + millis / 1000
    assert parse_duration(f"{days}d{hours}h{minutes}m{millis}ms") == pytest.approx(expected)


@pytest.mark.parametrize(
    ("status", "expect", "success"),
    [
        (204, ["2xx"], True),
        (299, ["2xx"], True),
        (300, ["2xx"], False),
        (404, ["2xx", "404"], True),
        (204, ["200-204"], True),
        (205, ["200-204"], False),
    ],
)
def test_an_http_status_is_expected_by_code_class_or_range(status, expect, success):
    assert status_expected(status, expect) is success


def test_status_codes_may_be_written_as_numbers():
    assert Http.model_validate({"url": "x", "expect": [200, "4xx"]}).expect == ["200", "4xx"]


def test_a_function_takes_its_arguments_by_with():
    assert Function.model_validate({"name": "f", "with": {"a": 1}}).arguments == {"a": 1}


def test_the_built_in_kinds_are_found_by_entry_point():
    assert {"http", "script", "transform", "wait", "function", "fail"} <= set(load_models())


def test_every_field_says_what_it_is():
    for model in load_models().values():
        document = model.model_json_schema()
        assert document["description"]
        assert all(field.get("description") for field in document.get("properties", {}).values()), model
