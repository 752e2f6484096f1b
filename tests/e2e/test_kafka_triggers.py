"""Kafka triggers with operators as processes, their own rights, and a runner: deaths of operators and of the broker."""

import asyncio
import json
import signal
from collections import Counter
from contextlib import ExitStack

import pytest
import yaml
from kubernetes import config
from tests.support.operator import eventually, started
from tests.support.samples import FOLDER
from tests.support.secrets import Secrets
from tests.support.topics import Topics

from leat_stack import Part, down, up
from leat_stack.stack import stop

DEAD = "orders-dead"


@pytest.fixture
def environment(environment):
    # The group gives up a member that was killed after 6 s anyway; the broker's start takes time from everybody.
    return environment | {"LEAT_STANDING_INTERVAL": "0.5", "LEAT_LEASE_DURATION": "12"}


class Shelf:
    """The topics of a Kafka of the test's own."""

    def __init__(self, home):
        self.home = home
        self.url = up(home, [Part.KAFKA]).kafka_url

    def make(self, *names):
        async def make(topics):
            topics.prefix = ""
            for name in names:
                await topics.make(name)

        self._do(make)

    def publish(self, topic, *values):
        async def publish(topics):
            for value in values:
                await topics.publish(topic, value.encode() if isinstance(value, str) else value)

        self._do(publish)

    def values(self, topic):
        async def values(topics):
            return [record.value.decode() for record in await topics.records(topic)]

        return self._do(values)

    def uncommitted(self, topic, group):
        """Records that a group has still before it."""

        async def uncommitted(topics):
            committed = await topics.committed(group)
            return len(await topics.records(topic)) - sum(max(0, offset) for offset in committed.values())

        return self._do(uncommitted)

    def begun(self, group):
        """Whether it is settled where a group begins."""

        async def begun(topics):
            return bool(await topics.committed(group))

        return self._do(begun)

    def kill(self):
        stop(self.home, [Part.KAFKA], kill=True)
        up(self.home, [Part.KAFKA])

    def _do(self, work):
        async def do():
            async with Topics.at(self.url) as topics:
                found = await work(topics)
                topics.made = []
                return found

        return asyncio.run(do())


@pytest.fixture
def shelf(kafka, tmp_path):  # noqa: ARG001  it skips where there can be none
    home = tmp_path / "kafka"
    try:
        yield Shelf(home)
    finally:
        down(home)


@pytest.fixture
def secret(kubeconfig, namespace, shelf):
    with config.new_client_from_config(kubeconfig) as api:
        secret = Secrets(api, namespace, {"url": shelf.url})
        secret.create("kafka", **{"leat.dev/secret": "true"})
        secret.grant("kafka")
        yield secret


def active(process):
    return eventually(lambda: process.ready and process.metric("leat_operator_active") == 1, "it is active", 40)


def trigger(user, name):
    return next(iter(user.status(name, "workflows").get("triggers", ())), {})


def consumed(user, name):
    said = trigger(user, name)
    return bool(said) and "message" not in said


def outputs(user):
    statuses = [body.get("status", {}) for body in user.runs()]
    return Counter(status.get("output") for status in statuses if status.get("phase") == "Succeeded")


