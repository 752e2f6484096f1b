"""`leat get`, `describe` and `watch` on a cluster, where no operator and no database are in reach."""

import threading
from typing import Any

import pytest
from kubernetes import client, config
from tests.support.cli import leat
from tests.support.operator import eventually
from tests.support.serving import asked
from tests.support.stack import GROUP, VERSION

from leat_stack.daemons import free_ports

WORKFLOW: dict[str, Any] = {
    "apiVersion": f"{GROUP}/{VERSION}",
    "kind": "Workflow",
    "metadata": {"name": "order"},
    "spec": {
        "inputs": {"id": {"type": "string"}, "card": {"type": "string", "sensitive": True}},
        "steps": [{"name": "charge", "transform": {"paid": True}}],
    },
}
RUN: dict[str, Any] = {
    "apiVersion": f"{GROUP}/{VERSION}",
    "kind": "WorkflowRun",
    "metadata": {"name": "order-1"},
    "spec": {"workflow": {"name": "order"}, "inputs": {"id": "A-17", "card": "4242-4242"}},
}
FAILED = {
    "phase": "Failed",
    "progress": "1/1",
    "message": "step charge failed",
    "failures": [{"step": "charge", "reason": "HttpStatus", "message": "503"}],
}


@pytest.fixture
def resources(kubeconfig):
    with config.new_client_from_config(kubeconfig) as api:
        yield client.CustomObjectsApi(api)


@pytest.fixture
def ask(kubeconfig, namespace, resources):
    """Run a command on a namespace that holds one workflow and one run."""
    resources.create_namespaced_custom_object(GROUP, VERSION, namespace, "workflows", WORKFLOW)
    resources.create_namespaced_custom_object(GROUP, VERSION, namespace, "workflowruns", RUN)
    return lambda *arguments: leat(*arguments, "-n", namespace, env={"KUBECONFIG": kubeconfig})


@pytest.fixture
def finish(resources, namespace):
    def finish(status):
        arguments = (GROUP, VERSION, namespace, "workflowruns", "order-1", {"status": status})
        resources.patch_namespaced_custom_object_status(*arguments)

    return finish


def test_what_is_there_is_listed(ask):
    rows = [line.split() for line in ask("get").out.splitlines()]
    assert rows[1][:2] == ["order-1", "order"]
    assert "Pending" in rows[1]
    assert ask("get", "workflows", "-o", "json").json[0]["name"] == "order"


def test_a_run_shows_its_status_and_no_sensitive_input(ask, finish):
    finish(FAILED)
    run = ask("describe", "order-1", "-o", "json")
    assert run.json["inputs"] == {"id": "A-17", "card": "[redacted]"}
    assert run.json["failures"] == FAILED["failures"]
    described = ask("describe", "order-1")
    assert "charge  HttpStatus: 503" in described.out
    assert "no steps to show: the cluster serves no read.leat.dev: set `readApi.enabled: true`" in described.err
    assert "4242" not in run.out + described.out


def test_an_operator_that_is_away_is_said_to_be(ask, kubernetes):
    (nobody,) = free_ports(1)
    with asked(kubernetes, nobody):
        done = eventually(
            lambda: found if "behind the API server" in (found := ask("tree", "order-1")).err else None,
            "the API server knows that nobody answers",
        )
    assert (done.code, done.out.startswith("order-1")) == (0, True)
    assert "`kubectl get apiservice v1alpha1.read.leat.dev` says why" in done.err


def test_watch_ends_when_the_run_does(ask, finish):
    ends = []
    watching = threading.Thread(target=lambda: ends.append(ask("watch", "order-1")))
    watching.start()
    finish(FAILED)
    watching.join(timeout=60)
    (end,) = ends
    assert end.code == 1
    assert end.err.splitlines()[-1] == "order-1: Failed: step charge failed"


def test_what_is_not_there_is_answered_with_where_to_look(ask, namespace):
    done = ask("watch", "nobody")
    assert done.code == 2
    assert f"found no run 'nobody' in namespace {namespace!r} of the cluster" in done.err
    assert ask("get", "workflow", "nobody").code == 2


def test_a_context_that_does_not_exist_is_answered_with_those_that_do(ask):
    done = ask("get", "--context", "nowhere")
    assert done.code == 3
    assert "found --context 'nowhere', expected one of the kubeconfig: " in done.err
