"""The operator process against a real API server, Postgres and RabbitMQ; a real runner does the steps."""

import asyncio
import signal
from contextlib import contextmanager

import asyncpg
import pytest
from tests.support.operator import eventually, started

from leat_engine.store import Store

RUNS, WRITES = "workflowruns/status", "leat_operator_api_writes_total"
GREET = {"name": "greet", "transform": {"greeting": "hello"}}
LONG = {"name": "long", "wait": {"duration": "1h"}}


@pytest.fixture
def environment(database, amqp_url, kubeconfig, namespace):
    return {
        "KUBECONFIG": kubeconfig,
        "LEAT_DATABASE_URL": database,
        "LEAT_AMQP_URL": amqp_url,
        "LEAT_NAMESPACE": namespace,
        "LEAT_WATCH_NAMESPACES": namespace,
        "LEAT_SWEEP_INTERVAL": "1",
        "LEAT_WORKFLOW_GRACE": "3",
        "LEAT_LEASE_DURATION": "3",
    }


@pytest.fixture
def operator(environment, tmp_path):
    with operating(environment, tmp_path) as process:
        yield process


@pytest.fixture
def runner(environment, tmp_path):
    with started("leat_runner", environment, tmp_path) as process:
        eventually(lambda: process.log.read_text().count("queue connected") == 2, "the runner publishes and consumes")
        yield process


@contextmanager
def operating(environment, folder):
    with started("leat_operator", environment, folder) as process:
        active = lambda: process.ready and process.metric("leat_operator_active") == 1  # noqa: E731
        eventually(active, "the operator is active", 40)  # one that was killed holds the Lease for a while
        yield process


def in_store(database, question):
    """Ask the store something, in a loop of its own."""

    async def ask():
        store = await Store.connect(database, size=1)
        try:
            return await question(store)
        finally:
            await store.close()

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as loop:
        return loop.run(ask())


def condition(status, name):
    return next((each for each in status.get("conditions", ()) if each["type"] == name), {})


@pytest.mark.usefixtures("runner")
def test_a_run_succeeds_with_its_output_within_three_writes(operator, user):
    user.workflow("hello", GREET, output="${ steps.greet.output.greeting }")
    created = user.run("hello-1", "hello")
    status = user.until("hello-1", "Succeeded")
    assert status["output"] == "hello"
    assert status["progress"] == "1/1"
    assert status["observedGeneration"] == created["metadata"]["generation"]
    assert {each["type"]: each["status"] for each in status["conditions"]} == {
        "Succeeded": "True",
        "Reconciling": "False",
        "Stalled": "False",
    }
    metadata = user.get("hello-1")["metadata"]
    assert "finalizers" not in metadata
    assert "annotations" not in metadata
    assert operator.metric(WRITES, resource=RUNS) <= 2  # the third is the user's own


@pytest.mark.usefixtures("runner")
def test_a_hundred_runs_cost_at_most_two_writes_each(operator, user):
    user.workflow("hello", GREET)
    for number in range(100):
        user.run(f"hello-{number}", "hello")
    for number in range(100):
        user.until(f"hello-{number}", "Succeeded")
    told = {
        stage: operator.metric("leat_operator_reports_total", stage=stage) for stage in ("first", "progress", "final")
    }
    assert told["final"] == 100
    assert told["first"] <= 100
    assert operator.metric(WRITES, resource=RUNS) == sum(told.values())
    assert told["progress"] <= told["first"]  # only of those that waited for longer than two seconds on a busy machine


@pytest.mark.usefixtures("operator")
def test_a_valid_workflow_is_ready_with_its_revision(user):
    user.workflow("hello", GREET)
    status = eventually(lambda: user.status("hello", "workflows"), "the workflow has a status")
    assert condition(status, "Ready")["status"] == "True"
    assert len(status["revision"]) == 16


@pytest.mark.usefixtures("operator")
def test_an_invalid_workflow_is_not_ready_and_says_every_reason(user):
    user.workflow(
        "bad", {"name": "a", "transform": "${ steps.gone.output }"}, {"name": "b", "needs": ["c"], "transform": 1}
    )
    status = eventually(lambda: user.status("bad", "workflows"), "the workflow has a status")
    ready = condition(status, "Ready")
    assert ready["status"] == "False"
    assert "spec.steps[0].transform" in ready["message"]
    assert "spec.steps[1].needs[0]" in ready["message"]
    user.run("bad-1", "bad")
    assert "spec.steps[1].needs[0]" in user.until("bad-1", "Failed")["message"]


def test_a_run_with_wrong_inputs_fails_at_once_with_the_field_path(operator, user):
    user.workflow("hello", GREET, inputs={"who": {"type": "string"}})
    user.run("hello-1", "hello", inputs={"who": 1, "whom": "x"})
    status = user.until("hello-1", "Failed")
    assert "spec.inputs.who" in status["message"]
    assert "spec.inputs.whom" in status["message"]
    assert condition(status, "Stalled")["status"] == "True"
    assert operator.metric(WRITES, resource=RUNS) == 1


