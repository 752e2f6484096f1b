"""An operator dies while it migrates a run; the one that stood by migrates it, and lets it go on."""

import asyncio
import signal

import pytest
from tests.support.fleet import a_fleet, ready
from tests.support.operator import eventually, shop, started
from tests.support.stack import fresh_namespace

from leat_engine.store import migrate

GREET = {"name": "greet", "transform": "hello"}
WAIT = {"name": "wait", "needs": ["greet"], "wait": {"duration": "1h"}}
LATE = {"name": "late", "needs": ["wait"], "transform": 1}


@pytest.fixture(scope="module")
def user(kubernetes, postgres_dsn, amqp_url, tmp_path_factory):
    asyncio.run(migrate(postgres_dsn))
    with (
        fresh_namespace(kubernetes) as namespace,
        shop(kubernetes.kubeconfig, namespace) as user,
        a_fleet(postgres_dsn, amqp_url, tmp_path_factory.mktemp("fleet")) as fleet,
    ):
        ready(fleet.start(namespace=namespace))
        yield user


@pytest.fixture
def environment(user, postgres_dsn, amqp_url, kubeconfig):
    return {
        "KUBECONFIG": kubeconfig,
        "LEAT_DATABASE_URL": postgres_dsn,
        "LEAT_AMQP_URL": amqp_url,
        "LEAT_NAMESPACE": user.namespace,
        "LEAT_WATCH_NAMESPACES": user.namespace,
        "LEAT_LEASE_DURATION": "8",
    }


@pytest.mark.parametrize("point", ["after suspend", "before migrate", "after migrate"])
def test_an_operator_that_dies_there_leaves_no_run_behind(point, environment, user, tmp_path):
    workflow, run = point.replace(" ", "-"), f"{point.replace(' ', '-')}-1"
    with started("leat_operator", {**environment, "LEAT_CRASH_AT": point}, tmp_path) as doomed:
        eventually(lambda: doomed.ready and doomed.metric("leat_operator_active") == 1, "it is active", 60)
        with started("leat_operator", environment, tmp_path):
            user.workflow(workflow, GREET, WAIT)
            user.run(run, workflow)
            eventually(lambda: user.status(run).get("progress") == "1/2", "it waits", 60)
            first = user.status(run)["revision"]
            user.patch(workflow, {"spec": {"steps": [GREET, WAIT, LATE]}}, "workflows")
            second = eventually(lambda: _other(user.status(workflow, "workflows"), first), "another revision", 60)
            user.patch(run, {"spec": {"revision": second}})
            assert eventually(doomed.process.poll, f"it comes to {point!r}", 60) == -signal.SIGKILL
            status = eventually(lambda: _goes_on(user.status(run), second), "it goes on by the other revision", 90)
            assert status["progress"] == "1/3"
            (told,) = [each for each in status["conditions"] if each["type"] == "Migrated"]
            assert told["status"] == "True"
            user.patch(run, {"spec": {"cancel": True}})
            user.until(run, "Cancelled")


def _other(status, revision):
    return status["revision"] if status.get("revision") not in (None, revision) else None


def _goes_on(status, revision):
    return status if (status["revision"], status["phase"]) == (revision, "Running") else None
