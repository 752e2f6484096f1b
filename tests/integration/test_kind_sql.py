"""sql steps on a real database."""

import asyncio
from random import Random
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest
from aiohttp.test_utils import unused_port
from tests.support.cut import a_wire
from tests.support.hand import waits_for_a_lock
from tests.support.pgbouncer import pooled
from tests.support.queue import eventually, until
from tests.support.steps import STEP, a_kind, a_step

from leat_engine.result import Failed, Succeeded
from leat_engine.spec.sql import Sql
from leat_runner.kinds import network
from leat_runner.kinds.postgres import CONNECTIONS
from leat_runner.kinds.sql import SqlKind

PAY = "insert into payment (key, amount) values (:idempotencyKey, :amount) on conflict (key) do nothing"


@pytest.fixture
async def kind():
    async with a_kind(SqlKind) as kind:
        yield kind


@pytest.fixture
async def database(postgres_dsn):
    """A connection of the test's own, and an empty table."""
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute("drop table if exists payment")
    await connection.execute("create table payment (key text primary key, amount numeric not null check (amount > 0))")
    yield connection
    await connection.close()


@pytest.fixture
def do(kind, postgres_dsn):
    """Execute a statement as a step does."""

    async def do(query, *, step=STEP, url=postgres_dsn, by=kind, parameters=None, **fields):
        written = {"url": url, "query": query, "parameters": parameters or {}, **fields}
        return await by.execute(step, Sql.model_validate(written))

    return do


async def output(outcome):
    done = await outcome
    assert isinstance(done, Succeeded), done
    return done.output


async def failed(outcome):
    done = await outcome
    assert isinstance(done, Failed), done
    return done.error


def seen(error):
    return error.type, error.reason, error.retriable


async def test_rows_are_objects_and_values_keep_their_types(do):
    parameters = {
        "number": 10.0,
        "price": "12.30",
        "at": "2030-01-31T12:00:00Z",
        "day": "2030-01-31",
        "wait": "1h30m",
        "id": "0190a6c0-0000-7000-8000-000000000001",
        "document": {"a": [1, None, "x"]},
        "bytes": "aGk=",
        "yes": True,
        "many": [1, 2, None],
        "words": ["a", "b"],
        "documents": [{"a": 1}],
        "text": 5,
        "nothing": None,
    }
    query = """
        select cast(:number as int4) as number, cast(:price as numeric) as price, cast(:at as timestamptz) as at,
               cast(:day as date) as day, cast(:wait as interval) as wait, cast(:id as uuid) as id,
               cast(:document as jsonb) as document, cast(:bytes as bytea) as bytes, cast(:yes as bool) as yes,
               cast(:many as int8[]) as many, cast(:words as text[]) as words, cast(:documents as jsonb[]) as documents,
               cast(:text as text) as text, cast(:nothing as text) as nothing, ':none' as literal
    """
    done = await output(do(query, parameters=parameters))
    assert done == {
        "rows": [
            {
                **parameters,
                "number": 10,
                "at": "2030-01-31T12:00:00+00:00",
                "wait": 5400.0,
                "text": "5",
                "literal": ":none",
            }
        ],
        "rowCount": 1,
    }


async def test_a_value_is_never_read_as_sql(do, database):
    evil = "x'); drop table payment; --"
    await output(do("insert into payment values (:key, 1)", parameters={"key": evil}))
    assert await database.fetchval("select key from payment") == evil


async def test_a_second_attempt_writes_nothing_by_the_key_of_the_step(do, database):
    counts = [
        (await output(do(PAY, step=a_step(attempt=attempt), parameters={"amount": 5})))["rowCount"]
        for attempt in (1, 2)
    ]
    assert counts == [1, 0]
    rows = await database.fetch("select key from payment")
    assert [row["key"] for row in rows] == [STEP.idempotency_key]


async def test_a_statement_without_rows_tells_how_many_it_changed(do, database):
    await database.execute("insert into payment values ('a', 1), ('b', 2)")
    assert await output(do("update payment set amount = 3")) == {"rows": [], "rowCount": 2}
    assert await output(do("create table if not exists payment (a int)")) == {"rows": [], "rowCount": 0}


async def test_a_violated_constraint_is_not_tried_again_and_its_row_not_told(do, database):
    await database.execute("insert into payment values ('the-key', 1)")
    error = await failed(do("insert into payment values (:key, 2)", parameters={"key": "the-key"}))
    assert seen(error) == ("Sql", "UniqueViolation", False)
    assert error.details == {"sqlState": "23505", "constraint": "payment_pkey", "table": "payment"}
    assert "the-key" not in error.message


