"""RunnerPools against a real API server and a real store. There is no controller manager: tests are it."""

import asyncio
import subprocess
from pathlib import Path

import pytest
from kubernetes import client, config
from tests.support.operator import eventually, shop, started
from tests.support.samples import FOLDER

from leat_engine.pools import Ability
from leat_operator.cluster import Cluster
from leat_operator.health import numbers
from leat_operator.inbox import Inbox
from leat_operator.metrics import API_WRITES
from leat_operator.objects import (
    AUTOSCALERS,
    DEPLOYMENTS,
    PODS,
    POOLS,
    SCALED_OBJECTS,
    TRIGGER_AUTHENTICATIONS,
    Resource,
)
from leat_operator.patch import Patcher
from leat_operator.pods import Installation
from leat_operator.pools import Pools

KEDA = Path(__file__).parents[1] / "support" / "keda.yaml"
NAME = "leat-pool-default"


@pytest.fixture
async def cluster(kubeconfig, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", kubeconfig)
    async with Cluster() as connected:
        yield connected


@pytest.fixture
def installation(namespace):
    return Installation(namespace, "leat-runner:1", "leat-runner")


@pytest.fixture
def make(cluster, store):
    def a_room(installation):
        return Pools(cluster, store, Patcher(cluster, rate=1000, in_flight=8), Inbox(), installation)

    return a_room


@pytest.fixture
async def pools(make, installation):
    return make(installation)


@pytest.fixture
def keda(kubernetes):
    """KEDA's resources, for the time of one test."""

    def kubectl(*arguments, check=True):
        command = [kubernetes.kubectl, "--kubeconfig", kubernetes.kubeconfig, *arguments]
        return subprocess.run(command, check=check, capture_output=True).returncode == 0

    kubectl("apply", "-f", str(KEDA))
    for kind in ("scaledobjects.keda.sh", "triggerauthentications.keda.sh"):
        eventually(lambda kind=kind: kubectl("get", kind, check=False), f"{kind} are served")
    yield
    kubectl("delete", "-f", str(KEDA))


def create(user, name="default", **spec):
    return user.apply({"kind": "RunnerPool", "metadata": {"name": name}, "spec": spec})


def status(user, name="default"):
    return user.status(name, "runnerpools")


def holding(shown):
    """The reason, and the one condition that holds."""
    (found,) = [each for each in shown["conditions"] if each["status"] == "True"]
    return found["reason"], found["type"]


def ready(shown):
    return next(each for each in shown["conditions"] if each["type"] == "Ready")


def writes():
    """Requests that wrote, by resource and verb, in this process so far."""
    samples = [sample for metric in API_WRITES.collect() for sample in metric.samples]
    return {tuple(sample.labels.values()): sample.value for sample in samples if sample.name.endswith("_total")}


class Controllers:
    """What a cluster's controllers do with a pool's Deployment."""

    def __init__(self, api, namespace):
        self.apps = client.AppsV1Api(api)
        self.namespace = namespace

    def run_pods(self, replicas=1):
        generation = self.apps.read_namespaced_deployment(NAME, self.namespace).metadata.generation
        counted = dict.fromkeys(("replicas", "readyReplicas", "availableReplicas", "updatedReplicas"), replicas)
        body = {"status": {"observedGeneration": generation, **counted}}
        self.apps.patch_namespaced_deployment_status(NAME, self.namespace, body)

    def scale(self, replicas):
        body = {"spec": {"replicas": replicas}}
        self.apps.patch_namespaced_deployment_scale(NAME, self.namespace, body)


@pytest.fixture
def controllers(kubeconfig, namespace):
    with config.new_client_from_config(kubeconfig) as api:
        yield Controllers(api, namespace)


async def test_a_pool_becomes_a_deployment_and_an_autoscaler_and_is_ready_when_its_pods_are(
    pools, cluster, user, controllers
):
    namespace = controllers.namespace
    created = create(user)
    assert not await pools.round()
    made = await cluster.get(DEPLOYMENTS, namespace, NAME)
    assert made["metadata"]["ownerReferences"][0]["uid"] == created["metadata"]["uid"]
    assert (await cluster.get(AUTOSCALERS, namespace, NAME))["spec"]["maxReplicas"] == 10
    assert holding(status(user)) == ("RollingOut", "Reconciling")
    controllers.run_pods()
    assert await pools.round()
    shown = status(user)
    assert holding(shown) == ("Ready", "Ready")
    assert "KEDA is not installed" in ready(shown)["message"]
    assert (shown["ready"], shown["desired"], shown["busy"], shown["backlog"]) == (1, 1, 0, 0)
    assert shown["image"] == "leat-runner:1"
    assert "finalizers" not in user.get("default", "runnerpools")["metadata"]


@pytest.mark.usefixtures("keda")
async def test_a_round_over_its_own_result_writes_nothing(make, installation, cluster, user, controllers):
    namespace, pools = installation.namespace, make(installation)
    create(user, resources={"requests": {"cpu": "1000m", "memory": "0.5Gi"}}, replicas={"min": 0, "max": 3})
    await pools.round()
    controllers.run_pods(0)
    await pools.round()
    kinds = (DEPLOYMENTS, SCALED_OBJECTS, TRIGGER_AUTHENTICATIONS, POOLS)
    names = (NAME, NAME, NAME, "default")

    async def versions():
        found = [await cluster.get(kind, namespace, name) for kind, name in zip(kinds, names, strict=True)]
        return [body["metadata"]["resourceVersion"] for body in found]

    before, written = await versions(), writes()
    for _ in range(3):
        assert await pools.round()
    assert writes() == written
    await make(installation).round()  # an operator that has just started
    assert await versions() == before


@pytest.mark.usefixtures("keda")
async def test_with_keda_a_pool_begins_at_its_minimum_and_leaves_the_number_to_it(pools, cluster, user, controllers):
    namespace = controllers.namespace
    create(user, replicas={"min": 0, "max": 3})
    await pools.round()
    made = await cluster.get(DEPLOYMENTS, namespace, NAME)
    assert made["spec"]["replicas"] == 0
    scaled = await cluster.get(SCALED_OBJECTS, namespace, NAME)
    assert [trigger["type"] for trigger in scaled["spec"]["triggers"]] == ["rabbitmq", "postgresql"]
    controllers.scale(3)
    user.patch("default", {"spec": {"slots": 7}}, "runnerpools")
    await pools.round()
    after = await cluster.get(DEPLOYMENTS, namespace, NAME)
    assert after["spec"]["replicas"] == 3
    assert {"name": "LEAT_SLOTS", "value": "7"} in after["spec"]["template"]["spec"]["containers"][0]["env"]
    assert await cluster.get(AUTOSCALERS, namespace, NAME) is None


@pytest.mark.usefixtures("keda")
async def test_changing_the_way_of_scaling_removes_the_other_scaler(pools, cluster, user, controllers):
    namespace = controllers.namespace

    async def scalers():
        kinds = (SCALED_OBJECTS, TRIGGER_AUTHENTICATIONS, AUTOSCALERS)
        return [kind.plural for kind in kinds if await cluster.get(kind, namespace, NAME)]

    create(user)
    await pools.round()
    assert await scalers() == ["scaledobjects", "triggerauthentications"]
    controllers.scale(4)
    user.patch("default", {"spec": {"scaling": {"metric": "cpu"}}}, "runnerpools")
    await pools.round()
    assert await scalers() == ["horizontalpodautoscalers"]
    user.patch("default", {"spec": {"replicas": {"min": 2, "max": 2}}}, "runnerpools")
    await pools.round()
    assert await scalers() == []
    assert (await cluster.get(DEPLOYMENTS, namespace, NAME))["spec"]["replicas"] == 2
    user.patch("default", {"spec": {"replicas": {"max": 5}, "scaling": {"metric": "queue"}}}, "runnerpools")
    await pools.round()
    assert await scalers() == ["scaledobjects", "triggerauthentications"]
    assert (await cluster.get(DEPLOYMENTS, namespace, NAME))["spec"]["replicas"] == 2  # until KEDA says otherwise


async def test_what_somebody_changes_in_the_deployment_is_put_right_and_what_is_not_ours_stays(
    pools, cluster, user, controllers
):
    namespace = controllers.namespace
    create(user, nodeSelector={"disk": "ssd"})
    await pools.round()
    change = {
        "metadata": {"annotations": {"note": "mine"}},
        "spec": {"template": {"spec": {"containers": [{"name": "runner", "image": "evil:1"}]}}},
    }
    controllers.apps.patch_namespaced_deployment(NAME, namespace, change)
    user.patch("default", {"spec": {"nodeSelector": None}}, "runnerpools")
    await pools.round()
    found = await cluster.get(DEPLOYMENTS, namespace, NAME)
    assert found["spec"]["template"]["spec"]["containers"][0]["image"] == "leat-runner:1"
    assert "nodeSelector" not in found["spec"]["template"]["spec"]
    assert found["metadata"]["annotations"]["note"] == "mine"


async def test_what_the_api_server_refuses_is_said_in_its_words_and_heals_by_itself(pools, cluster, user, namespace):
    create(user, tolerations=[{"key": "a", "operator": "Perhaps"}])
    assert await pools.round()
    shown = status(user)
    assert holding(shown) == ("Invalid", "Stalled")
    assert "tolerations[0].operator" in ready(shown)["message"]
    user.patch("default", {"spec": {"tolerations": [{"key": "a", "operator": "Exists"}]}}, "runnerpools")
    await pools.round()
    assert holding(status(user)) == ("RollingOut", "Reconciling")
    assert status(user)["observedGeneration"] == 2
    assert await cluster.get(DEPLOYMENTS, namespace, NAME)


async def test_a_deployment_of_somebody_else_is_not_taken_over(pools, cluster, user, namespace):
    other = {"matchLabels": {"app": "other"}}
    container = {"name": "runner", "image": "other:1"}
    await cluster.create(DEPLOYMENTS, namespace, {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": NAME},
        "spec": {"selector": other, "template": {"metadata": {"labels": other["matchLabels"]},
                                                 "spec": {"containers": [container]}}},
    })  # fmt: skip
    create(user)
    await pools.round()
    assert holding(status(user)) == ("Invalid", "Stalled")
    found = await cluster.get(DEPLOYMENTS, namespace, NAME)
    assert found["spec"]["template"]["spec"]["containers"][0]["image"] == "other:1"


async def test_a_mistake_is_answered_by_kubectl_apply_where_the_api_server_can_know_it(user):
    for spec, message in [
        ({"replicas": {"min": 3, "max": 2}}, "expected `min` to be at most `max`"),
        ({"replicas": {"max": 0}}, "greater than or equal to 1"),
        ({"scaling": {"metric": "external"}}, "expected `external` with `metric: external`"),
        ({"slots": 0}, "greater than or equal to 1"),
    ]:
        with pytest.raises(client.exceptions.ApiException, match=message):
            create(user, **spec)
    with pytest.raises(client.exceptions.ApiException, match="the name of a pool has at most 40"):
        create(user, "a.b")


async def test_a_pool_shows_what_its_runners_hold_and_announced(pools, user, store):
    create(user, "busy")
    runner = await store.register("r", "busy", 10, Ability(("function",), ("add",)))
    await store.heartbeat(runner, 4, 1.0)
    await pools.round()
    shown = status(user, "busy")
    assert (shown["busy"], shown["slots"], shown["kinds"], shown["functions"]) == (4, 10, ["function"], ["add"])
    await store.retire(runner)


async def test_idle_runners_are_told_to_go_first(pools, cluster, user, store, namespace):
    create(user)
    container = {"name": "runner", "image": "x"}
    labels = {"leat.dev/pool": "default"}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    await cluster.create(Resource("", "v1", "serviceaccounts"), namespace, account)
    for name in ("idle", "working"):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels},
               "spec": {"containers": [container], "automountServiceAccountToken": False}}  # fmt: skip
        await cluster.create(PODS, namespace, pod)
    idle, working = [await store.register(name, "default", 10) for name in ("idle", "working")]
    await store.heartbeat(working, 4, 90.0)
    await pools.round()

    async def costs():
        found = [await cluster.get(PODS, namespace, name) for name in ("idle", "working")]
        key = "controller.kubernetes.io/pod-deletion-cost"
        return [(pod["metadata"].get("annotations") or {}).get(key) for pod in found]

    assert await costs() == [None, "205"]
    for runner in (idle, working):
        await store.retire(runner)


