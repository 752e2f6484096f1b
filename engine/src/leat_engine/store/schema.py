"""Migrations and partitions: the shape of the database, and the refusal of shapes this program cannot work with.

A migration whose first line is ``-- breaks older programs`` takes or changes something that the version before it uses.
All others only add, so that they may be applied while that version still runs, and stay when it is rolled back to. The
database keeps which is which: an older program can know it of a migration that it has never seen.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from leat_engine.errors import SchemaMismatch
from leat_engine.store.access import connecting

Connection = asyncpg.Connection | PoolConnectionProxy

PARTITIONED = {
    "run": 85,
    "step": 70,
    "attempt": 100,
    "log": 100,
    "block": 85,
    "signal": 90,
    "listener": 70,
    "undo": 100,
    "migrated": 100,
}
"""Tables split by month on the UUIDv7, with their fillfactor: room for the updates that keep a row on its page."""

BREAKS = "-- breaks older programs"
LOCK_TIMEOUT = "10s"
MONTHS_AHEAD = 1
MONTH = "%Y_%m"
_LOCK = 0x1EA7_0001


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of ``migrations/``."""

    name: str
    sql: str

    @property
    def breaks(self) -> bool:
        """Whether programs that do not know it can no longer work."""
        return self.sql.partition("\n")[0].strip() == BREAKS


def migrations() -> dict[str, Migration]:
    """Migrations by name, in the order of their numbers."""
    folder = files("leat_engine.store") / "migrations"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    found = [Migration(name.removesuffix(".sql"), (folder / name).read_text()) for name in names]
    return {migration.name: migration for migration in found}


async def migrate(dsn: str) -> list[str]:
    """Bring the database to this program's schema; returns the names of the migrations applied now.

    Safe to run twice and at the same time from several places: an advisory lock makes the others wait. What a newer
    program has added stays.

    Raises:
        SchemaMismatch: The database has migrations that this program does not know and cannot work with.
        StoreRefused: The URL is none, or Postgres does not let us in, or refuses a statement.
        StoreUnavailable: Postgres does not answer, or somebody holds a table: try again.
    """
    with connecting():
        connection = await asyncpg.connect(dsn, statement_cache_size=0)  # so that a pooler may stand between
    try:
        with connecting():
            async with connection.transaction():
                return await _apply(connection)
    finally:
        await connection.close()


async def _apply(connection: Connection) -> list[str]:
    await connection.execute("select pg_advisory_xact_lock($1)", _LOCK)
    # While a statement waits for a table, all that comes after it waits too, running programs included.
    await connection.execute(f"set local lock_timeout = '{LOCK_TIMEOUT}'")
    await connection.execute("create schema if not exists leat")
    await connection.execute(
        "create table if not exists leat.migration"
        " (name text primary key, applied_at timestamptz not null default now())"
    )
    await connection.execute(
        "alter table leat.migration add column if not exists breaks boolean not null default false"
    )
    known = migrations()
    applied = await _applied(connection)
    refuse_unknown(applied, known)
    todo = [migration for name, migration in known.items() if name not in applied]
    for migration in todo:
        await connection.execute(migration.sql)
        await connection.execute(
            "insert into leat.migration (name, breaks) values ($1, $2)", migration.name, migration.breaks
        )
    await add_months(connection, datetime.now(UTC))
    return [migration.name for migration in todo]


async def check(connection: Connection) -> None:
    """Refuse a database that lacks something of this program's schema, or that has outgrown this program.

    Raises:
        SchemaMismatch: The message names the command that helps.
    """
    if await connection.fetchval("select to_regclass('leat.migration')") is None:
        raise SchemaMismatch("the database has no Leat schema: run `leat db migrate`")
    known = migrations()
    applied = await _applied(connection)
    refuse_unknown(applied, known)
    behind = [name for name in known if name not in applied]
    if behind:
        raise SchemaMismatch(f"the database lacks the migrations {', '.join(behind)}: run `leat db migrate`")


