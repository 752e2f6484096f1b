"""Container steps with real pods. Operator and runners are processes of this machine; the pods are the cluster's.

The steps' image is that of the runner: it has a Python, and takes up the output files of others.
"""

import asyncio
import secrets
import signal
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config
from tests.support.installation import DOCKERFILES, defined
from tests.support.operator import Shop, eventually, started
from tests.support.samples import samples

from leat_engine.store import Store, migrate

SOON, LONG = 30.0, 120.0


def python(code: str, **fields: Any) -> dict[str, Any]:
    """A container that runs the code, in the bench's image."""
    return {"imagePullPolicy": "IfNotPresent", "command": ["python", "-u", "-c", code], **fields}


def writes(value: str) -> str:
    return f"import os; open(os.environ['LEAT_OUTPUT'], 'w').write({value})"


@dataclass
class Bench:
    """A namespace of the cluster with an operator for it, and as many runners as a test wants."""

    shop: Shop
    dsn: str
    environment: dict[str, str]
    folder: Path
    stack: ExitStack
    runners: list[Any] = field(default_factory=list)

    @property
    def namespace(self) -> str:
        return self.shop.namespace

    def runner(self) -> Any:
        process = self.stack.enter_context(started("leat_runner", self.environment, self.folder))
        eventually(lambda: process.log.read_text().count("queue connected") == 2, "the runner is here", SOON)
        self.runners.append(process)
        return process

    def submit(self, name: str, container: dict[str, Any], **step: Any) -> None:
        container = {"image": self.environment["LEAT_IMAGE"], **container}
        self.shop.workflow(name, {"name": "work", "container": container, **step}, output="${ steps.work.output }")
        self.shop.run(name, name)

    def ended(self, name: str, phase: str) -> dict[str, Any]:
        return self.shop.until(name, phase, LONG)

    def jobs(self, name: str) -> list[Any]:
        api = client.BatchV1Api(self.shop.api.api_client)
        return list(api.list_namespaced_job(self.namespace, label_selector=f"leat.dev/run={name}").items)

    def pods(self, name: str) -> list[Any]:
        api = client.CoreV1Api(self.shop.api.api_client)
        return list(api.list_namespaced_pod(self.namespace, label_selector=f"leat.dev/run={name}").items)

    def counted(self, name: str) -> tuple[int | None, int | None, int]:
        """Pods that succeeded and that failed, as the one Job counts them a moment later, and the pods there are."""

        def look() -> Any:
            (job,) = self.jobs(name)
            return job.status if job.status.succeeded or job.status.failed else None

        status = eventually(look, "the Job is counted", SOON)
        return status.succeeded, status.failed, len(self.pods(name))

    def runs(self, name: str) -> bool:
        """Whether the run's container is running."""
        return any(pod.status.phase == "Running" for pod in self.pods(name))

    def log(self, name: str) -> list[str]:
        """What the store has of the run's log."""

        async def read() -> list[str]:
            store = await Store.connect(self.dsn, size=1)
            try:
                run = await store.find_run(self.namespace, name)
                return [line.text for line in await store.logs.read(run.run_id)] if run else []
            finally:
                await store.close()

        return asyncio.run(read())


@pytest.fixture(scope="module")
def cluster(site):
    connect: Any = config.new_client_from_config
    with connect(site.kubeconfig) as api, defined(site.kubeconfig):
        core, name = client.CoreV1Api(api), f"container-test-{secrets.token_hex(3)}"
        core.create_namespace({"metadata": {"name": name}})
        try:
            yield Shop(client.CustomObjectsApi(api), name)
        finally:
            core.delete_namespace(name)


@pytest.fixture(scope="module")
def installed(site, cluster, postgres_dsn, amqp_url, tmp_path_factory):
    asyncio.run(migrate(postgres_dsn))
    environment = {
        "KUBECONFIG": site.kubeconfig,
        "LEAT_DATABASE_URL": postgres_dsn,
        "LEAT_AMQP_URL": amqp_url,
        "LEAT_NAMESPACE": cluster.namespace,
        "LEAT_WATCH_NAMESPACES": cluster.namespace,
        "LEAT_HEARTBEAT": "0.5",
        "LEAT_IMAGE": site.image("leat-runner", DOCKERFILES["leat-runner"]),
    }
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("containers")
        operator = stack.enter_context(started("leat_operator", environment, folder))
        eventually(
            lambda: operator.ready and operator.metric("leat_operator_active") == 1, "the operator is active", 40
        )
        yield Bench(cluster, postgres_dsn, environment, folder, stack)


@pytest.fixture
def bench(installed):
    """With one runner at least."""
    if not any(process.process.poll() is None for process in installed.runners):
        installed.runner()
    return installed


def test_a_small_output_comes_by_the_termination_message_and_a_large_one_by_a_file(bench):
    bench.submit("small", python(writes("'{\"sum\": 3}'")))
    bench.submit("large", python(writes("'x' * 300_000"), outputFrom="file"))
    assert bench.ended("small", "Succeeded")["output"] == {"sum": 3}
    assert "300002 bytes" in bench.ended("large", "Succeeded")["message"]


def test_the_log_is_kept_after_the_pod_is_gone(bench):
    bench.submit("speaks", python("import sys; print('to stdout'); print('to stderr', file=sys.stderr)"))
    bench.ended("speaks", "Succeeded")
    core = client.CoreV1Api(bench.shop.api.api_client)
    for pod in bench.pods("speaks"):
        core.delete_namespaced_pod(pod.metadata.name, bench.namespace)
    assert sorted(bench.log("speaks")) == ["to stderr", "to stdout"]