async def test_a_defect_that_one_pool_meets_stops_neither_the_others_nor_the_room(pools, user, monkeypatch):
    def counted(body, *others):
        return 1 / 0 if body["metadata"]["name"] == "bad" else numbers(body, *others)

    monkeypatch.setattr("leat_operator.pools.numbers", counted)
    create(user, "bad")
    create(user, "good")
    await pools.round()
    assert (status(user, "good")["ready"], status(user, "good")["desired"]) == (0, 1)
    assert holding(status(user, "bad")) == ("Invalid", "Stalled")
    assert "a defect of the operator, ZeroDivisionError" in ready(status(user, "bad"))["message"]


async def test_the_room_goes_on_after_a_round_that_met_a_defect(pools, user, monkeypatch):
    again, met = asyncio.Event(), []

    async def broken(_costs, members):
        met.append(members)
        if len(met) > 1:
            again.set()
        raise ZeroDivisionError

    monkeypatch.setattr("leat_operator.eviction.Costs.tell", broken)
    create(user)
    room = asyncio.create_task(pools.run())
    try:
        await asyncio.wait_for(again.wait(), 30)
        assert status(user)["desired"] == 1
        assert not room.done()
    finally:
        room.cancel()


# -- with the operator's process -------------------------------------------------------------------------------------


