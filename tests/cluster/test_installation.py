"""The life of a release: installed, upgraded, rolled back, struck. Runs lose nothing by it, and do nothing twice."""

import json

import pytest
from tests.support.installation import OPERATOR, RUNNERS
from tests.support.ledger import a_run
from tests.support.operator import eventually

SECONDS = 0.3
"""Of each of the three steps of a run in flight."""
WAVE = 40


@pytest.fixture(scope="module")
def order(installation, ledger):
    """A Workflow whose runs take a while and leave two effects each."""
    installation.apply(ledger.workflow("order", SECONDS))
    return "order"


@pytest.fixture
def stream(installation, ledger, order, request):
    """Gives runs to the cluster, and accounts for all of them in the end."""
    names: set[str] = set()
    prefix = request.node.name.removeprefix("test_")[:20].strip("_").replace("_", "-")

    def give(count: int) -> None:
        wave = {f"{prefix}-{len(names) + number}" for number in range(count)}
        installation.create(*(a_run(name, order) for name in sorted(wave)))
        names.update(wave)

    def settle() -> None:
        failed = [run["status"] for run in installation.ended(names) if run["status"]["phase"] != "Succeeded"]
        assert failed == []
        effects = {f"{name}-{effect}" for name in names for effect in ("first", "last")}
        found = {path: times for path, times in ledger.entries().items() if path in effects}
        assert found == dict.fromkeys(effects, 1)

    give.settle = settle
    return give


def ready(installation, selector):
    """Names of the pods that are ready."""
    return {
        pod["metadata"]["name"]
        for pod in installation.pods(selector)
        if {"type": "Ready", "status": "True"}.items()
        <= {
            key: value
            for one in pod["status"].get("conditions", [])
            if one["type"] == "Ready"
            for key, value in one.items()
        }.items()
    }


def generations(installation, selector):
    """Names of the ReplicaSets that the pods are of."""
    return {pod["metadata"]["ownerReferences"][0]["name"] for pod in installation.pods(selector)}


def test_helm_waits_until_two_operators_and_a_runner_are_ready(installation):
    assert len(ready(installation, OPERATOR)) == 2
    assert ready(installation, RUNNERS)


def test_the_test_of_the_chart_passes_and_leaves_nothing_behind(installation):
    assert "Phase:          Succeeded" in installation.helm("test", installation.release, "--timeout", "3m")
    left = installation.kubectl("get", "workflows,workflowruns,pods,roles,serviceaccounts", "--output", "name")
    assert f"{installation.fullname}-test" not in left


def test_a_run_succeeds_from_kubectl_to_a_pod_and_back(stream):
    stream(1)
    stream.settle()


def test_all_pods_run_as_somebody_who_is_not_root_on_a_root_that_cannot_be_written(installation):
    for selector in (OPERATOR, RUNNERS):
        for pod in installation.pods(selector):
            name = pod["metadata"]["name"]
            assert installation.kubectl("exec", name, "--", "id", "-u").strip() == "10001"
            refused = installation.kubectl("exec", name, "--", "touch", "/leat/x", check=False)
            assert "Read-only file system" in refused


def test_a_runner_has_no_token_of_the_cluster_unless_it_is_granted_something(installation):
    for pod in installation.pods(RUNNERS):
        assert "token" not in json.dumps([volume["name"] for volume in pod["spec"]["volumes"]])


def test_no_script_finds_the_credentials_of_its_runner_in_proc(installation):
    look = 'cat /proc/[0-9]*/environ 2>/dev/null | tr "\\0" "\\n" | grep -c LEAT_DATABASE_URL > "$LEAT_OUTPUT" || true'
    steps = [{"name": "look", "script": {"shell": "bash", "run": look}}]
    spec = {"inline": {"steps": steps, "output": "${ steps.look.output }"}}
    installation.create(
        {"apiVersion": "leat.dev/v1alpha1", "kind": "WorkflowRun", "metadata": {"name": "spy"}, "spec": spec}
    )
    (run,) = installation.ended({"spy"})
    assert (run["status"]["phase"], run["status"]["output"]) == ("Succeeded", 0)