@pytest.mark.usefixtures("operator", "runner")
def test_a_run_may_be_there_before_its_workflow(user):
    user.run("hello-1", "hello")
    waiting = user.until("hello-1", "Pending")
    assert condition(waiting, "Succeeded")["reason"] == "WorkflowNotFound"
    user.workflow("hello", GREET)
    user.until("hello-1", "Succeeded")


@pytest.mark.usefixtures("operator")
def test_a_run_whose_workflow_never_comes_fails_after_the_grace(user):
    user.run("hello-1", "hello")
    assert "no Workflow hello" in user.until("hello-1", "Failed")["message"]


@pytest.mark.usefixtures("operator", "runner")
def test_a_run_with_an_inline_workflow_needs_no_other_resource(user):
    user.apply({"kind": "WorkflowRun", "metadata": {"name": "once"}, "spec": {"inline": {"steps": [GREET]}}})
    user.until("once", "Succeeded")


@pytest.mark.usefixtures("operator", "runner")
def test_cancel_ends_a_waiting_run(user):
    user.workflow("long", LONG)
    user.run("long-1", "long")
    user.until("long-1", "Running")
    changed = user.patch("long-1", {"spec": {"cancel": True}})
    status = user.until("long-1", "Cancelled")
    assert status["message"] == "spec.cancel is true"
    assert status["observedGeneration"] == changed["metadata"]["generation"]


@pytest.mark.usefixtures("runner")
def test_a_run_that_is_cancelled_or_deleted_while_it_waits_for_its_workflow_never_starts(
    environment, user, database, namespace, tmp_path
):
    with operating({**environment, "LEAT_WORKFLOW_GRACE": "600"}, tmp_path):
        early = ("cancelled", "deleted", "terminating")
        for name in early:
            user.run(name, "hello")
        for name in early:
            user.until(name, "Pending")
        user.patch("terminating", {"metadata": {"finalizers": ["example.dev/audit"]}})
        changed = user.patch("cancelled", {"spec": {"cancel": True}})
        user.delete("deleted")
        user.delete("terminating")
        status = user.until("cancelled", "Cancelled")
        assert status["message"] == "spec.cancel is true; the run had not begun"
        assert status["observedGeneration"] == changed["metadata"]["generation"]
        succeeded = condition(status, "Succeeded")
        assert (succeeded["status"], succeeded["reason"]) == ("False", "Cancelled")
        assert condition(status, "Stalled")["status"] == "False"
        assert "was deleted" in user.until("terminating", "Cancelled")["message"]
        user.patch("terminating", {"metadata": {"finalizers": None}})
        user.run("cancelled-from-the-start", "hello", cancel=True)
        user.until("cancelled-from-the-start", "Cancelled")
        user.workflow("hello", GREET)
        user.run("later", "hello")
        user.run("unwanted", "hello", cancel=True)
        user.until("later", "Succeeded")
        user.until("unwanted", "Cancelled")
        for name in (*early, "cancelled-from-the-start", "unwanted"):
            assert in_store(database, lambda store, name=name: store.find_run(namespace, name)) is None
        assert user.status("cancelled") == status


@pytest.mark.usefixtures("runner")
def test_running_runs_outlive_their_workflow_and_the_operator(environment, user, database, namespace, tmp_path):
    names = {"deleted": "of-deleted", "broken": "of-broken", "strict": "of-strict"}
    for workflow in names:
        user.workflow(workflow, LONG)
    with operating(environment, tmp_path) as operator:
        for workflow, run in names.items():
            user.run(run, workflow)
        for run in names.values():
            user.until(run, "Running")
        operator.end(signal.SIGKILL)
    user.delete("deleted", "workflows")
    user.patch("broken", {"spec": {"steps": [{"name": "a", "needs": ["b"], "transform": 1}]}}, "workflows")
    user.patch("strict", {"spec": {"inputs": {"who": {"type": "string"}}}}, "workflows")
    with operating(environment, tmp_path):
        user.apply({"kind": "WorkflowRun", "metadata": {"name": "new"}, "spec": {"inline": {"steps": [GREET]}}})
        user.until("new", "Succeeded")
        for run in names.values():
            assert user.status(run)["phase"] == "Running"
            user.patch(run, {"spec": {"cancel": True}})
        for run in names.values():
            assert user.until(run, "Cancelled")["message"] == "spec.cancel is true"
            assert in_store(database, lambda store, run=run: store.find_run(namespace, run)).phase.label == "Cancelled"


@pytest.mark.usefixtures("operator", "runner")
def test_a_suspended_run_goes_on_when_it_is_resumed(user):
    user.workflow("hello", GREET)
    user.run("hello-1", "hello", suspend=True)
    user.until("hello-1", "Suspended")
    user.patch("hello-1", {"spec": {"suspend": False}})
    user.until("hello-1", "Succeeded")