@pytest.fixture
def environment(database, amqp_url, kubeconfig, namespace):
    return {
        "KUBECONFIG": kubeconfig,
        "LEAT_DATABASE_URL": database,
        "LEAT_AMQP_URL": amqp_url,
        "LEAT_NAMESPACE": namespace,
        "LEAT_RUNNER_IMAGE": "leat-runner:1",
        "LEAT_WORKFLOW_GRACE": "60",
    }


def operating(environment, folder):
    return started("leat_operator", environment, folder)


def test_pools_of_the_operators_namespace_are_made_and_others_are_told_where_they_belong(
    environment, tmp_path, user, kubeconfig, namespace
):
    with operating(environment, tmp_path), shop(kubeconfig, "default") as elsewhere:
        create(user)
        create(elsewhere, f"stray-{namespace}")
        try:
            assert holding(eventually(lambda: status(user), "the pool has a status", 40)) == (
                "RollingOut",
                "Reconciling",
            )
            stray = eventually(lambda: status(elsewhere, f"stray-{namespace}"), "the other one too")
            assert holding(stray) == ("NotInInstallation", "Stalled")
            assert namespace in ready(stray)["message"]
        finally:
            elsewhere.delete(f"stray-{namespace}", "runnerpools")


def test_an_operator_that_serves_another_namespace_makes_the_pools_of_its_own(environment, tmp_path, user):
    with operating({**environment, "LEAT_WATCH_NAMESPACES": "default"}, tmp_path):
        create(user)
        eventually(lambda: status(user), "the pool has a status", 40)