def test_a_container_that_fails_tells_its_exit_code_and_its_last_words(bench):
    bench.submit("fails", python("print('last words'); raise SystemExit(7)"))
    (failure,) = bench.ended("fails", "Failed")["failures"]
    assert (failure["reason"], failure["message"]) == ("ExitCode", "the container ended with exit code 7")
    assert bench.log("fails") == ["last words"]


def test_memory_that_runs_out_is_an_error_of_its_own(bench):
    bench.submit("hungry", python("x = b'x' * 300_000_000", resources={"limits": {"memory": "32Mi"}}))
    (failure,) = bench.ended("hungry", "Failed")["failures"]
    assert failure["reason"] == "OOMKilled"


def test_an_image_that_cannot_be_pulled_is_in_the_status_while_it_is_waited_for_and_a_cancel_ends_it(bench):
    bench.submit("absent", {"image": "nowhere.example/absent:1"})
    said = eventually(lambda: _said(bench, "absent", "ErrImagePull", "ImagePullBackOff"), "the status says why", SOON)
    assert said.startswith("step work is waiting: ")
    bench.shop.patch("absent", {"spec": {"cancel": True}})
    bench.ended("absent", "Cancelled")
    eventually(lambda: not bench.jobs("absent"), "the Job is deleted", SOON)


def test_a_pod_that_no_node_can_take_fails_in_its_time_and_says_why(bench):
    container = python("pass", resources={"requests": {"cpu": "10000"}}, pendingTimeout="3s")
    bench.submit("huge", container)
    (failure,) = bench.ended("huge", "Failed")["failures"]
    assert failure["reason"] == "Unschedulable"
    assert "Insufficient cpu" in failure["message"]


def test_a_running_container_is_ended_by_a_cancel_and_by_its_timeout(bench):
    bench.submit("cancelled", python("import time; time.sleep(600)"))
    bench.submit("slow", python("import time; time.sleep(600)"), timeout="4s")
    eventually(lambda: bench.runs("cancelled"), "it runs", LONG)
    bench.shop.patch("cancelled", {"spec": {"cancel": True}})
    bench.ended("cancelled", "Cancelled")
    (failure,) = bench.ended("slow", "Failed")["failures"]
    assert failure["reason"] == "Timeout"
    eventually(lambda: not bench.jobs("cancelled") and not bench.jobs("slow"), "the Jobs are deleted", SOON)


def test_an_evicted_pod_is_followed_by_another_one_when_the_step_has_a_retry(bench):
    code = "import os, time; time.sleep(0 if os.environ['LEAT_ATTEMPT'] == '2' else 600)"
    bench.submit("evicted", python(code), retry={"max": 1, "backoff": {"initial": "100ms"}})
    eventually(lambda: bench.runs("evicted"), "it runs", LONG)
    (pod,) = bench.pods("evicted")
    eviction = {"metadata": {"name": pod.metadata.name, "namespace": bench.namespace}}
    eviction["deleteOptions"] = {"gracePeriodSeconds": 1}
    core = client.CoreV1Api(bench.shop.api.api_client)
    core.create_namespaced_pod_eviction(pod.metadata.name, bench.namespace, eviction)
    bench.ended("evicted", "Succeeded")


COUNTS = """
import time
for number in range(100):
    print(number)
    time.sleep(0.1)
import os
open(os.environ["LEAT_OUTPUT"], "w").write("counted")
"""


@pytest.mark.parametrize(("name", "death"), [("killed", 9), ("stopped", 15)])
def test_a_container_goes_on_when_its_runner_ends_and_the_next_one_finds_it(bench, name, death):
    bench.submit(name, python(COUNTS))
    eventually(lambda: len(bench.log(name)) > 3, "its first lines are kept", LONG)
    for process in bench.runners:
        if process.process.poll() is None:
            process.end(death)
    bench.runner()
    assert bench.ended(name, "Succeeded")["output"] == "counted"
    assert bench.counted(name) == (1, None, 1)
    assert [int(line) for line in bench.log(name)] == list(range(100))


def test_a_runner_that_was_frozen_and_wakes_up_disturbs_nobody(bench):
    frozen = bench.runners[-1]
    bench.submit("frozen", python(COUNTS))
    eventually(lambda: len(bench.log("frozen")) > 3, "its first lines are kept", LONG)
    frozen.process.send_signal(signal.SIGSTOP)
    heir = bench.runner()
    eventually(lambda: "job_adopted" in heir.log.read_text(), "the heir has found the Job", LONG)
    frozen.process.send_signal(signal.SIGCONT)
    eventually(lambda: '"fenced"' in frozen.log.read_text(), "the frozen one was refused", LONG)
    assert bench.ended("frozen", "Succeeded")["output"] == "counted"
    assert bench.counted("frozen") == (1, None, 1)
    assert [int(line) for line in bench.log("frozen")] == list(range(100))


def test_a_run_that_is_deleted_takes_its_job_along(bench):
    bench.submit("deleted", python("import time; time.sleep(600)"))
    eventually(lambda: bench.runs("deleted"), "it runs", LONG)
    bench.shop.delete("deleted")
    eventually(lambda: not bench.jobs("deleted"), "its Job is gone", LONG)


@pytest.mark.parametrize("sample", samples(needs="pods"), ids=lambda sample: sample.file.stem)
def test_a_sample_that_needs_pods_reaches_the_end_it_states(bench, sample):
    for document in sample.documents:
        if document["kind"] == "WorkflowRun":
            document["spec"]["inputs"] = {"image": bench.environment["LEAT_IMAGE"]}
        bench.shop.apply(document)
    name = sample.run["metadata"]["name"]
    assert bench.ended(name, sample.phase)["output"] == sample.output


def _said(bench, name, *reasons):
    message = bench.shop.status(name).get("message", "")
    return message if any(reason in message for reason in reasons) else None