@pytest.mark.usefixtures("operator", "runner")
def test_deleting_a_running_run_cancels_it(user, database, namespace):
    user.workflow("long", LONG)
    user.run("long-1", "long")
    user.until("long-1", "Running")
    user.delete("long-1")
    find = lambda: in_store(database, lambda store: store.find_run(namespace, "long-1"))  # noqa: E731
    eventually(lambda: find().phase.label == "Cancelled", "the run is cancelled in the store")


@pytest.mark.usefixtures("runner")
def test_what_happened_while_the_operator_was_away_is_caught_up(environment, user, database, namespace, tmp_path):
    user.workflow("long", LONG)
    user.workflow("hello", GREET)
    with operating(environment, tmp_path) as operator:
        user.run("deleted", "long")
        user.run("cancelled", "long")
        user.until("deleted", "Running")
        user.until("cancelled", "Running")
        operator.end(signal.SIGKILL)
    user.delete("deleted")
    user.patch("cancelled", {"spec": {"cancel": True}})
    user.run("new", "hello")
    with operating(environment, tmp_path) as operator:
        user.until("new", "Succeeded", 40)
        user.until("cancelled", "Cancelled")
        find = lambda: in_store(database, lambda store: store.find_run(namespace, "deleted"))  # noqa: E731
        eventually(lambda: find().phase.label == "Cancelled", "the deleted run is cancelled in the store")


@pytest.mark.usefixtures("runner")
def test_an_end_that_was_taken_off_the_list_and_never_told_is_found(environment, user, database, tmp_path):
    user.workflow("nap", {"name": "nap", "wait": {"duration": "1s"}})
    with operating(environment, tmp_path) as operator:
        user.run("nap-1", "nap")
        eventually(lambda: user.status("nap-1"), "the operator has accepted it")
        operator.end(signal.SIGKILL)

    async def lose_reports(store):
        reports = await store.reports.behind(100)
        await store.reports.told([(each.run.run_id, each.version) for each in reports])
        return any(each.run.name == "nap-1" and each.run.phase.done for each in reports)

    eventually(lambda: in_store(database, lose_reports), "the run's end is on the list")
    with operating(environment, tmp_path):
        user.until("nap-1", "Succeeded")


@pytest.mark.usefixtures("operator", "runner")
def test_a_deleted_status_comes_back(user):
    user.workflow("hello", GREET)
    user.run("hello-1", "hello")
    before = user.until("hello-1", "Succeeded")
    user.api.replace_namespaced_custom_object_status(
        "leat.dev", "v1alpha1", user.namespace, "workflowruns", "hello-1", {**user.get("hello-1"), "status": {}}
    )
    assert user.until("hello-1", "Succeeded") == before


def test_an_operator_that_is_told_to_stop_gives_the_lease_away(environment, tmp_path):
    with operating(environment, tmp_path) as first, started("leat_operator", environment, tmp_path) as second:
        eventually(lambda: second.ready, "the second is ready")
        assert second.metric("leat_operator_active") == 0
        assert first.end() == 0
        eventually(lambda: second.metric("leat_operator_active") == 1, "the second is active", 5)


@pytest.mark.usefixtures("runner")
def test_the_rights_in_config_rbac_are_enough(environment, operator_kubeconfig, user, tmp_path):
    own = {**environment, "KUBECONFIG": operator_kubeconfig, "LEAT_NAMESPACE": "leat-system"}
    with operating(own, tmp_path):
        user.workflow("hello", GREET)
        user.run("hello-1", "hello")
        user.until("hello-1", "Succeeded")


def test_an_operator_without_rights_says_which_are_missing(environment, operator_kubeconfig, tmp_path):
    own = {**environment, "KUBECONFIG": operator_kubeconfig}  # its Lease would be in the test's namespace
    with started("leat_operator", own, tmp_path) as process:
        assert process.process.wait(20) == 1
        assert "may not create leases.coordination.k8s.io in namespace" in process.log.read_text()


@pytest.mark.usefixtures("runner")
def test_another_operator_goes_on_with_a_rerun_whose_old_run_is_forgotten(
    environment, user, database, namespace, tmp_path
):
    check = {"name": "check", "needs": ["greet"], "transform": "${ inputs.ok ? 1 : [1][5] }"}
    user.workflow("slow", GREET, check, {**LONG, "needs": ["check"]}, inputs={"ok": {"type": "boolean"}})
    with operating(environment, tmp_path):
        user.run("slow-1", "slow", inputs={"ok": False})
        user.until("slow-1", "Failed")
        user.run("slow-2", "slow", rerun={"of": "slow-1"}, inputs={"ok": True})
        user.until("slow-2", "Running")

    async def forget():
        connection = await asyncpg.connect(database)
        forgotten = "delete from leat.run where namespace = $1 and name = 'slow-1' returning id"
        run_id = await connection.fetchval(forgotten, namespace)
        await connection.execute("delete from leat.step where run_id = $1", run_id)
        await connection.close()

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as loop:
        loop.run(forget())
    with operating(environment, tmp_path):
        user.patch("slow-2", {"spec": {"cancel": True}})
        assert user.until("slow-2", "Cancelled")["rerunOf"] == "slow-1"
