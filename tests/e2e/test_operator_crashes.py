"""An operator dies at a named point, in a stream of runs; the one that stood by goes on. Afterwards it is counted."""

import asyncio
import signal

import pytest
from tests.support.cluster import Orders
from tests.support.fleet import a_fleet, ready
from tests.support.operator import eventually, shop, started
from tests.support.stack import fresh_namespace

from leat_engine.store import migrate

POINTS = [f"{when} {what}" for what in ("accept", "report") for when in ("before", "after")]
LEAST, MOST = 24, 300
"""Runs: they arrive until the operator is dead."""


@pytest.fixture(scope="module")
def orders(kubernetes, postgres_dsn, amqp_url, tmp_path_factory):
    asyncio.run(migrate(postgres_dsn))
    with (
        fresh_namespace(kubernetes) as namespace,
        shop(kubernetes.kubeconfig, namespace) as user,
        a_fleet(postgres_dsn, amqp_url, tmp_path_factory.mktemp("fleet")) as fleet,
    ):
        ready(fleet.start(namespace=namespace))
        orders = Orders(user, fleet, postgres_dsn)
        orders.offer("quick")
        orders.offer("slow", seconds=2.5)  # so long that its progress is told as well
        yield orders


@pytest.fixture
def environment(orders, amqp_url, kubeconfig):
    return {
        "KUBECONFIG": kubeconfig,
        "LEAT_DATABASE_URL": orders.dsn,
        "LEAT_AMQP_URL": amqp_url,
        "LEAT_NAMESPACE": orders.user.namespace,
        "LEAT_WATCH_NAMESPACES": orders.user.namespace,
        "LEAT_LEASE_DURATION": "1",
    }


@pytest.mark.parametrize("point", POINTS)
def test_an_operator_that_dies_there_loses_and_doubles_nothing(point, environment, orders, tmp_path):
    with started("leat_operator", {**environment, "LEAT_CRASH_AT": f"{point}:3"}, tmp_path) as doomed:
        eventually(lambda: doomed.ready and doomed.metric("leat_operator_active") == 1, "it is active")
        with started("leat_operator", environment, tmp_path) as heir:
            for number in range(MOST):
                orders.place([f"{point.replace(' ', '-')}-{number}"], "slow" if number % 6 == 0 else "quick")
                if number >= LEAST and doomed.process.poll() is not None:
                    break
            assert eventually(doomed.process.poll, f"it comes to {point!r}") == -signal.SIGKILL
            account = orders.settle()
            assert account.clean, account
            assert heir.ready