def refuse_unknown(applied: Mapping[str, bool], known: Mapping[str, Migration]) -> None:
    """Refuse migrations that this program does not know and that break those who do not. Others only add.

    Raises:
        SchemaMismatch: Only a newer program can work with this database.
    """
    unknown = sorted(name for name, breaks in applied.items() if breaks and name not in known)
    if unknown:
        raise SchemaMismatch(
            "the database was upgraded by a newer Leat, and older ones cannot work with it any more (migrations: "
            f"{', '.join(unknown)}): upgrade this one, or go back with a backup from before the upgrade"
        )


async def add_months(connection: Connection, now: datetime) -> None:
    """Make sure that the partitions of this month and the next ones exist, and one for what is outside all months.

    A month that has rows there already stays there: Postgres makes no partition for rows that are elsewhere. A table
    that came with an upgrade gets the months that the others have.
    """
    months = {*months_from(now, MONTHS_AHEAD + 1), *(_month(name) for name in await _months(connection))}
    for table, fillfactor in PARTITIONED.items():
        key = "id" if table == "run" else "run_id"
        await connection.execute(
            f"create table if not exists leat.{table}_other partition of leat.{table} default"
            f" with (fillfactor = {fillfactor})"
        )
        for month in sorted(months):
            low, high = month, following(month)
            early = f"select from leat.{table}_other where {key} >= '{bound(low)}' and {key} < '{bound(high)}'"
            if await connection.fetchval(f"select exists ({early})"):
                continue
            await connection.execute(
                f"create table if not exists leat.{table}_{low:%Y_%m} partition of leat.{table}"
                f" for values from ('{bound(low)}') to ('{bound(high)}') with (fillfactor = {fillfactor})"
            )


async def drop_months(connection: Connection, before: datetime) -> list[str]:
    """Drop the months that ended before ``before``, with all their runs, unless one of these is not over; their names.

    A lock that is not granted soon is not waited for, or the hot path would queue up behind it: the next round tries
    again.
    """
    dropped = []
    for name in await _months(connection):
        if following(_month(name)) > before:
            continue
        async with connection.transaction():
            await connection.execute("set local lock_timeout = '2s'")
            alive = f"select exists (select from leat.run_{name} where finished_at is null)"  # noqa: S608  our own names
            if not await connection.fetchval(alive):
                parts = ", ".join(f"leat.{table}_{name}" for table in PARTITIONED)
                await connection.execute(f"drop table if exists {parts}")
                dropped.append(name)
    return dropped


async def _months(connection: Connection) -> list[str]:
    rows = await connection.fetch(
        "select c.relname as name from pg_inherits i join pg_class c on c.oid = i.inhrelid"
        " where i.inhparent = 'leat.run'::regclass and c.relname <> 'run_other'"
    )
    return sorted(row["name"].removeprefix("run_") for row in rows)


def _month(name: str) -> datetime:
    return datetime.strptime(name, MONTH).replace(tzinfo=UTC)


def months_from(now: datetime, count: int) -> list[datetime]:
    """The first moments of ``count`` months, beginning with that of ``now``."""
    months = [now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)]
    while len(months) < count:
        months.append(following(months[-1]))
    return months


def following(month: datetime) -> datetime:
    """The first moment of the month after ``month``."""
    return month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)


def bound(moment: datetime) -> str:
    """The smallest UUIDv7-shaped value of a moment: partition bounds are prefixes of time."""
    prefix = f"{int(moment.timestamp() * 1000):012x}"
    return f"{prefix[:8]}-{prefix[8:]}-0000-0000-000000000000"


async def _applied(connection: Connection) -> dict[str, bool]:
    """The migrations that the database has, and whether they break programs that do not know them."""
    # Read by way of JSON: a database of the first days has no such column, and nothing that breaks.
    rows = await connection.fetch(
        "select name, coalesce((to_jsonb(m) ->> 'breaks')::boolean, false) as breaks from leat.migration m"
    )
    return {row["name"]: row["breaks"] for row in rows}
