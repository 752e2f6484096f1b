"""What is made for a RunnerPool, and what is said of it, without a cluster."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from leat_engine.errors import Rejected
from leat_engine.pools import Announced, Backlog, Member
from leat_operator.drift import Drift, projected
from leat_operator.eviction import cost
from leat_operator.health import Health, Load, Verdict, numbers, pool_status, verdict
from leat_operator.objects import AUTOSCALERS, DEPLOYMENTS, SCALED_OBJECTS, TRIGGER_AUTHENTICATIONS
from leat_operator.pods import Installation
from leat_operator.pool import Scaler, desire

HERE = Installation("leat-system", "leat-runner:1", "leat-runner", "/")
NOW = datetime(2030, 1, 31, 12, tzinfo=UTC)
GOLDEN = Path(__file__).parent / "golden" / "runnerpool.yaml"


def pool(name="default", generation=1, status=None, **spec):
    metadata = {"name": name, "namespace": "leat-system", "uid": f"uid-{name}", "generation": generation}
    body = {"apiVersion": "leat.dev/v1alpha1", "kind": "RunnerPool", "metadata": metadata, "spec": spec}
    return body | ({} if status is None else {"status": status})


def desired(*, keda=True, **spec):
    return desire(pool(**spec), HERE, keda=keda)


def kinds(found):
    return [resource for resource, _ in found.objects]


def of(found, resource):
    return next(body for kind, body in found.objects if kind == resource)["spec"]


def pod(**spec):
    return desired(**spec).deployment["spec"]["template"]


def variables(**spec):
    return {each["name"]: each.get("value") for each in pod(**spec)["spec"]["containers"][0]["env"]}


def reasons(**spec):
    with pytest.raises(Rejected) as rejected:
        desired(**spec)
    return [str(reason) for reason in rejected.value.reasons]


def test_a_pool_that_says_nothing_gets_the_objects_of_the_golden_file():
    found = [body for _, body in desired().objects]
    assert found == list(yaml.safe_load_all(GOLDEN.read_text()))


def test_with_keda_a_pool_follows_what_waits_and_what_is_held():
    found = desired(replicas={"min": 0, "max": 4}, scaling={"queueLength": 7}, slots=10)
    assert kinds(found) == [DEPLOYMENTS, TRIGGER_AUTHENTICATIONS, SCALED_OBJECTS]
    assert (found.scaler, found.floor, found.initial) == (Scaler.KEDA, 0, 0)
    waiting, held = of(found, SCALED_OBJECTS)["triggers"]
    assert waiting["metadata"]["queueName"] == "leat.leat-system.default"
    assert waiting["metadata"]["value"] == "7"
    assert "r.pool = 'default'" in held["metadata"]["query"]
    assert "(10 * 0.8)" in held["metadata"]["query"]
    assert "replicas" not in of(found, DEPLOYMENTS)


def test_without_keda_an_autoscaler_follows_the_cpu_and_one_runner_stays():
    found = desired(keda=False, replicas={"min": 0, "max": 4})
    assert kinds(found) == [DEPLOYMENTS, AUTOSCALERS]
    assert of(found, AUTOSCALERS)["minReplicas"] == found.floor == 1
    assert "KEDA is not installed" in found.remark
    assert "spec.replicas.min is 0, which needs KEDA: one runner stays" in found.remark


def test_a_named_metric_is_followed_by_an_autoscaler_even_with_keda():
    metric = {"name": "orders", "matchLabels": {"shop": "a"}, "averageValue": "30"}
    found = desired(scaling={"metric": "external", "external": metric})
    (told,) = of(found, AUTOSCALERS)["metrics"]
    assert told["external"]["metric"] == {"name": "orders", "selector": {"matchLabels": {"shop": "a"}}}
    assert told["external"]["target"] == {"type": "AverageValue", "averageValue": "30"}
    assert found.remark == ""


def test_an_autoscaler_that_cannot_know_the_cpu_is_remarked():
    assert (
        "requests.cpu is missing" in desired(scaling={"metric": "cpu"}, resources={"limits": {"memory": "1Gi"}}).remark
    )


def test_a_fixed_number_needs_no_scaler():
    found = desired(replicas={"min": 3, "max": 3})
    assert kinds(found) == [DEPLOYMENTS]
    assert of(found, DEPLOYMENTS)["replicas"] == 3


def test_a_pod_gets_a_token_only_with_a_service_account():
    assert pod()["spec"]["automountServiceAccountToken"] is False
    assert pod(serviceAccountName="steps")["spec"]["automountServiceAccountToken"] is True


def test_what_is_given_for_pods_reaches_them_unchanged():
    given_ = {
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {"x": 1}},
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "d"}}],
        "imagePullSecrets": [{"name": "registry"}],
    }
    more = {"env": [{"name": "X", "value": "1"}], "envFrom": [{"secretRef": {"name": "s"}}]}
    found = pod(**given_, **more, podLabels={"team": "a", "leat.dev/pool": "mine"}, podAnnotations={"a": "b"})
    for name, value in given_.items():
        assert found["spec"][name][: len(value)] == value if isinstance(value, list) else found["spec"][name] == value
    container = found["spec"]["containers"][0]
    assert container["env"][-1] == {"name": "X", "value": "1"}
    assert container["envFrom"] == more["envFrom"]
    assert found["metadata"]["annotations"] == {"a": "b"}
    assert found["metadata"]["labels"]["team"] == "a"
    assert found["metadata"]["labels"]["leat.dev/pool"] == "default"


def test_a_volume_at_tmp_replaces_the_empty_directory():
    found = pod(volumes=[{"name": "big"}], volumeMounts=[{"name": "big", "mountPath": "/tmp/"}])["spec"]  # noqa: S108
    assert found["volumes"] == [{"name": "big"}]
    assert len(found["containers"][0]["volumeMounts"]) == 1


def test_a_runner_is_gone_before_the_kubelet_kills_it():
    assert variables()["LEAT_GRACE"] == "590"
    assert variables(terminationGracePeriodSeconds=4)["LEAT_GRACE"] == "3"


def test_what_the_operator_sets_cannot_be_set():
    assert reasons(env=[{"name": "A"}, {"name": "LEAT_SLOTS", "value": "1"}]) == [
        "spec.env[1].name: LEAT_SLOTS is set by the operator; write spec.slots"
    ]


def test_runners_are_told_where_artifacts_go_and_get_credentials_from_a_secret_alone():
    here = Installation("leat-system", "leat-runner:1", "leat-runner", "/", "s3://bucket/leat", "bucket-keys")
    found = desire(pool(), here, keda=True).deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    by_name = {each["name"]: each for each in found}
    assert by_name["LEAT_ARTIFACTS_URL"]["value"] == "s3://bucket/leat"
    assert by_name["AWS_SECRET_ACCESS_KEY"]["valueFrom"] == {
        "secretKeyRef": {"name": "bucket-keys", "key": "secret-access-key"}
    }
    assert not {"LEAT_ARTIFACTS_URL", "AWS_ACCESS_KEY_ID"} & variables().keys()
    assert "all pools have one store" in reasons(env=[{"name": "LEAT_ARTIFACTS_URL", "value": "x"}])[0]


def test_a_pool_without_an_image_says_who_could_name_one():
    with pytest.raises(Rejected, match=r"spec\.image: is missing, and the installation names none"):
        desire(pool(), Installation("leat-system", None, "s"), keda=True)


def test_the_revision_changes_with_the_pods_alone():
    first = desired()
    assert desired(replicas={"min": 2, "max": 9}).revision == first.revision
    assert desired(functions=["shop.steps"]).revision != first.revision
    assert variables()["LEAT_POOL_REVISION"] == first.revision


FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "replicas": st.tuples(st.integers(0, 5), st.integers(5, 9)).map(lambda pair: {"min": pair[0], "max": pair[1]}),
        "scaling": st.fixed_dictionaries({"metric": st.sampled_from(["queue", "cpu"])}),
        "slots": st.integers(1, 500),
        "functions": st.lists(st.sampled_from(["a", "b.c"]), max_size=2),
        "serviceAccountName": st.just("x"),
        "nodeSelector": st.dictionaries(st.sampled_from("ab"), st.sampled_from("cd"), max_size=2),
    },
)


@given(FIELDS, st.booleans())
def test_the_same_pool_always_gives_the_same_objects_and_never_fewer_runners_than_asked(spec, keda):
    first, second = desired(keda=keda, **spec), desired(keda=keda, **spec)
    assert first == second
    least = spec.get("replicas", {"min": 1})["min"]
    assert first.floor >= (least if first.scaler is not Scaler.AUTOSCALER else max(least, 1))
    assert first.initial >= least
    assert len({body["metadata"]["name"] for _, body in first.objects}) == 1
    assert {body["metadata"]["ownerReferences"][0]["uid"] for _, body in first.objects} == {"uid-default"}


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text(max_size=3), JSON, max_size=4)


@given(OBJECTS, OBJECTS)
def test_what_was_applied_and_answered_is_not_applied_again(asked, more):
    drift, answer = Drift(), {**more, **asked}
    assert drift.differs("x", asked, answer)
    drift.applied("x", asked, answer)
    assert not drift.differs("x", asked, answer)
    assert not drift.differs("x", asked, {**answer, "of others": 1})
    assert drift.differs("x", {**asked, "new": 1}, answer)
    drift.forget("x")
    assert drift.differs("x", asked, answer)


@given(OBJECTS)
def test_what_was_asked_for_is_all_of_itself(asked):
    assert projected(asked, asked) == asked


def test_a_change_by_somebody_else_is_seen_and_defaults_are_not():
    asked = {"kind": "Deployment", "spec": {"containers": [{"name": "a", "cpu": "1000m"}]}}  # lists name no kind
    answer = {"spec": {"containers": [{"name": "a", "cpu": "1", "policy": "Always"}]}, "status": {}}
    drift = Drift()
    drift.applied("x", asked, answer)
    assert not drift.differs("x", asked, {**answer, "status": {"ready": 1}})
    assert drift.differs("x", asked, {"spec": {"containers": [{"name": "a", "cpu": "2", "policy": "Always"}]}})


def deployment(*, replicas=1, ready=None, updated=None, total=None, observed=1, conditions=()):
    ready = replicas if ready is None else ready
    counted = {"readyReplicas": ready, "updatedReplicas": replicas if updated is None else updated}
    counted["replicas"] = counted["updatedReplicas"] if total is None else total
    status = {"observedGeneration": observed, "conditions": list(conditions), **counted}
    return {"metadata": {"generation": 1}, "spec": {"replicas": replicas}, "status": status}


LATE = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "too slow"}
QUOTA = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"}


@pytest.mark.parametrize(
    ("shown", "health"),
    [
        (None, Health.STARTING),
        (deployment(), Health.READY),
        (deployment(observed=0), Health.ROLLING_OUT),
        (deployment(replicas=0), Health.AT_REST),
        (deployment(replicas=2, ready=0), Health.STARTING),
        (deployment(replicas=2, updated=1, total=3), Health.ROLLING_OUT),
        (deployment(replicas=5, ready=1), Health.READY),  # it grows: one is the least that it must have
        (deployment(replicas=1, ready=0, conditions=[LATE]), Health.NOT_STARTING),
        (deployment(replicas=1, ready=0, updated=0, conditions=[QUOTA]), Health.NOT_STARTING),
        (deployment(replicas=5, ready=1, conditions=[QUOTA]), Health.READY),
    ],
)
def test_how_a_pool_is(shown, health):
    assert verdict(desired(), shown).health is health


def test_what_keeps_pods_from_starting_is_said_once():
    waiting = {"reason": "ImagePullBackOff", "message": "no such image"}
    stuck = {"status": {"containerStatuses": [{"name": "runner", "state": {"waiting": waiting}}]}}
    unscheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
    message = verdict(desired(), deployment(ready=0), [stuck, stuck, {"status": {"conditions": [unscheduled]}}]).message
    assert message.count("ImagePullBackOff") == 1
    assert "container runner: ImagePullBackOff: no such image" in message
    assert "Unschedulable: 0/3 nodes" in message


def conditions(status):
    return {each["type"]: each["status"] for each in status["conditions"]}


@pytest.mark.parametrize("health", Health)
def test_exactly_one_condition_holds_and_all_speak_of_the_spec_that_was_seen(health):
    status = pool_status(pool(generation=7), Verdict(health, "m"), {}, NOW)
    assert sorted(conditions(status).values()) == ["False", "False", "True"]
    assert {each["observedGeneration"] for each in status["conditions"]} == {status["observedGeneration"]} == {7}
    assert {each["reason"] for each in status["conditions"]} == {health.value}


@given(st.sampled_from(list(Health)), st.sampled_from(list(Health)), st.dictionaries(st.just("busy"), st.integers()))
def test_telling_a_status_that_is_told_changes_nothing(first, second, counted):
    shown = pool_status(pool(), Verdict(first, "m"), counted, NOW)
    later = NOW.replace(hour=13)
    assert pool_status(pool(status=shown), Verdict(first, "m"), counted, later) == shown
    again = pool_status(pool(status=shown), Verdict(second, "m"), counted, later)
    for old, new in zip(shown["conditions"], again["conditions"], strict=True):
        assert (old["lastTransitionTime"] == new["lastTransitionTime"]) == (old["status"] == new["status"])


def member(busy=0, held=None, *, slots=10, draining=False, name="a", of_pool="default"):
    return Member(name, of_pool, slots, busy, draining, NOW, held)


def test_the_numbers_are_the_stores_and_the_deployments():
    known = {"default": Announced("default", "r", frozenset({"http"}), frozenset({"b", "a"}), 10, NOW)}
    members = [member(3, 1.0), member(2, 1.0, draining=True), member(9, of_pool="gpu")]
    load = Load(members, {"default": Backlog(7, 1.5)}, known)
    assert numbers(pool(), desired(), deployment(replicas=2, ready=1), load) == {
        "ready": 1,
        "desired": 2,
        "busy": 5,
        "slots": 10,
        "backlog": 7,
        "kinds": ["http"],
        "functions": ["a", "b"],
        "image": "leat-runner:1",
    }


def test_what_the_store_said_stays_while_it_is_away():
    shown = {"busy": 3, "backlog": 4, "functions": ["a"]}
    found = numbers(pool(status=shown), desired(), deployment(), None)
    assert {key: found[key] for key in shown} == shown


@given(st.integers(0, 10), st.one_of(st.none(), st.floats(0, 10_000)))
def test_idle_runners_go_first_and_costs_have_few_classes(busy, held):
    found = cost(member(busy, held))
    assert (found == 0) == (busy == 0 and held is None)
    assert found <= 210
    if held is not None:
        assert cost(member(busy, held + 5)) >= found