def test_the_operators_own_rights_are_enough(environment, tmp_path, operator_kubeconfig, kubeconfig, namespace):
    environment = {**environment, "KUBECONFIG": operator_kubeconfig, "LEAT_NAMESPACE": "leat-system"}
    name = f"own-{namespace}"
    with operating(environment, tmp_path), shop(kubeconfig, "leat-system") as user:
        create(user, name, replicas={"min": 0, "max": 2})
        try:
            shown = eventually(lambda: status(user, name), "the pool has a status", 40)
            assert holding(shown) == ("RollingOut", "Reconciling"), shown
        finally:
            user.delete(name, "runnerpools")
            with config.new_client_from_config(kubeconfig) as api:
                client.AppsV1Api(api).delete_namespaced_deployment(f"leat-pool-{name}", "leat-system")
                client.AutoscalingV2Api(api).delete_namespaced_horizontal_pod_autoscaler(
                    f"leat-pool-{name}", "leat-system"
                )


def test_a_run_waits_for_a_pool_that_cannot_run_it_and_starts_when_it_can(environment, tmp_path, user):
    step = {"name": "sum", "function": {"name": "add_up", "with": {"numbers": [1, 2]}}}

    def ready_reason():
        found = status_of("sums").get("conditions", ())
        return next((each["reason"] for each in found if each["type"] == "Ready"), None)

    def status_of(name):
        return user.status(name, "workflows")

    (tmp_path / "able.py").write_text("import leat\n\n\n@leat.step\ndef add_up(numbers):\n    return sum(numbers)\n")
    old = {**environment, "LEAT_FUNCTIONS": str(FOLDER / "functions.py")}
    with operating(environment, tmp_path):
        user.workflow("sums", {**step, "function": {**step["function"], "name": "nobody-knows"}})
        eventually(lambda: ready_reason() == "Compiled", "the pool is not known, so nothing is against it", 40)
        with started("leat_runner", old, tmp_path):
            eventually(lambda: ready_reason() == "PoolCannotRun", "the pool has announced what it can do")
            user.patch("sums", {"spec": {"steps": [step]}}, "workflows")
            eventually(lambda: status_of("sums")["observedGeneration"] == 2, "the new spec is judged")
            assert ready_reason() == "PoolCannotRun"
            assert "there is no function 'add_up'" in ready(status_of("sums"))["message"]
            user.run("sums-1", "sums")
            waiting = user.until("sums-1", "Pending")
            assert {each["reason"] for each in waiting["conditions"]} == {"PoolCannotRun"}
            assert "spec.steps[0].function.name" in waiting["message"]
        with started("leat_runner", {**environment, "LEAT_FUNCTIONS": str(tmp_path / "able.py")}, tmp_path):
            user.until("sums-1", "Succeeded", 40)
            eventually(lambda: ready_reason() == "Compiled", "the workflow is ready")
