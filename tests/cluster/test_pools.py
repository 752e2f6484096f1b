"""Pools on a real cluster: from nothing to several runners and back, with KEDA, and no step lost on the way."""

import json
import time

import pytest
from tests.support.ledger import a_run
from tests.support.operator import eventually

POOL = "burst"
SELECTOR = f"leat.dev/pool={POOL}"
SCALING = {"queueLength": 5, "pollingIntervalSeconds": 2, "cooldownSeconds": 20, "stabilizationSeconds": 15}
WAVE = 60
SECONDS = 2.0
"""Of each of the three steps of a run. A runner has four slots, so that the wave keeps several busy for a while."""

LONG = 45.0
"""Of a step that outlives the scaling down."""


def pool(**spec):
    fields = {"replicas": {"min": 0, "max": 4}, "slots": 4, "cpuSlots": 4, "scaling": SCALING, **spec}
    fields["terminationGracePeriodSeconds"] = 120
    return {"apiVersion": "leat.dev/v1alpha1", "kind": "RunnerPool", "metadata": {"name": POOL}, "spec": fields}


def with_pool(workflow):
    return {**workflow, "spec": {**workflow["spec"], "pool": POOL}}


def settled(installation):
    """The status of the pool, when it speaks of its newest spec and nothing is under way."""
    (body,) = installation.get("runnerpool", POOL)
    status = body.get("status", {})
    conditions = {each["type"]: each for each in status.get("conditions", ())}
    good = conditions.get("Ready", {}).get("status") == "True"
    return status if good and status.get("observedGeneration") == body["metadata"]["generation"] else None


def reason(status):
    return next(each["reason"] for each in status["conditions"] if each["type"] == "Ready")


def running(installation):
    """Pods of the pool that are there, those that are about to go as well."""
    return installation.get("pods", "-l", SELECTOR)


@pytest.fixture
def burst(installation):
    """A pool that rests at zero."""
    if "scaledobjects.keda.sh" not in installation.kubectl("get", "crds", "--output", "name"):
        pytest.skip("KEDA is not installed in this cluster: see its documentation, or `docs/operations/scaling.md`")
    installation.apply(pool(**_image(installation)), namespace=installation.namespace)
    eventually(lambda: settled(installation), "the pool is settled", 120, every=0.5)
    yield POOL
    installation.kubectl("delete", "runnerpool", POOL, "--wait=false")
    eventually(lambda: not running(installation), "the garbage collector has removed the pool", 180, every=0.5)


@pytest.mark.usefixtures("burst")
def test_a_pool_grows_from_zero_with_its_queue_and_goes_back_without_killing_a_step(installation, ledger):
    assert reason(settled(installation)) == "AtRest"
    assert running(installation) == []
    installation.apply(with_pool(ledger.workflow("wave", SECONDS)), with_pool(ledger.workflow("long", LONG)))
    wave, long = {f"wave-{number}" for number in range(WAVE)}, {"long-0"}
    began = time.monotonic()
    installation.create(*(a_run(name, "wave") for name in sorted(wave)), a_run("long-0", "long"))

    def figure(what):
        print(f"{what}: {time.monotonic() - began:.1f} s")  # noqa: T201 (pytest -s shows them)

    eventually(lambda: any(path.startswith("wave") for path in ledger.entries()), "the first step runs", 120, every=0.5)
    figure("queue filled to first step running")
    eventually(lambda: len(running(installation)) >= 3, "there are several runners", 120, every=0.5)
    figure("queue filled to three runners")
    ended = installation.ended(wave, 300)
    figure("the wave is over")
    assert [run["status"] for run in ended if run["status"]["phase"] != "Succeeded"] == []
    eventually(lambda: len(installation.pods(SELECTOR)) == 1, "all but the busy one are gone", 180, every=0.5)
    figure("back to the runner that holds a long step")
    assert installation.ended(long, 300)[0]["status"]["phase"] == "Succeeded"
    figure("the long run is over")
    eventually(lambda: not running(installation), "the pool is at rest", 180, every=0.5)
    figure("back to zero")
    effects = {f"{name}-{effect}" for name in wave | long for effect in ("first", "last")}
    assert {path: times for path, times in ledger.entries().items() if path in effects} == dict.fromkeys(effects, 1)
    status = eventually(
        lambda: (found := settled(installation)) and found["ready"] == 0 and found, "it is told", 60, every=0.5
    )
    assert (status["desired"], status["busy"], status["backlog"]) == (0, 0, 0)