async def test_a_serialization_failure_is_worth_another_try(do, database, postgres_dsn):
    await database.execute("insert into payment values ('a', 1)")
    query = "update payment set amount = amount + 1"
    async with database.transaction():
        await database.execute("update payment set amount = 7")
        step = asyncio.create_task(do(query, isolation="serializable"))
        await waits_for_a_lock(postgres_dsn, step)
    error = (await step).error
    assert seen(error) == ("Sql", "Serialization", True)
    assert error.details["sqlState"] == "40001"
    assert await output(do(query, isolation="serializable")) == {"rows": [], "rowCount": 1}


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("selekt 1", "PostgresSyntax"),
        ("select 1; select 2", "PostgresSyntax"),
        ("select * from nowhere", "UndefinedTable"),
        ("select 1 / 0", "DivisionByZero"),
    ],
)
async def test_a_wrong_statement_is_not_tried_again(do, query, reason):
    assert seen(await failed(do(query))) == ("Sql", reason, False)


@pytest.mark.usefixtures("database")
async def test_a_step_that_may_only_read_writes_nothing(do):
    error = await failed(do("insert into payment values ('a', 1)", readOnly=True))
    assert seen(error) == ("Sql", "ReadOnlySQLTransaction", False)


async def test_too_many_rows_are_rolled_back(do, database):
    query = "insert into payment select n::text, 1 from generate_series(1, 250) n returning key"
    error = await failed(do(query, maxRows=249))
    assert seen(error)[0::2] == ("TooLarge", False)
    assert "more than 249 rows" in error.message
    assert await database.fetchval("select count(*) from payment") == 0
    done = await output(do(query, maxRows=250))
    assert (len(done["rows"]), done["rowCount"]) == (250, 250)


async def test_too_many_bytes_are_rolled_back(do):
    error = await failed(do("select repeat('x', 100000) from generate_series(1, 20)"))
    assert seen(error)[0::2] == ("TooLarge", False)


async def test_the_server_ends_a_statement_when_the_steps_time_is_over(do):
    error = await failed(do("select pg_sleep(60)", step=a_step(timeout=0.1)))
    assert (error.type, error.retriable, error.details) == ("Timeout", True, {"sqlState": "57014"})


async def test_what_is_cancelled_here_is_cancelled_on_the_server(do, database):
    asked = "select count(*) from pg_stat_activity where query like '%pg_sleep(61)%' and state = 'active' and pid <> $1"

    async def running():
        return await database.fetchval(asked, database.get_server_pid())

    step = asyncio.create_task(do("select pg_sleep(61)"))
    await eventually(running, 1)
    step.cancel()
    with pytest.raises(asyncio.CancelledError):
        await step
    await eventually(running, 0)
    assert await output(do("select 1 as one")) == {"rows": [{"one": 1}], "rowCount": 1}


async def test_a_lost_connection_is_worth_another_try(do, database):
    step = asyncio.create_task(do("select pg_sleep(62)"))
    end = "select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_sleep(62)%' and pid <> $1"

    async def ended():
        return await database.fetchval(end, database.get_server_pid())

    await eventually(ended, True)
    error = (await step).error
    assert error.type == "Connection"
    assert error.retriable
    await output(do("select 1"))


async def test_a_connection_that_ended_while_it_was_idle_is_replaced(do, database):
    backend = (await output(do("select pg_backend_pid() as pid")))["rows"][0]["pid"]
    await database.execute("select pg_terminate_backend($1)", backend)

    async def there():
        return await database.fetchval("select count(*) from pg_stat_activity where pid = $1", backend)

    await eventually(there, 0)
    assert (await output(do("select pg_backend_pid() as pid")))["rows"][0]["pid"] != backend


async def test_steps_share_connections_and_no_more_than_a_few(do):
    query = "select pg_backend_pid() as pid, pg_sleep(0.01)::text as slept"
    done = await asyncio.gather(*(output(do(query)) for _ in range(3 * CONNECTIONS)))
    assert len({one["rows"][0]["pid"] for one in done}) <= CONNECTIONS


async def test_what_a_step_set_in_its_session_does_not_meet_the_next(do):
    await output(do("select set_config('search_path', 'pg_catalog', false)"))
    assert (await output(do("show search_path")))["rows"] == [{"search_path": '"$user", public'}]


async def test_nobody_there_is_worth_another_try(do):
    error = await failed(do("select 1", url=f"postgresql://app:hunter2@127.0.0.1:{unused_port()}/shop"))
    assert (error.type, error.retriable) == ("Connection", True)
    assert "hunter2" not in error.message


async def test_a_database_that_is_not_there_is_not_tried_again(do, postgres_dsn):
    error = await failed(do("select 1", url=postgres_dsn.replace("/test_", "/absent_")))
    assert seen(error) == ("Sql", "InvalidCatalogName", False)


