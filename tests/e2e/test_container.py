"""The container kind on a real API server. There are no controllers and no nodes: the test does what they would."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar
from uuid import uuid4

import pytest
import yaml
from tests.support.cut import a_wire
from tests.support.pods import a_cluster, granted
from tests.support.queue import until
from tests.support.steps import a_setup, a_step

from leat_engine.job import StepKey, effect_key
from leat_engine.kind import END_WORK
from leat_engine.result import Failed, Succeeded
from leat_engine.spec.container import Container
from leat_runner.kinds import container as kind_module
from leat_runner.kinds.container import ContainerKind
from leat_runner.kinds.job_manifest import job_of
from leat_runner.kinds.setup import KindSetup
from leat_runner.kubernetes import Kubernetes


@pytest.fixture
def cluster(kubeconfig, namespace):
    with a_cluster(kubeconfig, namespace) as cluster:
        yield cluster


@pytest.fixture
def runner_kubeconfig(cluster, kubeconfig, tmp_path):
    """A kubeconfig with the rights that the documentation tells to give, and no others."""
    return granted(cluster, kubeconfig, tmp_path)


@dataclass
class Told:
    """What a step told."""

    lines: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class Try:
    """An attempt that goes on."""

    task: "asyncio.Task[object]"
    told: Told

    async def noted(self, text):
        await until(lambda: any(text in note for note in self.told.notes), 20, lambda: str(self.told.notes))

    async def outcome(self):
        async with asyncio.timeout(20):
            return await self.task

    async def cancelled(self, *message):
        self.task.cancel(*message)
        with pytest.raises(asyncio.CancelledError):
            await self.task


class Steps:
    """Attempts of one step."""

    def __init__(self, kind, namespace):
        self.kind = kind
        run = uuid4()
        self.key = StepKey(run, 0, 1)
        self._step = {"key": self.key, "idempotency_key": effect_key(self.key), "namespace": namespace, "timeout": 60}

    def context(self):
        return a_step(**self._step, attempt=1, try_number=1)

    async def forsaken(self, *keys):
        await self.kind.forsake(self._step["namespace"], self.key.run_id, {effect_key(key) for key in keys})

    def begin(self, kind=None, fields=None, attempt=1, try_number=1, **known):
        told = Told()
        step = a_step(
            **self._step,
            attempt=attempt,
            try_number=try_number,
            **known,
            log=lambda stream, text, at=None: told.lines.append(f"{stream} {text} {at or ''}".strip()),
            note=told.notes.append,
        )
        model = Container.model_validate({"image": "busybox:1", **(fields or {})})
        return Try(asyncio.create_task((kind or self.kind).execute(step, model)), told)


@asynccontextmanager
async def a_kind(kubeconfig):
    setup = a_setup(image="leat-runner:1")
    kind = ContainerKind(KindSetup(setup.settings, setup.clock, Kubernetes({"KUBECONFIG": str(kubeconfig)})))
    try:
        yield kind
    finally:
        await kind.close()


@pytest.fixture
async def step(runner_kubeconfig, namespace):
    async with a_kind(runner_kubeconfig) as kind:
        yield Steps(kind, namespace)


async def the_job(cluster):
    await until(lambda: len(cluster.jobs()) == 1, 20)
    return cluster.jobs()[0]


async def a_running_pod(cluster):
    cluster.pod(await the_job(cluster))
    cluster.becomes({"running": {"startedAt": "2026-03-01T12:00:00Z"}})


async def a_pod_that_was_seen(cluster, one):
    cluster.pod(await the_job(cluster))
    cluster.becomes({"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}, "Pending")
    await one.noted("ImagePullBackOff")


async def test_a_job_that_succeeds_gives_its_message_as_output(cluster, step):
    one = step.begin()
    await a_running_pod(cluster)
    cluster.ends(0, '{"total": 3}')
    assert await one.outcome() == Succeeded({"total": 3})
    assert len(cluster.jobs()) == 1  # kept for a while, for people


async def test_the_api_server_takes_every_field(cluster, step):
    one = step.begin(
        run_uid="8d1f2a54-0000-4000-8000-000000000000",
        fields={
            "command": ["sh", "-c", "true"],
            "env": [
                {"name": "A", "value": [1]},
                {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": True}}},
                {"name": "C", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": 1}}},
            ],
            "envFrom": [{"secretRef": {"name": "s", "optional": True}}],
            "resources": {"requests": {"cpu": 0.5}, "limits": {"cpu": 1, "memory": "1Gi"}},
            "volumes": [
                {"name": "a", "persistentVolumeClaim": {"claimName": "c"}},
                {"name": "b", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
                {"name": "c", "secret": {"secretName": "s", "defaultMode": 256}},
                {"name": "d", "projected": {"sources": [{"configMap": {"name": "m"}}]}},
            ],
            "volumeMounts": [{"name": "a", "mountPath": "/a", "subPath": "x"}],
            "tolerations": [{"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}],
            "securityContext": {"runAsUser": 1000, "fsGroup": 1000, "readOnlyRootFilesystem": True},
            "outputFrom": "file",
        },
    )
    job = await the_job(cluster)
    assert job["metadata"]["ownerReferences"][0]["kind"] == "WorkflowRun"
    await one.cancelled(END_WORK)


async def test_a_job_that_the_api_server_refuses_fails_in_its_words(step):
    outcome = await step.begin(fields={"resources": {"limits": {"memory": "much"}}}).outcome()
    assert isinstance(outcome, Failed)
    assert outcome.error.type == "Kubernetes"
    assert not outcome.error.retriable
    assert "quantities must match" in outcome.error.message


async def test_a_step_that_is_cancelled_or_out_of_time_deletes_its_job(cluster, step):
    one = step.begin()
    await a_running_pod(cluster)
    await one.cancelled(END_WORK)
    assert cluster.jobs() == []


async def test_a_runner_that_leaves_lets_the_job_be_and_another_one_goes_on_with_it(cluster, step, runner_kubeconfig):
    one = step.begin()
    job = await the_job(cluster)
    await one.cancelled()
    async with a_kind(runner_kubeconfig) as heir:
        other = step.begin(heir, attempt=2, try_number=1)
        await a_running_pod(cluster)
        assert [each["metadata"]["uid"] for each in cluster.jobs()] == [job["metadata"]["uid"]]
        cluster.ends(0, "done")
        assert await other.outcome() == Succeeded("done")


async def test_two_runners_that_follow_one_job_for_a_moment_do_not_disturb_each_other(cluster, step, runner_kubeconfig):
    fenced = step.begin()
    await a_running_pod(cluster)
    async with a_kind(runner_kubeconfig) as heir:
        owner = step.begin(heir, attempt=2, try_number=1)
        await until(lambda: not owner.task.done() and len(cluster.jobs()) == 1, 5)
        await fenced.cancelled()
        cluster.ends(0, "done")
        assert await owner.outcome() == Succeeded("done")


async def test_a_job_that_ended_while_no_runner_looked_is_not_run_again(cluster, step):
    one = step.begin()
    await a_running_pod(cluster)
    await one.cancelled()
    cluster.ends(0, "done")
    assert await step.begin(attempt=2, try_number=1).outcome() == Succeeded("done")
    assert len(cluster.jobs()) == 1


async def test_a_job_that_may_have_run_and_was_tidied_up_while_no_runner_looked_is_not_run_again(cluster, step):
    began = datetime.now(UTC)
    one = step.begin(taken_over=began - timedelta(seconds=61), fields={"ttlSecondsAfterFinished": 60})
    error = (await one.outcome()).error
    assert (error.type, error.reason, error.retriable) == ("Evicted", "JobLost", True)
    assert "effect" in error.message
    one = step.begin(taken_over=began, logged_until=began + timedelta(seconds=1))  # it has said something: it was there
    assert (await one.outcome()).error.reason == "JobLost"
    assert cluster.jobs() == []


async def test_a_job_that_an_earlier_runner_cannot_have_lost_to_its_ttl_is_made(cluster, step):
    began = datetime.now(UTC) - timedelta(seconds=30)
    one = step.begin(taken_over=began, logged_until=began - timedelta(seconds=1))  # what was said is of an earlier try
    await a_running_pod(cluster)
    cluster.ends(0, "done")
    assert await one.outcome() == Succeeded("done")


async def test_a_job_of_the_same_name_that_is_not_this_steps_is_left_alone(cluster, step):
    job = job_of(step.context(), Container(image="x"), "")
    job["metadata"]["annotations"] = {"leat.dev/idempotency-key": "another/0/1"}
    job["metadata"]["labels"] = {"app.kubernetes.io/managed-by": "somebody"}
    cluster.make_job(job)
    error = (await step.begin().outcome()).error
    assert (error.type, error.reason, error.retriable) == ("Kubernetes", "NameTaken", False)
    assert all(word in error.message for word in ("somebody", job["metadata"]["name"], "another/0/1"))
    assert len(cluster.jobs()) == 1


async def test_what_a_runner_left_of_a_stopped_run_is_deleted_and_nothing_else(cluster, step, namespace):
    left, other = step.begin(), Steps(step.kind, namespace).begin()
    await until(lambda: len(cluster.jobs()) == 2, 20)
    for one in (left, other):
        await one.cancelled()  # its runner dies
    await step.forsaken(step.key._replace(step=7))  # another step of the run
    assert len(cluster.jobs()) == 2
    await step.forsaken(step.key)
    (job,) = cluster.jobs()
    assert job["metadata"]["labels"]["leat.dev/run-id"] != str(step.key.run_id)


async def test_a_job_that_has_ended_stays_for_people_when_its_run_is_stopped(cluster, step):
    one = step.begin()
    await the_job(cluster)
    await one.cancelled()
    cluster.job_becomes(
        startTime="2026-03-01T12:00:00Z",
        completionTime="2026-03-01T12:00:01Z",
        conditions=[{"type": "SuccessCriteriaMet", "status": "True"}, {"type": "Complete", "status": "True"}],
        succeeded=1,
    )
    await step.forsaken(step.key)
    assert len(cluster.jobs()) == 1


async def test_a_retry_makes_another_job(cluster, step):
    one = step.begin()
    await a_running_pod(cluster)
    cluster.ends(3, reason="Error")
    outcome = await one.outcome()
    assert (outcome.error.type, outcome.error.details["exitCode"]) == ("ExitCode", 3)
    again = step.begin(attempt=2, try_number=2)
    await until(lambda: len(cluster.jobs()) == 2, 20)
    await again.cancelled(END_WORK)
    assert len(cluster.jobs()) == 1


async def test_a_pod_that_waits_says_for_what_and_takes_it_back_when_it_runs(cluster, step):
    one = step.begin()
    cluster.pod(await the_job(cluster))
    cluster.becomes({"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}, "Pending")
    await one.noted("ImagePullBackOff: no such image")
    cluster.becomes({"running": {"startedAt": "2026-03-01T12:00:00Z"}})
    await until(lambda: one.told.notes[-1] == "", 20)
    cluster.ends(0)
    assert await one.outcome() == Succeeded()


async def test_a_pod_that_no_node_takes_says_so(cluster, step):
    one = step.begin()
    cluster.pod(await the_job(cluster))
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
    (pod,) = cluster.pods()
    status = {"status": {"phase": "Pending", "conditions": [condition]}}
    cluster._core.patch_namespaced_pod_status(pod["metadata"]["name"], cluster.namespace, status)
    await one.noted("Unschedulable: 0/3 nodes")
    await one.cancelled(END_WORK)


async def test_a_job_without_a_pod_says_what_its_controller_says(cluster, step):
    one = step.begin()
    cluster.warns(await the_job(cluster), "FailedCreate", "pods is forbidden: exceeded quota: small")
    await one.noted("FailedCreate: pods is forbidden: exceeded quota: small")
    await one.cancelled(END_WORK)


async def test_a_pod_that_does_not_begin_in_time_fails_with_its_reason_and_leaves_no_job(cluster, step):
    one = step.begin(fields={"pendingTimeout": "1s"})
    cluster.pod(await the_job(cluster))
    cluster.becomes({"waiting": {"reason": "ErrImagePull", "message": "no such image"}}, "Pending")
    error = (await one.outcome()).error
    assert (error.type, error.reason, error.retriable) == ("NotStarted", "ErrImagePull", True)
    assert cluster.jobs() == []


async def test_a_name_that_is_no_image_is_not_waited_for(cluster, step):
    one = step.begin()
    cluster.pod(await the_job(cluster))
    cluster.becomes({"waiting": {"reason": "InvalidImageName", "message": "UPPER"}}, "Pending")
    error = (await one.outcome()).error
    assert (error.type, error.reason, error.retriable) == ("NotStarted", "InvalidImageName", False)


async def test_an_evicted_pod_is_worth_another_try(cluster, step):
    one = step.begin()
    await a_running_pod(cluster)
    disrupted = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "drain"}
    ended = {"terminated": {"exitCode": 143, "reason": "Error"}}
    cluster.becomes(ended, "Failed", conditions=[disrupted])
    error = (await one.outcome()).error
    assert (error.type, error.reason, error.retriable) == ("Evicted", "EvictionByEvictionAPI", True)


async def test_a_pod_that_somebody_deletes_is_worth_another_try(cluster, step):
    one = step.begin()
    await a_pod_that_was_seen(cluster, one)
    cluster.remove_pod()
    error = (await one.outcome()).error
    assert (error.type, error.reason, error.retriable) == ("Evicted", "PodDeleted", True)


async def test_a_job_that_somebody_deletes_is_worth_another_try(cluster, step):
    one = step.begin()
    await a_pod_that_was_seen(cluster, one)
    cluster.remove_job()
    cluster.remove_pod()
    error = (await one.outcome()).error
    assert (error.type, error.reason, error.retriable) == ("Evicted", "JobDeleted", True)


async def test_the_clusters_own_deadline_is_a_timeout(cluster, step):
    one = step.begin()
    await a_pod_that_was_seen(cluster, one)
    over = {"status": "True", "reason": "DeadlineExceeded", "message": "Job was active longer than specified deadline"}
    cluster.job_becomes(
        startTime="2026-03-01T12:00:00Z",
        conditions=[{"type": "FailureTarget", **over}, {"type": "Failed", **over}],
        failed=1,
    )
    cluster.remove_pod()
    error = (await one.outcome()).error
    assert (error.type, error.reason) == ("Timeout", "DeadlineExceeded")


async def test_a_runner_without_a_cluster_says_what_it_lacks():
    kind = ContainerKind(KindSetup(a_setup().settings, a_setup().clock, Kubernetes({})))
    outcome = await kind.execute(a_step(), Container(image="busybox"))
    assert (outcome.error.type, outcome.error.reason, outcome.error.retriable) == ("Kubernetes", "NoCluster", False)


async def test_a_runner_without_rights_says_who_can_give_them(operator_kubeconfig, namespace):
    async with a_kind(operator_kubeconfig) as kind:  # the operator may not make Jobs
        error = (await Steps(kind, namespace).begin().outcome()).error
    assert (error.type, error.reason, error.retriable) == ("Kubernetes", "Forbidden", False)
    assert "docs/how-to/containers.md" in error.message


@pytest.fixture
def known(runner_kubeconfig):
    """The kubeconfig as data."""
    return yaml.safe_load(Path(runner_kubeconfig).read_text())


@pytest.fixture
async def wired(known, tmp_path):
    """A kind behind a wire that can be cut, and the wire."""
    cluster = known["clusters"][0]["cluster"]
    async with a_wire(int(cluster["server"].rpartition(":")[2])) as wire:
        cluster["server"] = f"https://127.0.0.1:{wire.port}"
        behind = tmp_path / "wired.kubeconfig"
        behind.write_text(yaml.safe_dump(known))
        async with a_kind(behind) as kind:
            yield kind, wire


async def test_an_api_server_that_is_away_is_waited_for_and_the_step_does_not_fail(cluster, wired, namespace):
    kind, wire = wired
    steps = Steps(kind, namespace)
    await wire.cut()
    one = steps.begin()
    await one.noted("ApiServerAway")
    await wire.mend()
    await a_running_pod(cluster)
    await until(lambda: one.told.notes[-1] == "", 20)
    await wire.cut()
    cluster.ends(0, "done while nobody looked")
    await wire.mend()
    assert await one.outcome() == Succeeded("done while nobody looked")
    assert len(cluster.jobs()) == 1


async def test_the_end_of_a_run_does_not_wait_for_an_api_server_that_is_away(cluster, wired, namespace, monkeypatch):
    monkeypatch.setattr(kind_module, "END_SECONDS", 0.1)
    kind, wire = wired
    steps = Steps(kind, namespace)
    one = steps.begin()
    await the_job(cluster)
    await one.cancelled()
    await wire.cut()
    await steps.forsaken(steps.key)
    assert len(cluster.jobs()) == 1
    await wire.mend()
    await until(lambda: cluster.jobs() == [], 20)


async def test_a_runner_that_may_not_look_for_jobs_lets_the_run_end(operator_kubeconfig, namespace):
    async with a_kind(operator_kubeconfig) as kind:
        steps = Steps(kind, namespace)
        await steps.forsaken(steps.key)


async def test_a_job_is_deleted_when_the_api_server_is_back_and_the_cancel_does_not_wait(
    cluster, wired, namespace, monkeypatch
):
    monkeypatch.setattr(kind_module, "END_SECONDS", 0.1)
    kind, wire = wired
    one = Steps(kind, namespace).begin()
    await a_running_pod(cluster)
    await wire.cut()
    await one.cancelled(END_WORK)
    assert len(cluster.jobs()) == 1
    await wire.mend()
    await until(lambda: cluster.jobs() == [], 20)


# -- files ------------------------------------------------------------------------------------------------------------


@dataclass
class Files:
    """A bucket of one step that leaves ``b``: what it was asked for."""

    arrived_: list[tuple[str, int, str]] = field(default_factory=list)
    available = reachable = True
    paths: ClassVar = {"b": "out/b.txt"}

    async def get_url(self, reference):
        return f"https://bucket.example/{reference['$artifact']['key']}?signed"

    async def put_url(self, name):
        return f"https://bucket.example/{name}?signed", "text/plain"

    async def arrived(self, name, size, sha256):
        self.arrived_.append((name, size, sha256))


GIVEN = {"$artifact": {"key": "shop/run/0/make/1/a", "size": 3, "sha256": "ff", "contentType": "x/y"}}
HAS_A_FILE = {"files": {"in/a.txt": GIVEN}}


def ended_with(code, message=""):
    return {"terminated": {"exitCode": code, "message": message, "reason": "x"}}


async def secrets_to_be(cluster, *ways):
    await until(lambda: {name.rpartition("-")[2] for name in cluster.secrets()} == set(ways), 20, lambda: str(cluster))
    return {name.rpartition("-")[2]: data for name, data in cluster.secrets().items()}


async def test_the_urls_of_files_are_given_when_they_are_due_whoever_follows_the_job(cluster, step, runner_kubeconfig):
    one = step.begin(fields=HAS_A_FILE, artifacts=Files())
    cluster.pod(await the_job(cluster), node="node1")
    given = await secrets_to_be(cluster, "get")
    assert given["get"]["LEAT_FILE_0"] == {
        "path": "in/a.txt",
        "url": "https://bucket.example/shop/run/0/make/1/a?signed",
        "size": 3,
        "sha256": "ff",
    }
    await one.cancelled()  # this runner leaves; the Job goes on
    async with a_kind(runner_kubeconfig) as other:
        two = step.begin(kind=other, fields=HAS_A_FILE, artifacts=Files(), attempt=2, taken_over=datetime.now(UTC))
        cluster.in_line({"leat-get": ended_with(0), "step": ended_with(0)})
        given = await secrets_to_be(cluster, "get", "put")
        assert given["put"]["LEAT_FILE_0"]["url"] == "https://bucket.example/b?signed"
        await two.cancelled()


async def test_files_that_could_not_be_fetched_end_the_step_and_say_why(cluster, step):
    one = step.begin(fields=HAS_A_FILE, artifacts=Files())
    cluster.pod(await the_job(cluster), node="node1")
    said = '{"name": "in/a.txt", "reason": "ArtifactGone", "message": "it is gone", "retriable": false}'
    cluster.in_line({"leat-get": ended_with(1, said)}, "Failed")
    error = (await one.outcome()).error
    assert (error.reason, error.message) == ("ArtifactGone", "container.files.in/a.txt: it is gone")


async def test_without_the_right_to_make_secrets_it_says_who_can_change_that(cluster, step):
    cluster.forbid("secrets")
    one = step.begin(fields=HAS_A_FILE, artifacts=Files())
    cluster.pod(await the_job(cluster), node="node1")
    error = (await one.outcome()).error
    assert (error.type, error.reason) == ("Kubernetes", "Forbidden")
    assert "docs/how-to/containers.md" in error.message
    await until(lambda: not cluster.jobs(), 20)