@pytest.mark.usefixtures("secret")
def test_the_sample_of_a_topic_starts_a_run_for_each_order_whoever_dies(environment, user, shelf, namespace, tmp_path):
    workflow, _ = yaml.safe_load_all((FOLDER / "kafka-trigger.yaml").read_text())
    workflow["spec"]["triggers"][0]["kafka"]["initialOffset"] = "earliest"
    shelf.make("orders", DEAD)
    user.apply(workflow)
    orders = [{"kind": "order", "id": f"A-{number}", "amount": number} for number in range(1, 31)]
    misfits = [{"kind": "order", "id": "A-31", "amount": 0}, {"kind": "order"}, "neither JSON nor an order"]
    doubled = [order for order in orders if order["amount"] % 3 == 0]  # their publisher did not hear that they arrived
    shelf.publish("orders", *orders[:20], {"kind": "other"}, *misfits, *doubled[:6])
    with started("leat_runner", environment, tmp_path):
        for point in ("before start:5", "after start:5"):
            with started("leat_operator", environment | {"LEAT_CRASH_AT": point}, tmp_path) as doomed:
                assert eventually(doomed.process.poll, f"it comes to {point!r}", 40) == -signal.SIGKILL
        with started("leat_operator", environment, tmp_path) as operator:
            active(operator)
            eventually(lambda: sum(outputs(user).values()) > 10, "runs are started again", 40)
            shelf.kill()
            shelf.publish("orders", *orders[20:], *doubled[6:])
            wanted = Counter(f"took {order['amount']} of {order['id']}" for order in orders)
            eventually(lambda: outputs(user) == wanted, "every order is taken once", 60)
            group = f"leat.{namespace}.kafka-trigger.orders"
            eventually(lambda: shelf.uncommitted("orders", group) == 0, "all is committed", 40, every=0.5)
            written = {body if isinstance(body, str) else json.dumps(body) for body in misfits}
            assert set(shelf.values(DEAD)) == written
            eventually(lambda: "lastFiredAt" in trigger(user, "kafka-trigger"), "the status says so")
            assert operator.metric("leat_operator_trigger_runs_total", source="kafka") >= 10
    assert outputs(user) == wanted
    logs = "".join(log.read_text() for log in tmp_path.glob("leat_operator-*.log"))
    assert "spec.triggers[0].inputs.amount: 0 is less than the minimum of 1" in logs


@pytest.mark.usefixtures("secret")
def test_only_the_active_operator_consumes_and_the_next_one_goes_on(environment, user, shelf, namespace, tmp_path):
    shelf.make("orders")
    kafka = {"secretRef": {"name": "kafka"}, "topic": "orders"}
    inputs = {"inputs": {"n": {"type": "integer"}}}
    fires = {"inputs": {"n": "${ event.value }"}}
    for name in ("one", "two"):  # each workflow has a group of its own
        step = {"name": "say", "transform": f"{name} ${{ inputs.n }}"}
        found = [{"name": "orders", "kafka": kafka, **fires}]
        user.workflow(name, step, triggers=found, output="${ steps.say.output }", **inputs)
    with ExitStack() as stack:
        stack.enter_context(started("leat_runner", environment, tmp_path))
        first = stack.enter_context(started("leat_operator", environment, tmp_path))
        active(first)
        second = stack.enter_context(started("leat_operator", environment, tmp_path))
        groups = [f"leat.{namespace}.{name}.orders" for name in ("one", "two")]
        eventually(lambda: all(map(shelf.begun, groups)), "it is settled where both begin", 40, every=0.5)
        shelf.publish("orders", *range(5))
        eventually(lambda: sum(outputs(user).values()) == 10, "each record starts both", 40)
        assert second.metric("leat_operator_trigger_runs_total") == 0
        assert first.end(signal.SIGKILL) == -signal.SIGKILL
        shelf.publish("orders", *range(5, 10))  # nobody is there
        active(second)
        eventually(lambda: sum(outputs(user).values()) == 20, "the other one goes on", 60)
        assert second.metric("leat_operator_trigger_runs_total", source="kafka") == 10
    assert outputs(user) == Counter(f"{name} {number}" for name in ("one", "two") for number in range(10))


@pytest.mark.usefixtures("secret")
def test_a_topic_that_cannot_be_consumed_says_why_and_is_consumed_when_it_can(environment, user, shelf, tmp_path):
    kafka = {"secretRef": {"name": "kafka"}, "topic": "nowhere", "initialOffset": "earliest"}
    user.workflow("hello", {"name": "greet", "transform": "hello"}, triggers=[{"name": "nowhere", "kafka": kafka}])
    with started("leat_operator", environment, tmp_path) as operator:
        active(operator)
        part = "there is no topic 'nowhere'"
        eventually(lambda: part in trigger(user, "hello").get("message", ""), part, 40)
        shelf.make("nowhere")
        shelf.publish("nowhere", "hello")
        eventually(lambda: len(user.runs()) == 1, "it is consumed now", 40)
        eventually(lambda: consumed(user, "hello"), "the status says no more")