ZOMBIES = "grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l"


def test_an_orphan_of_a_script_is_buried(installation):
    installation.within(RUNNERS, "bash", "-c", "(sleep 0.2 & exec true) & wait")
    buried = eventually(
        lambda: installation.within(RUNNERS, "bash", "-c", ZOMBIES).strip() == "0", "no dead process waits"
    )
    assert buried


def test_an_upgrade_with_runs_in_flight_loses_nothing_and_does_nothing_twice(installation, stream):
    images = {
        part: installation.variant(f"leat-{part}", "ENV LEAT_E2E_VERSION=2").rpartition(":")[::2]
        for part in ("operator", "runner")
    }
    before = generations(installation, OPERATOR) | generations(installation, RUNNERS)
    stream(WAVE)
    installation.upgrade({"images": {part: {"repository": name, "tag": tag} for part, (name, tag) in images.items()}})
    stream(WAVE)
    stream.settle()
    eventually(
        lambda: not before & (generations(installation, OPERATOR) | generations(installation, RUNNERS)),
        "no pod of the old version is left",
        120,
        every=0.5,
    )
    for selector in (OPERATOR, RUNNERS):
        assert installation.within(selector, "printenv", "LEAT_E2E_VERSION").strip() == "2"


def test_an_upgrade_brings_the_definitions_up_to_date(installation):
    path = "/spec/versions/0/additionalPrinterColumns"
    installation.kubectl(
        "patch", "crd", "workflows.leat.dev", "--type=json", "--patch", json.dumps([{"op": "remove", "path": path}])
    )
    installation.upgrade()
    (definition,) = installation.get("crd", "workflows.leat.dev")
    assert definition["spec"]["versions"][0]["additionalPrinterColumns"][0]["name"] == "Ready"
    assert f"{installation.fullname}-prepare" not in installation.kubectl(
        "get", "clusterroles,clusterrolebindings,jobs,configmaps,secrets,serviceaccounts", "--output", "name"
    )


def test_a_rollback_with_runs_in_flight_loses_nothing_and_does_nothing_twice(installation, stream):
    installation.upgrade(
        {"operator": {"logLevel": "DEBUG"}, "pools": {"default": {"env": [{"name": "A", "value": "B"}]}}}
    )
    before = generations(installation, OPERATOR)
    stream(WAVE)
    installation.helm("rollback", installation.release, "--wait", "--timeout", "4m")
    stream(WAVE)
    stream.settle()
    assert not before & generations(installation, OPERATOR)


def test_the_operator_that_is_active_dies_and_the_other_goes_on(installation, stream):
    def holder():
        (lease,) = installation.get("lease", "leat-operator")
        return (lease["spec"].get("holderIdentity") or "").partition("_")[0]

    active = eventually(holder, "somebody has the Lease")
    stream(WAVE)
    installation.kubectl("delete", "pod", active, "--grace-period=0", "--force")
    stream(WAVE)
    stream.settle()
    assert eventually(lambda: holder() if holder() != active else None, "another has the Lease")


def test_a_runner_that_is_evicted_finishes_what_it_has_begun(installation, stream):
    stream(WAVE)
    for pod in installation.pods(RUNNERS):
        name = pod["metadata"]["name"]
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
        path = f"/api/v1/namespaces/{installation.namespace}/pods/{name}/eviction"
        installation.kubectl("create", "--raw", path, "--filename", "-", stdin=json.dumps(eviction))
    stream.settle()


def test_a_node_that_is_drained_loses_no_run(installation, stream):
    stream(WAVE)
    before = ready(installation, RUNNERS)
    (node, *_) = {pod["spec"]["nodeName"] for pod in installation.pods(RUNNERS)}
    drain = ("--pod-selector", RUNNERS, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout", "120s")
    try:  # of the node only the runners are driven away: it may be the only one, and others may use it
        installation.kubectl("drain", node, *drain)
    finally:
        installation.kubectl("uncordon", node)
    stream(5)
    stream.settle()
    assert not before & ready(installation, RUNNERS)
