"""Triggers with the operator as a process, its own rights, and a runner: the samples, deaths, and `leat backfill`."""

import asyncio
import json
import signal
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
import yaml
from kubernetes import config
from tests.support.cli import leat
from tests.support.operator import Shop, eventually, started
from tests.support.queues import DEAD, Queues
from tests.support.samples import FOLDER
from tests.support.secrets import Secrets

from leat_engine.result import Phase
from leat_engine.schedule import Cron, due
from leat_engine.store import Store
from leat_engine.trigger import LABEL

REPORT = {"name": "report", "transform": "${ inputs.at }"}
HOURS = {
    "name": "hours",
    "schedule": {"cron": "0 * * * *", "onMiss": "catchUp"},
    "inputs": {"at": "${ trigger.scheduledAt }"},
}
HOURLY = {"inputs": {"at": {"type": "string"}}, "triggers": [HOURS], "output": "${ steps.report.output }"}


@pytest.fixture
def environment(environment):
    return environment | {"LEAT_STANDING_INTERVAL": "0.5", "LEAT_HISTORY_INTERVAL": "0.5"}


@dataclass(frozen=True)
class Site:
    """A namespace, and what operators and runners need to serve it."""

    environment: dict
    folder: Path
    user: Shop

    @property
    def dsn(self):
        return self.environment["LEAT_DATABASE_URL"]

    def runner(self):
        return started("leat_runner", self.environment, self.folder)

    @contextmanager
    def operator(self):
        with started("leat_operator", self.environment, self.folder) as process:
            eventually(lambda: process.ready and process.metric("leat_operator_active") == 1, "it is active", 40)
            yield process

    def dies(self, point):
        """An operator runs until it dies there."""
        with started("leat_operator", {**self.environment, "LEAT_CRASH_AT": point}, self.folder) as doomed:
            assert eventually(doomed.process.poll, f"it comes to {point!r}", 40) == -signal.SIGKILL


@pytest.fixture
def site(environment, user, tmp_path):
    return Site(environment, tmp_path, user)


def sql(dsn, statement, *arguments):
    async def ask():
        connection = await asyncpg.connect(dsn)
        try:
            return await connection.fetch(statement, *arguments)
        finally:
            await connection.close()

    return asyncio.run(ask())


def in_the_store(dsn, namespace):
    async def ask():
        store = await Store.connect(dsn, size=1)
        try:
            return Counter(run.name for run in await store.shown.runs(namespace, 1000) if run.phase is Phase.SUCCEEDED)
        finally:
            await store.close()

    return asyncio.run(ask())


def hours_before(dsn, namespace, hours):
    """Set the schedule back, as if nobody had kept it since; the time it is settled up to."""
    statement = (
        "update leat.trigger set settled_at = now() - make_interval(hours => $2) where namespace = $1"
        " returning settled_at"
    )
    return sql(dsn, statement, namespace, hours)[0]["settled_at"]


def triggers(user, name):
    return {each["name"]: each for each in user.status(name, "workflows").get("triggers", ())}


def enrolled(user, name, trigger):
    return eventually(lambda: triggers(user, name).get(trigger, {}).get("nextAt"), "it says when it is due next")


def expected(workflow, trigger, cron, since, until=None):
    moments = due(Cron.parse(cron), since, until or datetime.now(UTC))
    return Counter(f"{workflow}.{trigger}.{moment:%Y%m%d%H%M}" for moment in moments)


