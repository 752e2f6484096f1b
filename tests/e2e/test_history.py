"""Finished resources go by their ttl and their Workflow's limits, and nothing else does."""

import asyncio
from contextlib import contextmanager

import pytest
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from tests.support.operator import DEADLINE, eventually, started

from leat_engine.result import Phase
from leat_engine.store import Store

GREET = {"name": "greet", "transform": "hello"}
NO = {"name": "no", "fail": {"message": "no"}}


@pytest.fixture
def environment(environment):
    return environment | {"LEAT_HISTORY_INTERVAL": "0.5"}


@pytest.fixture
def operator(environment, tmp_path):
    with started("leat_runner", environment, tmp_path), active(environment, tmp_path) as process:
        yield process


@contextmanager
def active(environment, folder):
    """An operator, as soon as it holds the Lease: one that was killed before holds it for a while."""
    with started("leat_operator", environment, folder) as process:
        eventually(lambda: process.ready and process.metric("leat_operator_active") == 1, "it is active", 40)
        yield process


@contextmanager
def a_policy_that_keeps(name, kubeconfig, namespace):
    """A ValidatingAdmissionPolicy of the cluster that lets nobody delete one of the namespace's runs."""
    rule = {"apiGroups": ["leat.dev"], "apiVersions": ["*"], "resources": ["workflowruns"], "operations": ["DELETE"]}
    places = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    with config.new_client_from_config(kubeconfig) as api:
        policies, runs = client.AdmissionregistrationV1Api(api), client.CustomObjectsApi(api)
        policies.create_validating_admission_policy({
            "metadata": {"name": namespace},
            "spec": {
                "matchConstraints": {"resourceRules": [rule], "namespaceSelector": places},
                "validations": [{"expression": f"oldObject.metadata.name != '{name}'", "message": "it is kept"}],
            },
        })  # fmt: skip
        policies.create_validating_admission_policy_binding(
            {"metadata": {"name": namespace}, "spec": {"policyName": namespace, "validationActions": ["Deny"]}}
        )

        def holds():
            try:
                runs.delete_namespaced_custom_object(
                    "leat.dev", "v1alpha1", namespace, "workflowruns", name, dry_run="All"
                )
            except ApiException as error:
                return "it is kept" in error.body
            return False

        try:
            eventually(holds, "the policy holds", every=0.1)
            yield
        finally:
            policies.delete_validating_admission_policy_binding(namespace)
            policies.delete_validating_admission_policy(namespace)


def left(user):
    return sorted(body["metadata"]["name"] for body in user.runs())


def phases_in_the_store(dsn, namespace):
    async def ask():
        store = await Store.connect(dsn, size=1)
        try:
            return {run.name: run.phase for run in await store.shown.runs(namespace, 100)}
        finally:
            await store.close()

    return asyncio.run(ask())


def test_a_finished_run_goes_when_its_time_is_over_for_one_write_and_stays_in_the_store(
    operator, user, postgres_dsn, namespace
):
    user.workflow("hello", GREET)
    user.run("kept", "hello")
    user.run("short", "hello", ttlSecondsAfterFinished=0)
    user.run("long", "hello", ttlSecondsAfterFinished=3600)
    for name in ("kept", "long"):
        user.until(name, "Succeeded")
    eventually(lambda: left(user) == ["kept", "long"], "the one whose time is over is gone")
    eventually(lambda: operator.metric("leat_operator_runs_tidied_total", rule="ttl") == 1, "it is counted")
    assert operator.metric("leat_operator_api_writes_total", resource="workflowruns", verb="delete") == 1
    assert operator.metric("leat_operator_runs_deleted_total") == 0  # of runs that are cancelled by a deletion
    assert phases_in_the_store(postgres_dsn, namespace)["short"] is Phase.SUCCEEDED


