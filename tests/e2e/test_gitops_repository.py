"""The repository that the page on GitOps shows, and what it says about a cluster."""

import asyncio
import json
import subprocess
from pathlib import Path

import aiohttp
import pytest
import yaml
from tests.support.operator import eventually

from leat_engine.spec import parse_run, parse_workflow
from leat_operator.cluster import USER_AGENT, login

CONFIG = Path(__file__).parents[2] / "config"
REPOSITORY = CONFIG / "gitops"
POLICY, PRIORITY = CONFIG / "cluster" / "immutable-runs.yaml", CONFIG / "cluster" / "priority.yaml"
RUN = """
apiVersion: leat.dev/v1alpha1
kind: WorkflowRun
metadata: {name: NAME}
spec:
"""


@pytest.fixture
def kubectl(kubernetes, namespace):
    def call(*arguments, text="", fails=False):
        command = [kubernetes.kubectl, "--kubeconfig", kubernetes.kubeconfig, "--namespace", namespace, *arguments]
        done = subprocess.run(command, check=False, input=text, capture_output=True, text=True, timeout=120)
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout + done.stderr

    return call


@pytest.fixture
def build(kubectl, namespace):
    def build(overlay):
        text = kubectl("kustomize", str(REPOSITORY / "shop" / overlay))
        return text.replace("namespace: shop\n", f"namespace: {namespace}\n")

    return build


@pytest.mark.usefixtures("leat")
@pytest.mark.parametrize("overlay", ["production", "argocd"])
def test_an_overlay_builds_applies_and_its_runs_succeed(overlay, kubectl, build):
    text = build(overlay)
    documents = list(yaml.safe_load_all(text))
    for document in documents:
        (parse_run if document["kind"] == "WorkflowRun" else parse_workflow)(document)
    kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", text=text)
    kubectl("apply", "--server-side", "-f", "-", text=text)
    runs = [document["metadata"]["name"] for document in documents if document["kind"] == "WorkflowRun"]
    assert runs
    for name in runs:
        kubectl("wait", f"workflowrun/{name}", "--for=condition=Succeeded", "--timeout=60s")
    kubectl("diff", "--server-side", "-f", "-", text=text)


def test_what_holds_expressions_is_exempt_from_the_variables_of_flux(build):
    for document in yaml.safe_load_all(build("production")):
        annotations = document["metadata"].get("annotations", {})
        exempt = annotations.get("kustomize.toolkit.fluxcd.io/substitute") == "disabled"
        assert exempt or "${" not in yaml.safe_dump(document)


def test_the_manifests_for_both_tools_name_what_is_in_the_repository():
    (application,) = yaml.safe_load_all((REPOSITORY / "clusters" / "argocd.yaml").read_text())
    source, kustomization = yaml.safe_load_all((REPOSITORY / "clusters" / "flux.yaml").read_text())
    assert (REPOSITORY / application["spec"]["source"]["path"] / "kustomization.yaml").is_file()
    assert (REPOSITORY / kustomization["spec"]["path"] / "kustomization.yaml").is_file()
    assert kustomization["spec"]["sourceRef"]["name"] == source["metadata"]["name"]


@pytest.fixture
def policy(kubectl, namespace):
    """The policy, for this namespace alone: it must not reach into other tests."""
    documents = list(yaml.safe_load_all(POLICY.read_text()))
    name = f"leat-{namespace}"
    for document in documents:
        document["metadata"]["name"] = name
    documents[0]["spec"]["matchConstraints"]["namespaceSelector"] = {
        "matchLabels": {"kubernetes.io/metadata.name": namespace}
    }
    documents[1]["spec"]["policyName"] = name
    kubectl("apply", "-f", "-", text=yaml.safe_dump_all(documents))
    yield name
    kubectl("delete", "-f", "-", text=yaml.safe_dump_all(documents))


@pytest.mark.usefixtures("policy")
def test_the_policy_keeps_the_contents_of_inputs_and_inline_as_they_are(kubectl):
    large = {"text": "x" * 500_000, "nothing": None, "list": [{"a": 1.5}] * 1_000}
    inline = {"steps": [{"name": "a", "transform": {"a": None}}]}
    spec = {"inline": inline, "inputs": large}
    body = {**yaml.safe_load(RUN), "metadata": {"name": "a"}, "spec": spec}
    kubectl("create", "-f", "-", text=json.dumps(body))
    change = json.dumps({"spec": {"inputs": {"text": "y"}}})

    def refused():
        answer = subprocess_text(kubectl, "patch", "wfr", "a", "--type=merge", "-p", change, "--dry-run=server")
        return answer if "spec.inputs of a run is immutable" in answer else None

    eventually(refused, "the API server knows the policy", 60)
    change = json.dumps({"spec": {"inline": {"steps": [{"name": "a", "transform": 2}]}}})
    said = kubectl("patch", "wfr", "a", "--type=merge", "-p", change, fails=True)
    assert "spec.inline of a run is immutable" in said
    kubectl("patch", "wfr", "a", "--type=merge", "-p", json.dumps({"spec": {"suspend": True, "priority": 3}}))
    kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", text=json.dumps(body))
    status = json.dumps({"status": {"phase": "Running"}})
    kubectl("patch", "wfr", "a", "--type=merge", "--subresource=status", "-p", status)


def subprocess_text(kubectl, *arguments):
    try:
        return kubectl(*arguments)
    except AssertionError as error:
        return str(error)


@pytest.fixture
def priority(kubectl):
    kubectl("apply", "--server-side", "-f", str(PRIORITY))
    yield
    kubectl("delete", "-f", str(PRIORITY))


@pytest.mark.usefixtures("priority")
def test_the_operators_requests_and_its_lease_have_their_own_levels(kubectl, operator_kubeconfig, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", operator_kubeconfig)
    schemas = {
        body["metadata"]["uid"]: body["metadata"]["name"]
        for body in json.loads(kubectl("get", "flowschemas", "-o", "json"))["items"]
    }

    async def schema_of(path):
        info = login()
        headers = {**info.as_http_headers(), "User-Agent": USER_AGENT}
        connector = aiohttp.TCPConnector(ssl=info.as_ssl_context())
        async with (
            aiohttp.ClientSession(connector=connector, headers=headers) as session,
            session.get(info.server + path) as answer,
        ):
            return schemas[answer.headers["X-Kubernetes-PF-FlowSchema-UID"]]

    def known():
        found = [asyncio.run(schema_of(path)) for path in paths]
        return found if found == ["leat-operator", "leat-operator-lease"] else None

    paths = [
        "/apis/leat.dev/v1alpha1/workflowruns?limit=1",
        "/apis/coordination.k8s.io/v1/namespaces/leat-system/leases/leat-operator",
    ]
    eventually(known, "the API server sorts requests by the schemas", 60)