def test_an_operator_that_dies_while_it_catches_up_loses_and_doubles_no_moment(site, user, namespace):
    history = {"ttlSecondsAfterFinished": 0}
    with site.operator():
        user.workflow("hourly", REPORT, history=history, **HOURLY)
        enrolled(user, "hourly", "hours")
    since = hours_before(site.dsn, namespace, 12)
    with site.runner():
        for point in ("before start:3", "after start:3"):
            site.dies(point)
        with site.operator():
            wanted = expected("hourly", "hours", "0 * * * *", since)
            eventually(lambda: in_the_store(site.dsn, namespace) == wanted, "every moment is run", 40)
            eventually(lambda: not user.runs(), "the resources of all are gone")
        hours_before(site.dsn, namespace, 12)  # as if nothing had been settled
        with site.operator() as operator:
            eventually(lambda: "lastFiredAt" in triggers(user, "hourly")["hours"], "they are visited again")
            assert operator.metric("leat_operator_trigger_runs_total") == 0
    assert in_the_store(site.dsn, namespace) == expected("hourly", "hours", "0 * * * *", since)


def test_the_sample_of_a_schedule_makes_up_for_the_days_that_it_missed(site, user, namespace):
    workflow, _ = yaml.safe_load_all((FOLDER / "cron.yaml").read_text())
    workflow["spec"]["triggers"][0]["schedule"]["cron"] = "30 5 * * *"  # whatever day the test is run on
    with site.runner():
        with site.operator():
            user.apply(workflow)
            enrolled(user, "cron", "morning")
        since = hours_before(site.dsn, namespace, 50)
        with site.operator():
            wanted = due(Cron.parse("30 5 * * *", "Europe/Berlin"), since, datetime.now(UTC))
            assert len(wanted) in {2, 3}
            names = [f"cron.morning.{moment:%Y%m%d%H%M}" for moment in wanted]
            for name in names:  # one after the other: the next one waits for the end of the one before
                user.until(name, "Succeeded", 40)
            run = user.get(names[0])
            assert run["spec"]["inputs"] == {"day": f"{wanted[0]:%Y-%m-%d}", "source": "morning"}
            assert run["metadata"]["labels"] == {LABEL: "morning"}
            newest = f"{wanted[-1]:%Y-%m-%dT%H:%M:%SZ}"
            eventually(lambda: triggers(user, "cron")["morning"].get("lastFiredAt") == newest, "the status says so")


def test_runs_of_times_that_passed_are_started_once_by_leat_backfill(site, user, kubeconfig, namespace):
    def backfill(*more, since="2026-03-01T00:00", until="2026-03-01T03:00"):
        arguments = ("backfill", "hourly", "--from", since, "--to", until, "-n", namespace, *more)
        return leat(*arguments, env={"KUBECONFIG": kubeconfig})

    user.workflow("hourly", REPORT, **HOURLY)
    wanted = [f"hourly.hours.20260301{hour:02}00" for hour in range(4)]
    dry = backfill("--dry-run", "-o", "json")
    assert [(each["name"], each["what"]) for each in dry.json] == [(name, "would be started") for name in wanted]
    assert user.runs() == []
    done = backfill()
    assert done.out.splitlines() == [f"workflowrun.leat.dev/{name} started" for name in wanted]
    again = backfill("--trigger", "hours", until="2026-03-01T04:00")
    assert [line.split(" ", 1)[1] for line in again.out.splitlines()] == ["is there"] * 4 + ["started"]
    with site.runner(), site.operator():
        assert user.until(wanted[1], "Succeeded")["output"] == "2026-03-01T01:00:00Z"
        eventually(lambda: sum(in_the_store(site.dsn, namespace).values()) == 5, "all are run")
    user.delete(wanted[0])
    remembered = backfill("--database", site.dsn)
    assert {line.split(" ", 1)[1] for line in remembered.out.splitlines()} == {"is there"}
    assert wanted[0] not in {body["metadata"]["name"] for body in user.runs()}


def test_what_cannot_be_backfilled_is_answered_with_what_can(user, kubeconfig, namespace):
    def error(*arguments):
        done = leat("backfill", *arguments, "-n", namespace, env={"KUBECONFIG": kubeconfig})
        assert done.code == 2
        return done.err

    user.workflow("hourly", REPORT, **HOURLY)
    assert "found no Workflow 'daily'" in error("daily", "--from", "2026-03-01")
    assert "expected a schedule of hourly: hours" in error("hourly", "--trigger", "days", "--from", "2026-03-01")
    assert "found --from 'monday', expected a date" in error("hourly", "--from", "monday")
    assert "found more than 1000 moments" in error("hourly", "--from", "2020-01-01")
    future = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%d}"
    assert "found --to in the future" in error("hourly", "--from", "2026-03-01", "--to", future)