def test_only_the_newest_are_kept_of_each_kind_of_end_and_a_rejected_run_counts_as_failed(operator, user):
    user.workflow("good", GREET, history={"succeeded": 2})
    user.workflow("bad", NO, history={"failed": 1})
    for number in range(4):
        user.run(f"good-{number}", "good")
        eventually(lambda n=number: f"good-{n}" not in left(user) or user.status(f"good-{n}").get("finishedAt"), "over")
    user.run("bad-0", "bad")
    user.until("bad-0", "Failed")
    user.run("bad-1", "bad", inputs={"unknown": 1})
    eventually(lambda: left(user) == ["bad-1", "good-2", "good-3"], "the newest are left")
    assert operator.metric("leat_operator_runs_tidied_total", rule="limit") == 3


def test_a_changed_limit_holds_for_earlier_runs_and_makes_no_new_revision(operator, user):
    user.workflow("hello", GREET)
    for number in range(3):
        user.run(f"hello-{number}", "hello")
        user.until(f"hello-{number}", "Succeeded")
    revision = user.status("hello", "workflows")["revision"]
    user.patch("hello", {"spec": {"history": {"succeeded": 1}}}, "workflows")
    eventually(lambda: left(user) == ["hello-2"], "the limit holds")

    def observed():
        status = user.status("hello", "workflows")
        return status if status["observedGeneration"] == 2 else None

    assert eventually(observed, "the change is seen")["revision"] == revision
    assert operator.alive()


def test_a_run_that_is_not_over_stays_whatever_the_limits_say(operator, user):
    user.workflow("hello", GREET, history={"succeeded": 0, "failed": 0, "ttlSecondsAfterFinished": 0})
    user.run("paused", "hello", suspend=True)
    user.until("paused", "Suspended")
    user.run("waiting", "nowhere", ttlSecondsAfterFinished=0)
    user.until("waiting", "Pending")
    user.run("over", "hello")
    eventually(lambda: left(user) == ["paused", "waiting"], "what is over is gone")
    listed = operator.metric("leat_operator_history_lists_total")
    eventually(lambda: operator.metric("leat_operator_history_lists_total") >= listed + 2, "it looked again")
    assert left(user) == ["paused", "waiting"]


def test_what_a_dead_operator_left_and_what_changed_after_the_end_is_found_by_the_next_one(environment, user, tmp_path):
    environment = {**environment, "LEAT_SWEEP_INTERVAL": "1"}
    with started("leat_runner", environment, tmp_path):
        with active(environment, tmp_path):
            user.workflow("hello", GREET)
            for name in ("a", "b", "c"):
                user.run(name, "hello", ttlSecondsAfterFinished=3600)
                user.until(name, "Succeeded", 40)
        user.patch("a", {"spec": {"ttlSecondsAfterFinished": 0}})
        with active(environment, tmp_path):
            eventually(lambda: left(user) == ["b", "c"], "the time of the first is over", 2 * DEADLINE)
            user.patch("b", {"spec": {"ttlSecondsAfterFinished": 0}})
            eventually(lambda: left(user) == ["c"], "a later change is found")
            user.patch("c", {"spec": {"ttlSecondsAfterFinished": 7200}})
            eventually(lambda: user.status("c")["observedGeneration"] == 2, "a change of what is over is acknowledged")
            assert {each["observedGeneration"] for each in user.status("c")["conditions"]} == {2}


def test_one_that_a_policy_of_the_cluster_keeps_stops_neither_the_others_nor_the_operator(
    operator, user, kubeconfig, namespace
):
    user.workflow("hello", GREET)
    user.run("kept", "hello")
    user.until("kept", "Succeeded")
    with a_policy_that_keeps("kept", kubeconfig, namespace):
        user.patch("kept", {"spec": {"ttlSecondsAfterFinished": 0}})
        eventually(lambda: "it is kept" in operator.log.read_text(), "it was tried")
        user.run("other", "hello", ttlSecondsAfterFinished=0)
        eventually(lambda: left(user) == ["kept"], "the other one goes")
        assert operator.alive()
    eventually(lambda: left(user) == [], "it goes when it may")
