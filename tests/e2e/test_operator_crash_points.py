"""The operator dies at a named point of its station of the arrow. The next one tells every end all the same."""

import asyncio
import signal

import pytest
from tests.support.operator import eventually, shop, started

from leat_engine.store import Store, migrate

RUNS = 8
LEASE = 40
"""Seconds at most until another operator takes the Lease of one that was killed: it holds for 15."""


@pytest.fixture
def environment(postgres_dsn, amqp_url, kubeconfig, namespace):
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as loop:
        loop.run(migrate(postgres_dsn))
    return {
        "KUBECONFIG": kubeconfig,
        "LEAT_DATABASE_URL": postgres_dsn,
        "LEAT_AMQP_URL": amqp_url,
        "LEAT_NAMESPACE": namespace,
        "LEAT_WATCH_NAMESPACES": namespace,
        "LEAT_SWEEP_INTERVAL": "1",
        "LEAT_LEASE_DURATION": "5",
    }


@pytest.fixture
def user(environment, kubeconfig, namespace, tmp_path):
    with shop(kubeconfig, namespace) as resources, started("leat_runner", environment, tmp_path):
        yield resources


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_operator_that_dies_while_it_reports_leaves_no_resource_behind(when, environment, user, tmp_path):
    names = [f"run-{number}" for number in range(RUNS)]
    user.workflow("quick", {"name": "wait", "wait": {"duration": "10ms"}})
    with started("leat_operator", {**environment, "LEAT_CRASH_AT": f"{when} report:3"}, tmp_path) as doomed:
        eventually(lambda: doomed.ready and doomed.metric("leat_operator_active") == 1, "it is active")
        with started("leat_operator", environment, tmp_path):
            for name in names:
                user.run(name, "quick")
            assert eventually(doomed.process.poll, "it dies") == -signal.SIGKILL
            for name in names:
                assert user.until(name, "Succeeded", LEASE)["progress"] == "1/1"
            dsn = environment["LEAT_DATABASE_URL"]
            runs = eventually(lambda: _told(dsn, user.namespace), "the store has heard that all was told")
    assert sorted(runs) == names


def _told(dsn, namespace):
    """The names of all runs, once nothing is left to be told of them."""

    async def ask():
        store = await Store.connect(dsn, size=1)
        try:
            behind = [report for report in await store.reports(100) if report.run.namespace == namespace]
            return None if behind else [run.name for run in await store.runs(namespace, 100)]
        finally:
            await store.close()

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as loop:
        return loop.run(ask())
