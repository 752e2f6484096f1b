"""Every sample by `kubectl apply`, against a real API server, operator and runners, to the end it states."""

import asyncio
import json
import subprocess
from contextlib import ExitStack
from urllib.parse import urlsplit

import aiormq
import asyncpg
import pytest
import yaml
from kubernetes import config
from tests.support.post import a_post
from tests.support.samples import FOLDER, Sample, samples, serving
from tests.support.secrets import Secrets

END = "90s"

pytestmark = pytest.mark.usefixtures("leat")


@pytest.fixture
def kubectl(kubernetes, namespace):
    def call(*arguments: str, text: str | None = None, fails: bool = False) -> str:
        command = [kubernetes.kubectl, "--kubeconfig", kubernetes.kubeconfig, "--namespace", namespace, *arguments]
        done = subprocess.run(command, check=False, input=text, capture_output=True, text=True, timeout=120)
        assert fails or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return call


@pytest.mark.parametrize("sample", samples(), ids=lambda sample: sample.file.stem)
def test_a_sample_applied_by_kubectl_reaches_the_end_it_states(sample: Sample, kubectl):
    name = sample.run["metadata"]["name"]
    with ExitStack() as stack:
        if sample.served is not None:
            sample.run["spec"]["inputs"] = {"url": stack.enter_context(serving(sample.served))}
        kubectl("apply", "-f", "-", text=yaml.safe_dump_all(sample.documents))
        wanted = "True" if sample.phase == "Succeeded" else "False"
        kubectl("wait", f"workflowrun/{name}", f"--for=condition=Succeeded={wanted}", f"--timeout={END}")
    status = json.loads(kubectl("get", "workflowrun", name, "-o", "json"))["status"]
    assert status["phase"] == sample.phase
    assert status.get("output") == sample.output
    assert status["observedGeneration"] == 1


@pytest.fixture
def keep(kubeconfig, namespace):
    """Keep URLs in the Secret `shop` of the namespace, which workflows and this pool may read."""
    with config.new_client_from_config(kubeconfig) as api:

        def keep(**urls: str) -> None:
            secrets = Secrets(api, namespace, urls)
            secrets.create("shop", **{"leat.dev/secret": "true"})
            secrets.grant("shop")

        yield keep


def applied(sample: Sample, kubectl, **inputs: str):
    """The run's status at its end, and all that the namespace's resources say."""
    sample.run["spec"]["inputs"] = inputs
    kubectl("apply", "-f", "-", text=yaml.safe_dump_all(sample.documents))
    name = sample.run["metadata"]["name"]
    kubectl("wait", f"workflowrun/{name}", "--for=condition=Succeeded=True", f"--timeout={END}")
    status = json.loads(kubectl("get", "workflowrun", name, "-o", "json"))["status"]
    assert (status["phase"], status["output"]) == (sample.phase, sample.output)
    return kubectl("get", "workflows,workflowruns", "-o", "yaml") + kubectl("get", "events", "-o", "yaml")


async def test_the_payment_is_written_told_and_confirmed(kubectl, keep, postgres_dsn, amqp_url):
    (sample,) = samples("services")
    keep(database=postgres_dsn, broker=amqp_url)
    broker = await aiormq.connect(amqp_url)
    channel = await broker.channel()
    queue = (await channel.queue_declare(exclusive=True)).queue
    await channel.queue_bind(queue, "amq.topic", "order.*")
    with a_post() as post:
        seen = await asyncio.to_thread(applied, sample, kubectl, mail=post.url)
    assert not any(secret in seen for secret in (postgres_dsn, amqp_url, urlsplit(amqp_url).password))

    database = await asyncpg.connect(postgres_dsn)
    (key,) = await database.fetchval("select array_agg(key) from payment")
    run = key.split("/")[0]
    message = await channel.basic_get(queue, no_ack=True)
    (letter,) = post.letters
    assert message.header.properties.message_id.startswith(run)
    assert letter["Message-ID"].startswith(f"<{run}.")
    await database.close()
    await broker.close()


async def test_the_order_is_announced_in_its_topic(kubectl, keep, kafka, topics):
    (sample,) = samples("kafka")
    topic = await topics.make("paid")
    keep(kafka=kafka.kafka_url)
    seen = await asyncio.to_thread(applied, sample, kubectl, topic=topic)
    assert not any(secret in seen for secret in (kafka.kafka_url, urlsplit(kafka.kafka_url).password))
    (record,) = await topics.records(topic)
    assert (record.key, json.loads(record.value)) == (b"A-17", {"kind": "paid", "id": "A-17"})


def test_an_invalid_workflow_says_why_in_its_own_status_and_in_that_of_its_run(kubectl):
    kubectl("apply", "-f", str(FOLDER / "invalid.yaml"))
    kubectl("wait", "workflowrun/invalid", "--for=condition=Succeeded=False", f"--timeout={END}")
    run = json.loads(kubectl("get", "workflowrun", "invalid", "-o", "json"))["status"]
    workflow = json.loads(kubectl("get", "workflow", "invalid", "-o", "json"))["status"]
    (ready,) = [each for each in workflow["conditions"] if each["type"] == "Ready"]
    assert ready["status"] == "False"
    for path in ("spec.steps[2].needs", "spec.steps[3].transform"):
        assert path in ready["message"]
        assert path in run["message"]


def test_people_see_the_runs_of_a_namespace_as_a_table(kubectl):
    kubectl("apply", "-f", str(FOLDER / "hello.yaml"))
    kubectl("wait", "workflowrun/hello", "--for=condition=Succeeded", f"--timeout={END}")
    header, row = kubectl("get", "wfr").splitlines()
    assert header.split() == ["NAME", "WORKFLOW", "PHASE", "PROGRESS", "ETA", "AGE"]
    assert row.split()[:4] == ["hello", "hello", "Succeeded", "1/1"]
