"""Fixtures only. The first test that needs a part of the stack starts it; all later runs of pytest share it."""

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.support.stack import fresh_database, fresh_namespace, fresh_vhost
from tests.support.topics import Topics

from leat_engine.store import Store, migrate
from leat_stack import Endpoints, Part, kafka_source, up
from leat_stack import mariadb as mariadb_server

HOME = Path(__file__).parents[1] / ".leat" / "test"


def pytest_collection_finish() -> None:
    """Thousands of tests stay: a collection that looks at them takes the time that an expression may have."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def stack() -> Endpoints:
    """All parts. It stays up for the next run: `uv run leat-stack down --home .leat/test` ends it."""
    return up(HOME)


@pytest.fixture(scope="session")
def postgres() -> Endpoints:
    return up(HOME, [Part.POSTGRES])


@pytest.fixture(scope="session")
def rabbitmq() -> Endpoints:
    return up(HOME, [Part.RABBITMQ])


@pytest.fixture(scope="session")
def kubernetes() -> Endpoints:
    return up(HOME, [Part.KUBERNETES])


@pytest.fixture(scope="session")
def kafka() -> Endpoints:
    """A Kafka, where there is a Java for it; elsewhere the test is skipped, and says what to install."""
    if (missing := kafka_source.missing(os.environ)) is not None:
        pytest.skip(missing)
    return up(HOME, [Part.KAFKA])


@pytest.fixture(scope="session")
def mariadb() -> Endpoints:
    """A MariaDB, where its server is installed; elsewhere the test is skipped, and says what to install."""
    if (missing := mariadb_server.missing(os.environ)) is not None:
        pytest.skip(missing)
    return up(HOME, [Part.MARIADB])


@pytest.fixture(scope="module")
def postgres_dsn(postgres: Endpoints) -> Iterator[str]:
    """A database for this module alone, empty at its start."""
    with fresh_database(postgres) as dsn:
        yield dsn


@pytest.fixture(scope="module")
def database(postgres_dsn: str) -> str:
    """That database with Leat's schema."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as loop:
        loop.run(migrate(postgres_dsn))
    return postgres_dsn


@pytest.fixture
async def store(database: str) -> AsyncIterator[Store]:
    """A store on that database."""
    store = await Store.connect(database)
    yield store
    await store.close()


@pytest.fixture(scope="module")
def amqp_url(rabbitmq: Endpoints) -> Iterator[str]:
    """A virtual host for this module alone."""
    with fresh_vhost(rabbitmq) as url:
        yield url


@pytest.fixture
async def topics(kafka: Endpoints) -> AsyncIterator[Topics]:
    """Topics for this test alone, gone at its end."""
    async with Topics.at(kafka.kafka_url) as topics:
        yield topics


@pytest.fixture(scope="session")
def kubeconfig(kubernetes: Endpoints) -> str:
    """The path of a kubeconfig that may do everything."""
    return kubernetes.kubeconfig


@pytest.fixture(scope="session")
def operator_kubeconfig(kubernetes: Endpoints) -> str:
    """The path of a kubeconfig with the operator's rights."""
    return kubernetes.operator_kubeconfig


@pytest.fixture
def namespace(kubernetes: Endpoints) -> Iterator[str]:
    """A namespace for this test alone."""
    with fresh_namespace(kubernetes) as name:
        yield name
