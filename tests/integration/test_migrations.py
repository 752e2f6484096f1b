"""Upgrades and rollbacks: which program works with which database."""

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from leat_engine.errors import SchemaMismatch, StoreUnavailable
from leat_engine.store import Store, migrate, schema

FUTURE = "9999_from_the_future"


@asynccontextmanager
async def connected(database):
    connection = await asyncpg.connect(database)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.fixture
async def newer(database, monkeypatch):
    """Migrates the database as a newer Leat does, by one migration of this text; undone in the end."""

    async def upgrade(sql):
        ours = schema.migrations()
        with monkeypatch.context() as program:
            program.setattr(schema, "migrations", lambda: ours | {FUTURE: schema.Migration(FUTURE, sql)})
            assert await migrate(database) == [FUTURE]

    yield upgrade
    async with connected(database) as connection:
        await connection.execute("alter table leat.runner drop column if exists future")
        await connection.execute("delete from leat.migration where name = $1", FUTURE)


async def test_migrating_again_or_many_times_at_once_changes_nothing(database):
    assert await asyncio.gather(*(migrate(database) for _ in range(4))) == [[]] * 4


async def test_a_program_that_was_rolled_back_works_with_what_a_newer_one_has_added(database, newer):
    await newer("alter table leat.runner add column future text")
    store = await Store.connect(database)
    try:
        assert await store.care.prune(datetime.now(UTC), timedelta(days=90), timedelta(days=1)) == []
    finally:
        await store.close()
    assert await migrate(database) == []


async def test_a_program_refuses_a_database_that_a_newer_one_has_broken_for_it(database, newer):
    await newer("-- breaks older programs\nalter table leat.runner add column future text")
    with pytest.raises(SchemaMismatch, match=rf"{FUTURE}.*upgrade this one, or go back with a backup"):
        await Store.connect(database)
    with pytest.raises(SchemaMismatch, match="upgrade this one"):
        await migrate(database)


async def test_a_program_refuses_a_database_that_lacks_a_migration_of_its_own(database, monkeypatch):
    ours = schema.migrations()
    monkeypatch.setattr(schema, "migrations", lambda: ours | {FUTURE: schema.Migration(FUTURE, "select 1")})
    with pytest.raises(SchemaMismatch, match=f"lacks the migrations {FUTURE}: run `leat db migrate`"):
        await Store.connect(database)


async def test_a_database_without_the_schema_is_refused_with_the_command_that_helps(postgres):
    with pytest.raises(SchemaMismatch, match="leat db migrate"):
        await Store.connect(postgres.postgres_dsn.replace("/leat?", "/postgres?"))


async def test_a_database_from_before_migrations_said_what_they_break_is_taken_as_it_is(database):
    async with connected(database) as connection:
        await connection.execute("alter table leat.migration drop column breaks")
    await (await Store.connect(database)).close()
    assert await migrate(database) == []
    async with connected(database) as connection:
        assert not await connection.fetchval("select bool_or(breaks) from leat.migration")


async def test_a_migration_does_not_queue_up_behind_somebody_who_holds_a_table(database, newer, monkeypatch):
    monkeypatch.setattr(schema, "LOCK_TIMEOUT", "20ms")
    async with connected(database) as connection, connection.transaction():
        await connection.execute("lock table leat.runner in access share mode")
        with pytest.raises(StoreUnavailable, match="lock timeout"):
            await newer("alter table leat.runner add column future text")
    assert await migrate(database) == []


def test_only_the_first_line_of_a_migration_says_that_it_breaks_older_programs():
    assert schema.Migration("a", "-- breaks older programs\nselect 1").breaks
    assert not schema.Migration("b", "select 1;\n-- breaks older programs").breaks
