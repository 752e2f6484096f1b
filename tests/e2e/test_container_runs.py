"""A container step from its resource to its end, by real processes of Leat; the test plays the cluster's part."""

import asyncio
from contextlib import ExitStack

import pytest
from tests.support.operator import eventually, started
from tests.support.pods import a_cluster, granted

from leat_engine.store import migrate

WORK = {"name": "work", "container": {"image": "busybox:1"}}


@pytest.fixture
def cluster(kubeconfig, namespace):
    with a_cluster(kubeconfig, namespace) as cluster:
        yield cluster


@pytest.fixture
def environment(namespace, postgres_dsn, amqp_url):
    asyncio.run(migrate(postgres_dsn))
    return {
        "LEAT_DATABASE_URL": postgres_dsn,
        "LEAT_AMQP_URL": amqp_url,
        "LEAT_NAMESPACE": "leat-system",
        "LEAT_WATCH_NAMESPACES": namespace,
        "LEAT_HEARTBEAT": "0.5",
        "LEAT_LEASE_DURATION": "3",
    }


@pytest.fixture
def installation(environment, cluster, kubeconfig, operator_kubeconfig, tmp_path):
    """An operator with its own rights, and what starts a runner with those that the documentation tells to give."""
    rights = {"KUBECONFIG": str(granted(cluster, kubeconfig, tmp_path))}
    with ExitStack() as stack:
        operator = stack.enter_context(
            started("leat_operator", environment | {"KUBECONFIG": operator_kubeconfig}, tmp_path)
        )
        eventually(
            lambda: operator.ready and operator.metric("leat_operator_active") == 1, "the operator is active", 40
        )

        def runner():
            process = stack.enter_context(started("leat_runner", environment | rights, tmp_path))
            eventually(lambda: process.log.read_text().count("queue connected") == 2, "the runner is here", 40)
            return process

        yield runner


def the_job(cluster):
    (job,) = eventually(
        cluster.jobs, "the Job is there", 60
    )  # a runner has to load the client library for its KUBECONFIG
    return job


def test_the_status_says_what_a_container_waits_for_and_a_killed_runner_is_followed_by_another_one(
    installation, cluster, user
):
    first = installation()
    user.workflow("build", WORK, output="${ steps.work.output }")
    user.run("build", "build")
    job = the_job(cluster)
    owner = job["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["uid"]) == ("WorkflowRun", user.get("build")["metadata"]["uid"])
    cluster.pod(job)
    cluster.becomes({"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}, "Pending")
    waiting = "step work is waiting: ImagePullBackOff: no such image"
    eventually(lambda: user.status("build").get("message") == waiting, "the status says why")

    first.end(9)
    installation()
    eventually(lambda: user.status("build").get("message") == waiting, "the status still says why", 60)
    cluster.becomes({"running": {"startedAt": "2026-03-01T12:00:00Z"}})
    eventually(lambda: user.status("build").get("message") == "Running", "it does not wait any more")
    cluster.ends(0, "built")
    assert user.until("build", "Succeeded")["output"] == "built"
    assert [each["metadata"]["uid"] for each in cluster.jobs()] == [job["metadata"]["uid"]]


def test_a_cancelled_run_and_one_whose_time_is_over_leave_no_job(installation, cluster, user):
    installation()
    user.workflow("long", WORK)
    user.run("long", "long")
    cluster.pod(the_job(cluster))
    user.patch("long", {"spec": {"cancel": True}})
    user.until("long", "Cancelled")
    eventually(lambda: not cluster.jobs(), "its Job is deleted")

    user.workflow("short", {**WORK, "timeout": "1s"})
    user.run("short", "short")
    (failure,) = user.until("short", "Failed")["failures"]
    assert failure["reason"] == "Timeout"
    eventually(lambda: not cluster.jobs(), "its Job is deleted")


def test_a_run_that_is_cancelled_while_nobody_follows_its_container_leaves_no_job(installation, cluster, user):
    first = installation()
    user.workflow("long", WORK)
    user.run("long", "long")
    job = the_job(cluster)
    first.end(9)
    user.patch("long", {"spec": {"cancel": True}})
    eventually(lambda: user.status("long").get("conditions"), "the operator has seen it")
    installation()
    user.until("long", "Cancelled")
    eventually(lambda: not cluster.jobs(), f"the Job {job['metadata']['name']} is deleted")


def test_a_runner_that_is_asked_to_leave_does_not_wait_for_a_container(installation, cluster, user):
    runner = installation()
    user.workflow("long", WORK)
    user.run("long", "long")
    job = the_job(cluster)
    assert runner.end() == 0  # within the grace period, which a container outlasts
    installation()
    eventually(lambda: cluster.jobs()[0]["metadata"]["uid"] == job["metadata"]["uid"], "the Job is the same")
    cluster.pod(job)
    cluster.ends(0, "done")
    user.until("long", "Succeeded")
