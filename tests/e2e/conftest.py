"""Fixtures of the tests that need all of Leat."""

import asyncio
from contextlib import ExitStack

import pytest
from tests.support.operator import eventually, shop, started
from tests.support.samples import FOLDER, samples

from leat_engine.store import migrate
from leat_stack import down, up


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The folder of a stack of its own, all parts running: to be broken, or to be counted with nobody else in it."""
    home = tmp_path_factory.mktemp("site")
    try:
        asyncio.run(migrate(up(home).postgres_dsn))
        yield home
    finally:
        down(home)


@pytest.fixture(scope="module")
def leat(kubernetes, postgres_dsn, amqp_url, tmp_path_factory):
    """An operator for all namespaces, with its own rights only, and two runners with the samples' functions."""
    asyncio.run(migrate(postgres_dsn))
    environment = {
        "KUBECONFIG": kubernetes.operator_kubeconfig,
        "LEAT_DATABASE_URL": postgres_dsn,
        "LEAT_AMQP_URL": amqp_url,
        "LEAT_NAMESPACE": "leat-system",
        "LEAT_FUNCTIONS": str(FOLDER / "functions.py"),
        **{name: value for sample in samples() for name, value in sample.secrets.items()},
    }
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("leat")
        environment["LEAT_ARTIFACTS_URL"] = (folder / "artifacts").as_uri()
        operator = stack.enter_context(started("leat_operator", environment, folder))
        for _ in range(2):
            stack.enter_context(started("leat_runner", environment, folder))
        eventually(
            lambda: operator.ready and operator.metric("leat_operator_active") == 1, "the operator is active", 40
        )
        yield operator


@pytest.fixture
def user(kubeconfig, namespace):
    """Somebody with a namespace, who applies and reads resources there."""
    with shop(kubeconfig, namespace) as resources:
        yield resources


@pytest.fixture
def environment(operator_kubeconfig, postgres_dsn, amqp_url, namespace):
    """Of an operator and runners for one namespace, where another operator takes over soon."""
    asyncio.run(migrate(postgres_dsn))
    return {
        "KUBECONFIG": operator_kubeconfig,
        "LEAT_DATABASE_URL": postgres_dsn,
        "LEAT_AMQP_URL": amqp_url,
        "LEAT_WATCH_NAMESPACES": namespace,
        "LEAT_LEASE_DURATION": "2",
    }