@pytest.mark.parametrize(
    ("query", "value", "message"),
    [
        ("select cast(:a as int4)", "hunter2", "sql.parameters.a: found a text, expected a whole number for int4"),
        ("select cast(:a as int4)", 2**40, "sql.parameters.a: the value is not of the type that the statement expects"),
        ("select cast(:a as int4range)", "[1,2)", "cast(cast(:a as text) as TYPE)"),
        ("select int4range(1, :a) as span", 3, "column 'span' is of type int4range, which has no form in JSON"),
        ("select :a::text as x, 2 as x", "a", "two columns are called 'x'"),
    ],
)
async def test_a_value_that_does_not_fit_is_told_without_itself(do, query, value, message):
    error = await failed(do(query, parameters={"a": value}))
    assert (error.type, error.retriable) == ("Invalid", False)
    assert message in error.message
    assert "hunter2" not in error.message


async def test_the_types_that_have_no_form_here_pass_as_text(do):
    done = await output(do("select cast(cast(:a as text) as int4range)::text as span", parameters={"a": "[1,3)"}))
    assert done["rows"] == [{"span": "[1,3)"}]


async def test_a_url_without_user_or_host_is_refused_whatever_the_runner_has_in_its_environment(do, monkeypatch):
    monkeypatch.setenv("PGUSER", "postgres")
    monkeypatch.setenv("PGHOST", "localhost")
    assert "it names no user" in (await failed(do("select 1", url="postgresql://db/shop"))).message
    assert "it names no host" in (await failed(do("select 1", url="postgresql://app@/shop"))).message


@pytest.fixture
async def wire(postgres_dsn):
    """A way to the server that can be cut and frozen."""
    async with a_wire(parse_qs(urlsplit(postgres_dsn).query)["host"][0] + "/.s.PGSQL.5432") as wire:
        url = urlsplit(postgres_dsn)
        wire.url = f"postgresql://{url.username}@127.0.0.1:{wire.port}{url.path}?sslmode=disable"
        yield wire


async def test_each_payment_is_written_once_wherever_the_connection_is_cut(do, database, wire):
    """A cut between the commit and its answer leaves a payment of which the step knows nothing: it is tried again."""
    lost = []

    async def pay(number):
        step = a_step(idempotency_key=f"run/0/{number}")
        while isinstance(outcome := await do(PAY, step=step, url=wire.url, parameters={"amount": number + 1}), Failed):
            assert outcome.error.retriable, outcome
            lost.append(outcome.error)

    async def cut():
        for _ in range(25):
            await asyncio.sleep(chance.uniform(0, 0.03))
            await wire.cut()
            await wire.mend()

    chance = Random(7)
    cutting = asyncio.create_task(cut())
    numbers = 0
    while not cutting.done():
        await asyncio.gather(*(pay(numbers + number) for number in range(20)))
        numbers += 20
    await cutting
    rows = await database.fetch("select key, amount from payment")
    assert {(row["key"], row["amount"]) for row in rows} == {(f"run/0/{n}", n + 1) for n in range(numbers)}
    assert lost


async def test_a_cancel_does_not_wait_for_a_server_that_says_nothing(do, wire):
    await output(do("select 1", url=wire.url))
    wire.freeze()
    step = asyncio.create_task(do("select 1", url=wire.url))
    await until(lambda: wire.held, 20)
    step.cancel()
    done, _ = await asyncio.wait({step}, timeout=30)
    assert done
    assert step.cancelled()


async def test_a_guarded_pool_does_not_reach_private_networks(do, postgres_dsn):
    async with a_kind(SqlKind, http_private_networks=False) as guarded:
        for url in (postgres_dsn, "postgresql://app@127.0.0.1:1/shop", "postgresql://app@localhost:1/shop"):
            error = await failed(do("select 1", url=url, by=guarded))
            assert seen(error) == ("Connection", "PrivateNetwork", False)


async def test_a_guarded_pool_reaches_what_is_public(do, wire, monkeypatch):
    monkeypatch.setattr(network, "is_public", lambda host: host == "127.0.0.1")
    async with a_kind(SqlKind, http_private_networks=False) as guarded:
        assert (await output(do("select 1 as one", url=wire.url, by=guarded)))["rows"] == [{"one": 1}]


async def test_statements_pass_a_pooler_of_transactions(do, postgres_dsn, tmp_path):
    with pooled(postgres_dsn, tmp_path) as url:
        async with a_kind(SqlKind) as kind:
            query = "select cast(:a as int4) as a, cast(:b as jsonb) as b"
            calls = (do(query, url=url, by=kind, parameters={"a": n, "b": [n]}) for n in range(20))
            done = await asyncio.gather(*map(output, calls))
    assert [one["rows"] for one in done] == [[{"a": n, "b": [n]}] for n in range(20)]
