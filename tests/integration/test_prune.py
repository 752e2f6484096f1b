"""Retention: whole months go, and never one with a run that is not over."""

import os
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from leat_engine.job import uuid7
from leat_engine.records import NewRun, Root
from leat_engine.store import Store, migrate
from leat_engine.store.schema import add_months

NOW = datetime(2031, 7, 15, tzinfo=UTC)
KEEP, FORGET = timedelta(days=90), timedelta(days=1)


@pytest.fixture
async def connection(postgres_dsn):
    connection = await asyncpg.connect(postgres_dsn)
    yield connection
    await connection.close()


@pytest.fixture
async def store(postgres_dsn):
    await migrate(postgres_dsn)
    store = await Store.connect(postgres_dsn)
    yield store
    await store.close()


async def a_run_of(store, connection, moment, *, over):
    await add_months(connection, moment)
    run_id = uuid7(moment, os.urandom(10))
    await store.accept([NewRun(run_id, "default", "x", "w", "r", {}, (Root(1, "default"),), 1)])
    if over:
        await connection.execute("delete from leat.ready where run_id = $1", run_id)
        await connection.execute("update leat.run set phase = 4, live = 0, finished_at = now() where id = $1", run_id)
    return run_id


async def test_a_month_older_than_the_retention_is_dropped_when_all_its_runs_are_over(store, connection):
    old = await a_run_of(store, connection, datetime(2031, 1, 20, tzinfo=UTC), over=True)
    young = await a_run_of(store, connection, datetime(2031, 6, 20, tzinfo=UTC), over=True)
    dropped = await store.care.prune(NOW, KEEP, FORGET)
    assert "2031_01" in dropped
    assert "2031_06" not in dropped
    assert await store.run(old) is None
    assert await store.steps(old) == []
    assert await store.run(young) is not None


async def test_a_month_with_a_run_that_is_not_over_stays(store, connection):
    alive = await a_run_of(store, connection, datetime(2030, 11, 3, tzinfo=UTC), over=False)
    done = await a_run_of(store, connection, datetime(2030, 11, 4, tzinfo=UTC), over=True)
    assert "2030_11" not in await store.care.prune(NOW, KEEP, FORGET)
    assert await store.run(alive) is not None
    assert await store.run(done) is not None


async def test_the_months_to_come_are_there_before_they_begin(store, connection):
    await store.care.prune(NOW, KEEP, FORGET)
    names = {row["name"] for row in await connection.fetch("select relname as name from pg_class")}
    assert {"run_2031_07", "step_2031_07", "attempt_2031_07", "run_2031_08"} <= names
