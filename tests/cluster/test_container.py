"""Container steps with real pods. Operator and runners are processes of this machine; the pods are the cluster's.

The steps' image is that of the runner: it has a Python, and takes up the output files of others.
"""

import asyncio
import secrets
import signal
import socket
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from kubernetes import client, config
from tests.support.buckets import an_s3_server
from tests.support.installation import DOCKERFILES, defined
from tests.support.operator import Shop, eventually, started
from tests.support.samples import samples

from leat_engine.artifacts import Objects
from leat_engine.caretakers.expire import expire
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

    def runner(self, **more: str) -> Any:
        process = self.stack.enter_context(started("leat_runner", {**self.environment, **more}, self.folder))
        self.runners.append(process)  # first: one that comes late is not to take what is meant for others
        eventually(lambda: process.log.read_text().count("queue connected") == 2, "the runner is here", SOON)
        return process

    def apply(self, name: str, *steps: dict[str, Any], **spec: Any) -> None:
        self.shop.workflow(name, *steps, **spec)
        self.shop.run(name, name)

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
def bucket(site, tmp_path_factory):
    """The URL of a bucket that pods reach, too: its server listens where this machine speaks with the cluster from."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as towards:
        cluster = yaml.safe_load(Path(site.kubeconfig).read_text())["clusters"][0]["cluster"]["server"]
        towards.connect((urlsplit(cluster).hostname, 1))
        host = towards.getsockname()[0]
    with an_s3_server(tmp_path_factory.mktemp("bucket") / "log", host) as url:
        yield url


@pytest.fixture(scope="module")
def environment(site, cluster, postgres_dsn, amqp_url, bucket):
    asyncio.run(migrate(postgres_dsn))
    return {
        "KUBECONFIG": site.kubeconfig,
        "LEAT_DATABASE_URL": postgres_dsn,
        "LEAT_AMQP_URL": amqp_url,
        "LEAT_ARTIFACTS_URL": bucket,
        "LEAT_NAMESPACE": cluster.namespace,
        "LEAT_WATCH_NAMESPACES": cluster.namespace,
        "LEAT_HEARTBEAT": "0.5",
        "LEAT_IMAGE": site.image("leat-runner", DOCKERFILES["leat-runner"]),
    }


@pytest.fixture(scope="module")
def installed(cluster, environment, tmp_path_factory):
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("containers")
        operator = stack.enter_context(started("leat_operator", environment, folder))
        eventually(
            lambda: operator.ready and operator.metric("leat_operator_active") == 1, "the operator is active", 40
        )
        yield Bench(cluster, environment["LEAT_DATABASE_URL"], environment, folder, stack)


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


# -- files -------------------------------------------------------------------------------------------------------------

MAKE = {"name": "make", "script": {"run": "seq 1 200000 > a.txt"}, "artifacts": {"a": {"path": "a.txt"}}}
READ = {"run": 'wc -l < b.txt > "$LEAT_OUTPUT"', "files": {"b.txt": "${ steps.work.artifacts.b }"}}
TWICE = """
import os, pathlib
files = pathlib.Path(os.environ["LEAT_FILES"])
(files / "out").mkdir()
(files / "out/b.txt").write_text((files / "in/a.txt").read_text() * 2)
print([name for name, value in os.environ.items() if "://" in value and "X-Amz" in value])
open(os.environ["LEAT_OUTPUT"], "w").write('"doubled"')
"""


def doubling(bench, name, code=TWICE, **fields):
    """A run whose container has a file from a script, and leaves one for a script."""
    given = {"in/a.txt": "${ steps.make.artifacts.a }"}
    container = {"image": bench.environment["LEAT_IMAGE"], **python(code, files=given, **fields)}
    work = {"name": "work", "container": container, "artifacts": {"b": {"path": "out/b.txt"}}}
    output = {"lines": "${ steps.read.output }", "said": "${ steps.work.output }"}
    bench.apply(name, MAKE, work, {"name": "read", "script": READ}, output=output)


def secrets_of(bench, name):
    core = client.CoreV1Api(bench.shop.api.api_client)
    (pod,) = bench.pods(name)
    owned = [
        each
        for each in core.list_namespaced_secret(bench.namespace).items
        for owner in each.metadata.owner_references or ()
        if owner.uid == pod.metadata.uid
    ]
    return {each.metadata.name.rpartition("-")[2]: each.data for each in owned}


@pytest.mark.parametrize("output_from", ["terminationMessage", "file"])
def test_a_container_reads_and_leaves_files_without_a_url_of_its_own(bench, output_from):
    name = f"doubling-{output_from.lower()}"
    doubling(bench, name, outputFrom=output_from, securityContext={"runAsUser": 1000})
    assert bench.ended(name, "Succeeded")["output"] == {"lines": 400_000, "said": "doubled"}
    assert bench.log(name) == ["[]"]
    found = secrets_of(bench, name)
    assert {way: len(data) for way, data in found.items()} == {"get": 1, "put": 1}
    (pod,) = bench.pods(name)
    told = [str(pod), str(bench.shop.get(name)), *(process.log.read_text() for process in bench.runners)]
    assert not any("X-Amz-Signature" in text for text in told)


def test_a_file_that_a_container_has_not_left_fails_its_step_and_says_which(bench):
    doubling(bench, "missing", "pass")
    (failure,) = bench.ended("missing", "Failed")["failures"]
    assert failure["reason"] == "ArtifactMissing"
    assert failure["message"].startswith("artifacts.b: 'out/b.txt' cannot be read: No such file or directory")


def test_a_link_out_of_the_directory_is_not_followed(bench):
    code = "import os; os.symlink('/proc/self', os.environ['LEAT_FILES'] + '/out')"
    container = {"image": bench.environment["LEAT_IMAGE"], **python(code)}
    bench.apply("linked", {"name": "work", "container": container, "artifacts": {"b": {"path": "out/environ"}}})
    (failure,) = bench.ended("linked", "Failed")["failures"]
    assert (failure["reason"], "Not a directory" in failure["message"]) == ("ArtifactMissing", True)


@pytest.mark.parametrize("point", ["before offer:1", "before keep:1", "before commit:2"])
def test_a_runner_that_dies_leaves_the_files_to_the_one_that_takes_over(bench, bucket, point):
    name = f"dies-{point.replace(' ', '-').replace(':', '-')}"
    for process in bench.runners:
        if process.process.poll() is None:
            process.end(15)
    doomed = bench.runner(LEAT_CRASH_AT=point)
    doubling(bench, name)
    eventually(lambda: doomed.process.poll() is not None, "it dies", LONG)
    bench.runner()
    assert bench.ended(name, "Succeeded")["output"] == {"lines": 400_000, "said": "doubled"}
    assert bench.counted(name) == (1, None, 1)

    async def left():
        store = await Store.connect(bench.dsn, size=1)
        try:
            run = await store.find_run(bench.namespace, name)
            await expire(store, Objects.connect(bucket), datetime.now(UTC))
            return [each.reference for each in await store.artifacts.kept(run.run_id)]
        finally:
            await store.close()

    kept = {reference.key.split("/", 3)[3]: reference for reference in asyncio.run(left())}
    assert kept.keys() == {"make/1/a", "work/t1/b"}
    content = asyncio.run(read_whole(bucket, kept["work/t1/b"].key))
    assert sha256(content).hexdigest() == kept["work/t1/b"].sha256


async def read_whole(bucket, key):
    return b"".join([piece async for piece in Objects.connect(bucket).get(key)])


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
