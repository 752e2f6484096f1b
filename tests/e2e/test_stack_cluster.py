"""The API server of the stack serves our resources, and lets the operator do what it may and nothing else."""

import pytest
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from tests.support.stack import GROUP, VERSION, fresh_namespace

WORKFLOW = {
    "apiVersion": f"{GROUP}/{VERSION}",
    "kind": "Workflow",
    "metadata": {"name": "hello"},
    "spec": {"steps": [{"name": "greet", "transform": {"greeting": "hello"}}]},
}


@pytest.fixture
def resources(kubeconfig):
    with config.new_client_from_config(kubeconfig) as api:
        yield client.CustomObjectsApi(api)


@pytest.fixture
def as_operator(operator_kubeconfig):
    with config.new_client_from_config(operator_kubeconfig) as api:
        yield client.CustomObjectsApi(api)


def test_a_workflow_that_is_applied_is_seen_by_the_operator(resources, as_operator, namespace):
    resources.create_namespaced_custom_object(GROUP, VERSION, namespace, "workflows", WORKFLOW)
    found = as_operator.list_cluster_custom_object(GROUP, VERSION, "workflows")["items"]
    assert namespace in {each["metadata"]["namespace"] for each in found}


def test_the_operator_may_not_write_what_users_write(as_operator, namespace):
    with pytest.raises(ApiException) as refused:
        as_operator.create_namespaced_custom_object(GROUP, VERSION, namespace, "workflows", WORKFLOW)
    assert refused.value.status == 403


def test_a_namespace_is_gone_after_its_test(kubernetes):
    with fresh_namespace(kubernetes) as name:
        pass
    with config.new_client_from_config(kubernetes.kubeconfig) as api:
        assert name not in {each.metadata.name for each in client.CoreV1Api(api).list_namespace().items}
