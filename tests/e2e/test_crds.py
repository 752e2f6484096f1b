"""What a real API server makes of the resources: what it takes, fills in, refuses, and how it reads YAML."""

import json
import subprocess
from typing import Any

import pytest
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from tests.support.stack import GROUP, VERSION

from leat_engine.errors import Rejected
from leat_engine.plan import compile_plan
from leat_engine.spec import parse_workflow
from leat_engine.spec.kinds import load_models
from leat_engine.spec.source import load_documents

ON = """
apiVersion: leat.dev/v1alpha1
kind: Workflow
metadata: {name: "on"}
spec:
  inputs:
    until: {type: string, default: 2030-01-01}
    number: {type: integer, default: 0777}
    flag: {type: boolean, default: yes}
  steps:
    - {name: charge, fail: {message: nothing}}
    - name: apologise
      needs: [{step: charge, on: [Failed]}]
      transform: 1e3
"""


@pytest.fixture
def resources(kubeconfig):
    with config.new_client_from_config(kubeconfig) as api:
        yield client.CustomObjectsApi(api)


@pytest.fixture
def create(resources, namespace):
    def create(kind: str, spec: dict[str, Any], name: str = "x") -> dict[str, Any]:
        body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": kind, "metadata": {"name": name}, "spec": spec}
        return resources.create_namespaced_custom_object(
            GROUP, VERSION, namespace, f"{kind.lower()}s", body, field_validation="Strict"
        )

    return create


@pytest.fixture
def patch(resources, namespace):
    def patch(spec: dict[str, Any]) -> dict[str, Any]:
        return resources.patch_namespaced_custom_object(GROUP, VERSION, namespace, "workflowruns", "x", {"spec": spec})

    return patch


def refusal(caught: pytest.ExceptionInfo[ApiException]) -> str:
    return str(json.loads(caught.value.body)["message"])


@pytest.mark.parametrize("count", [1_000, 5_000])
def test_a_workflow_of_many_steps_is_taken(create, count):
    steps = [{"name": f"s{i}", "needs": [f"s{i - 1}"] if i else [], "transform": "${ run.id }"} for i in range(count)]
    assert len(create("Workflow", {"steps": steps})["spec"]["steps"]) == count


def test_a_kind_of_another_package_and_a_misspelt_one_reach_the_planner(create):
    taken = create("Workflow", {"steps": [{"name": "a", "htpp": {"url": "x"}}]})
    with pytest.raises(Rejected, match="did you mean 'http'"):
        compile_plan(parse_workflow(taken).spec, load_models(), "r")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"steps": []}, "should have at least 1 items"),
        ({"steps": [{"name": "a", "http": {"url": "x", "ur": 1}}]}, 'unknown field "spec.steps[0].http.ur"'),
        ({"steps": [{"name": "a", "http": {"url": "x"}, "wait": {}}]}, "a step has exactly one kind"),
        ({"steps": [{"name": "a", "transform": 1}, {"name": "a", "transform": 1}]}, "Duplicate value"),
        ({"steps": [{"name": "a", "transform": 1}], "timeout": "5"}, "spec.timeout"),
        ({"steps": [{"name": "a", "transform": 1}], "tiemout": "5s"}, 'unknown field "spec.tiemout"'),
    ],
)
def test_what_the_api_server_can_know_is_refused_at_once(create, spec, said):
    with pytest.raises(ApiException) as caught:
        create("Workflow", spec)
    assert said in refusal(caught)


def test_a_run_names_a_workflow_or_brings_one_and_gets_its_defaults(create):
    with pytest.raises(ApiException) as caught:
        create("WorkflowRun", {"inputs": {}})
    assert "expected exactly one of `workflow` and `inline`" in refusal(caught)
    spec = create("WorkflowRun", {"workflow": {"name": "order"}})["spec"]
    assert spec == {"workflow": {"name": "order"}, "suspend": False, "cancel": False, "priority": 0}


def test_what_may_change_of_a_run_changes(create, patch):
    create("WorkflowRun", {"workflow": {"name": "order"}})
    changed = {"suspend": True, "priority": 9, "ttlSecondsAfterFinished": 60, "cancel": True}
    assert changed.items() <= patch(changed)["spec"].items()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"workflow": {"name": "other"}}, "the spec of a run is immutable"),
        ({"workflow": None, "inline": {"steps": [{"name": "a", "transform": 1}]}}, "the spec of a run is immutable"),
        ({"inputs": None}, "the spec of a run is immutable"),
        ({"priority": 10}, "less than or equal to 9"),
    ],
)
def test_nothing_else_of_a_run_changes(create, patch, change, said):
    create("WorkflowRun", {"workflow": {"name": "order"}, "inputs": {"a": 1}})
    with pytest.raises(ApiException) as caught:
        patch(change)
    assert said in refusal(caught)


def test_a_cancelled_run_stays_cancelled(create, patch):
    create("WorkflowRun", {"workflow": {"name": "order"}, "cancel": True})
    with pytest.raises(ApiException) as caught:
        patch({"cancel": False})
    assert "a cancelled run stays cancelled" in refusal(caught)


def test_an_unquoted_on_survives_kubectl(kubernetes, namespace, resources, tmp_path):
    file = tmp_path / "workflow.yaml"
    file.write_text(ON)
    kubectl = [kubernetes.kubectl, "--kubeconfig", kubernetes.kubeconfig, "--namespace", namespace]
    subprocess.run([*kubectl, "apply", "-f", file], check=True, capture_output=True)
    applied = resources.get_namespaced_custom_object(GROUP, VERSION, namespace, "workflows", "on")
    from_cluster = parse_workflow(applied).spec
    assert from_cluster.steps[1].needs[0].on == ["Failed"]
    assert from_cluster == parse_workflow(load_documents(ON, "workflow.yaml")[0].data).spec