@pytest.mark.usefixtures("burst")
def test_a_pod_that_is_evicted_finishes_its_steps(installation, ledger):
    installation.apply(pool(replicas={"min": 1, "max": 1}, **_image(installation)), namespace=installation.namespace)
    eventually(lambda: (found := settled(installation)) and found["ready"] == 1, "a runner is ready", 120, every=0.5)
    installation.apply(with_pool(ledger.workflow("evicted", 10.0)))
    installation.create(a_run("evicted-0", "evicted"))
    eventually(lambda: ledger.entries()["evicted-0-first"] == 1, "its first step runs", 60, every=0.5)
    (body,) = installation.pods(SELECTOR)
    name, namespace = body["metadata"]["name"], installation.namespace
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace}}
    installation.kubectl(
        *("create", "--raw", f"/api/v1/namespaces/{namespace}/pods/{name}/eviction", "--filename", "-"),
        stdin=json.dumps(eviction),
    )
    (run,) = installation.ended({"evicted-0"}, 120)
    assert run["status"]["phase"] == "Succeeded"
    assert {path: ledger.entries()[path] for path in ("evicted-0-first", "evicted-0-last")} == {
        "evicted-0-first": 1,
        "evicted-0-last": 1,
    }


@pytest.mark.usefixtures("burst")
def test_a_new_spec_is_rolled_out_before_old_runners_go(installation, ledger):
    fixed = {"replicas": {"min": 2, "max": 2}, **_image(installation)}
    installation.apply(pool(**fixed), namespace=installation.namespace)
    eventually(
        lambda: (found := settled(installation)) and found["ready"] == 2, "two runners are ready", 120, every=0.5
    )
    installation.apply(with_pool(ledger.workflow("rolled", 5.0)))
    installation.create(*(a_run(f"rolled-{number}", "rolled") for number in range(6)))
    before = {body["metadata"]["name"] for body in installation.pods(SELECTOR)}
    installation.apply(
        pool(**fixed, env=[{"name": "LEAT_LOG_LEVEL", "value": "DEBUG"}]), namespace=installation.namespace
    )

    def replaced():
        names = {body["metadata"]["name"] for body in installation.pods(SELECTOR)}
        return settled(installation) and len(names) == 2 and not names & before

    eventually(replaced, "both runners are of the new spec", 180, every=0.5)
    names = {f"rolled-{number}" for number in range(6)}
    assert {run["status"]["phase"] for run in installation.ended(names, 120)} == {"Succeeded"}
    effects = {f"{name}-{effect}" for name in names for effect in ("first", "last")}
    assert {path: times for path, times in ledger.entries().items() if path in effects} == dict.fromkeys(effects, 1)


@pytest.mark.usefixtures("burst")
def test_a_pool_whose_image_is_not_there_says_so(installation):
    installation.apply(
        pool(replicas={"min": 1, "max": 1}, image="leat-runner:nowhere", imagePullPolicy="Never"),
        namespace=installation.namespace,
    )

    def message():
        (body,) = installation.get("runnerpool", POOL)
        return next((c["message"] for c in body["status"]["conditions"] if "ErrImageNeverPull" in c["message"]), None)

    assert "leat-runner:nowhere" in eventually(message, "the status says why", 60, every=0.5)


def _image(installation):
    (default,) = installation.get("runnerpool", "default")
    return {key: default["spec"][key] for key in ("image", "imagePullPolicy") if key in default["spec"]}