@pytest.fixture
def queues(rabbitmq, amqp_url):
    queues = Queues(rabbitmq, amqp_url)
    queues.declare("orders")
    return queues


@pytest.fixture
def secret(kubeconfig, namespace, amqp_url):
    with config.new_client_from_config(kubeconfig) as api:
        yield Secrets(api, namespace, {"url": amqp_url})


def test_the_sample_of_a_queue_starts_a_run_for_each_order_whoever_dies(site, user, queues, secret, namespace):
    workflow, _ = yaml.safe_load_all((FOLDER / "amqp-trigger.yaml").read_text())
    secret.create("broker", **{"leat.dev/secret": "true"})
    secret.grant("broker")
    user.apply(workflow)
    orders = [{"kind": "order", "id": f"A-{number}", "amount": number} for number in range(1, 31)]
    for order in orders:
        queues.publish("orders", order)
        if order["amount"] % 3 == 0:
            queues.publish("orders", order)  # its publisher did not hear that it had arrived
    queues.publish("orders", {"kind": "other"})
    misfits = [{"kind": "order", "id": "A-31", "amount": 0}, {"kind": "order"}, "neither JSON nor an order"]
    for misfit in misfits:
        queues.publish("orders", misfit)
    with site.runner():
        for point in ("before start:5", "after start:5"):
            site.dies(point)
        with site.operator() as operator:

            def outputs():
                statuses = [body.get("status", {}) for body in user.runs()]
                return Counter(status.get("output") for status in statuses if status.get("phase") == "Succeeded")

            wanted = Counter(f"took {order['amount']} of {order['id']}" for order in orders)
            eventually(lambda: outputs() == wanted, "every order is taken once", 40)
            written = sorted(body if isinstance(body, str) else json.dumps(body) for body in misfits)
            eventually(lambda: sorted(queues.bodies(DEAD)) == written, "what fits no run is a dead letter")
            assert queues.bodies("orders") == []
            assert operator.metric("leat_operator_trigger_unfired_total", reason="condition") <= 1
            eventually(lambda: "lastFiredAt" in triggers(user, "amqp-trigger").get("orders", {}), "the status says so")
    logs = "".join(log.read_text() for log in site.folder.glob("leat_operator-*.log"))
    assert "spec.triggers[0].inputs.amount: 0 is less than the minimum of 1" in logs
    assert sum(in_the_store(site.dsn, namespace).values()) == len(orders)


def test_a_queue_that_cannot_be_consumed_says_why_and_is_consumed_when_it_can(site, user, queues, secret):
    def trigger(name, queue, ref="broker"):
        return {"name": name, "amqp": {"secretRef": {"name": ref}, "queue": queue}}

    secret.create("hidden")
    secret.create("broker")
    secret.grant("broker")
    every = [trigger("nowhere", "nowhere"), trigger("hidden", "orders", "hidden")]
    user.workflow("hello", {"name": "greet", "transform": "hello"}, triggers=every)

    def says(name, part, seconds=20):
        eventually(lambda: part in triggers(user, "hello").get(name, {}).get("message", ""), part, seconds)

    with site.operator():
        says("hidden", "the operator may not read Secret hidden: kubectl create role leat-triggers")
        says("nowhere", "kubectl label secret broker")
        secret.label("broker")
        says("nowhere", "no queue 'nowhere'")
        queues.publish("orders", "early")
        queues.declare("nowhere")
        queues.publish("nowhere", "hello", "m-1")
        eventually(lambda: len(user.runs()) == 1, "it is consumed now")
        eventually(lambda: "message" not in triggers(user, "hello")["nowhere"], "the status says no more")
    assert queues.bodies("orders") == ["early"]
