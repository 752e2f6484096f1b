"""The webhook and the read API, as the API server and people meet them."""

import asyncio
from contextlib import ExitStack

import pytest
from tests.support.operator import eventually, shop, started
from tests.support.samples import FOLDER
from tests.support.serving import Kubectl, asked, available, serving

from leat_engine.store import migrate

BAD = {
    "apiVersion": "leat.dev/v1alpha1",
    "kind": "Workflow",
    "metadata": {"name": "bad"},
    "spec": {
        "steps": [
            {"name": "one", "http": {"method": "GET", "url": "https://shop.example/${ inputs.nobody }"}},
            {"name": "two", "needs": ["nowhere"], "transform": "x"},
            {"name": "three", "transform": "${ 1 + }"},
        ]
    },
}
GOOD = {
    "apiVersion": "leat.dev/v1alpha1",
    "kind": "Workflow",
    "metadata": {"name": "good"},
    "spec": {
        "inputs": {"who": {"type": "string"}, "card": {"type": "string", "sensitive": True, "default": "4711-0815"}},
        "steps": [
            {"name": "greet", "transform": "hello ${ inputs.who }"},
            {"name": "pay", "transform": {"with": "${ inputs.card }", "for": "${ steps.greet.output }"}},
        ],
    },
}


@pytest.fixture(scope="module")
def environment(kubernetes, postgres_dsn, amqp_url):
    asyncio.run(migrate(postgres_dsn))
    return {
        "KUBECONFIG": kubernetes.operator_kubeconfig,
        "LEAT_DATABASE_URL": postgres_dsn,
        "LEAT_AMQP_URL": amqp_url,
        "LEAT_NAMESPACE": "leat-system",
        "LEAT_FUNCTIONS": str(FOLDER / "functions.py"),
    }


@pytest.fixture(scope="module")
def server(kubernetes, environment, tmp_path_factory):
    folder = tmp_path_factory.mktemp("serving")
    with ExitStack() as stack:
        operator = stack.enter_context(serving(environment, folder))
        stack.enter_context(asked(kubernetes, operator.port))
        stack.enter_context(started("leat_runner", environment, folder))
        eventually(lambda: available(kubernetes), "the read API is available", 60)
        yield operator


@pytest.fixture
def kubectl(kubernetes):
    return Kubectl(kubernetes)


def run_of(workflow, name="run", **inputs):
    spec = {"workflow": {"name": workflow}, "inputs": inputs}
    return {"apiVersion": "leat.dev/v1alpha1", "kind": "WorkflowRun", "metadata": {"name": name}, "spec": spec}


def test_a_dry_run_of_a_bad_workflow_says_every_reason(server, kubectl, namespace):
    said = kubectl.apply(BAD, check=False, flags=("--dry-run=server", "-n", namespace))
    print(said)
    assert "spec.steps[0].http.url" in said
    assert "spec.steps[1].needs" in said
    assert "spec.steps[2].transform" in said


def test_steps_are_read_through_the_api_server(server, kubectl, kubernetes, namespace):
    kubectl.apply(GOOD, run_of("good", who="world"), flags=("-n", namespace))
    with shop(kubernetes.kubeconfig, namespace) as user:
        user.until("run", "Succeeded", 30)
    answer = kubectl.read(f"namespaces/{namespace}/workflowruns/run/steps")
    print(answer)
    assert [step["state"] for step in answer["steps"]] == ["Succeeded", "Succeeded"]
    print(kubectl.read("pools"))
