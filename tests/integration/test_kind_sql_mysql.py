"""sql steps on a real MariaDB: the words, outputs and errors are those of PostgreSQL."""

import asyncio
from contextlib import asynccontextmanager
from random import Random
from urllib.parse import urlsplit

import pytest
from aiohttp.test_utils import unused_port
from tests.support.cut import a_wire
from tests.support.mysql import Outside, fresh_mysql_database
from tests.support.queue import eventually, until
from tests.support.steps import STEP, a_kind, a_step

from leat_engine.result import Failed, Succeeded
from leat_engine.spec.sql import Sql
from leat_runner.kinds import network
from leat_runner.kinds.sql import SqlKind
from leat_runner.kinds.statement import CONNECTIONS

PAY = "insert into payment (id, amount) values (:idempotencyKey, :amount) on duplicate key update amount = amount"


@pytest.fixture(scope="module")
def url(mariadb):
    with fresh_mysql_database(mariadb.mariadb_url) as url:
        yield url


@pytest.fixture
async def kind():
    async with a_kind(SqlKind) as kind:
        yield kind


@pytest.fixture
async def database(url):
    """A connection of the test's own, and an empty table."""
    outside = await Outside.of(url)
    await outside.rows("drop table if exists payment")
    await outside.rows(
        "create table payment (id varchar(190) primary key, amount decimal(10, 2) not null, "
        "constraint positive check (amount > 0))"
    )
    yield outside
    await outside.close()


@pytest.fixture
def do(kind, url):
    """Execute a statement as a step does."""

    async def do(query, *, step=STEP, url=url, by=kind, parameters=None, **fields):
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


async def test_rows_are_objects_and_values_keep_their_types(do, database):
    await database.rows("drop table if exists kinds")
    await database.rows(
        "create table kinds (number int, large bigint unsigned, price decimal(10, 2), ratio double, at datetime(3), "
        "instant timestamp(0) null, day date, clock time, text_ text, bytes blob, yes boolean, flags bit(4), "
        "document json, year_ year, nothing int)"
    )
    parameters = {
        "number": 10.0,
        "large": 2**63 - 1,
        "price": "12.30",
        "ratio": 0.1,
        "at": "2030-01-31T12:00:00.5",
        "instant": "2030-01-31 12:00:00",
        "day": "2030-01-31",
        "clock": "12:30:00",
        "text_": "Grüße, 🚰 \\' \" ` ; -- :x ?",
        "bytes": "aGk=",
        "yes": True,
        "flags": 5,
        "document": {"a": [1, None, "x"]},
        "year_": 2030,
        "nothing": None,
    }
    marks = ", ".join(f"from_base64(:{name})" if name == "bytes" else f":{name}" for name in parameters)
    done = await output(do(f"insert into kinds values ({marks})", parameters=parameters))  # noqa: S608
    assert done == {"rows": [], "rowCount": 1}
    assert (await output(do("select * from kinds")))["rows"] == [
        {
            **parameters,
            "number": 10,
            "at": "2030-01-31T12:00:00.500",
            "instant": "2030-01-31T12:00:00+00:00",
            "yes": 1,
            "document": '{"a":[1,null,"x"]}',
        }
    ]


async def test_parameters_keep_their_types_in_the_statement_itself(do):
    query = "select :a as a, :b as b, :c as c, :d as d, :a as e, 'ü :none' as literal limit :n"
    done = await output(do(query, parameters={"a": 1, "b": "1", "c": None, "d": 0.5, "n": 1}))
    assert done["rows"] == [{"a": 1, "b": "1", "c": None, "d": 0.5, "e": 1, "literal": "ü :none"}]


@pytest.mark.parametrize("mode", ["", "NO_BACKSLASH_ESCAPES", "ANSI"])
async def test_a_value_is_never_read_as_sql_whatever_the_mode_of_the_server(do, database, mode):
    evil = "x\\'); drop table payment; -- \\"
    before = await database.value("select @@global.sql_mode")
    await database.rows(f"set global sql_mode = '{mode}'")
    try:
        async with a_kind(SqlKind) as kind:
            await output(do("insert into payment values (:id, 1)", parameters={"id": evil}, by=kind))
    finally:
        await database.rows(f"set global sql_mode = '{before}'")
    assert await database.rows("select id from payment") == [(evil,)]


async def test_a_second_attempt_writes_nothing_by_the_key_of_the_step(do, database):
    for attempt in (1, 2):
        await output(do(PAY, step=a_step(attempt=attempt), parameters={"amount": 5 * attempt}))
    assert [(key, str(amount)) for key, amount in await database.rows("select * from payment")] == [
        (STEP.idempotency_key, "5.00")
    ]


async def test_a_statement_without_rows_tells_how_many_it_found(do, database):
    await database.rows("insert into payment values ('a', 1), ('b', 3)")
    assert await output(do("update payment set amount = 3")) == {"rows": [], "rowCount": 2}
    assert await output(do("create table if not exists payment (a int)")) == {"rows": [], "rowCount": 0}


async def test_a_violated_constraint_is_not_tried_again_and_its_row_not_told(do, database):
    await database.rows("insert into payment values ('the-key', 1)")
    error = await failed(do("insert into payment values (:key, 2)", parameters={"key": "the-key"}))
    assert seen(error) == ("Sql", "UniqueViolation", False)
    assert error.details == {"sqlState": "23000", "constraint": "PRIMARY", "code": 1062}
    assert "the-key" not in error.message
    error = await failed(do("insert into payment values ('b', -1)"))
    assert seen(error) == ("Sql", "CheckViolation", False)
    assert error.details == {"sqlState": "23000", "constraint": "positive", "code": 4025}


@pytest.mark.parametrize(
    ("query", "reason", "state"),
    [
        ("selekt 1", "Syntax", "42000"),
        ("select 1; select 2", "Syntax", "42000"),
        ("select * from nowhere", "UndefinedTable", "42S02"),
        ("select nothing from payment", "UndefinedColumn", "42S22"),
        ("insert into payment values ('a', null)", "NotNullViolation", "23000"),
        ("insert into payment values ('a', 1e12)", "NumericValueOutOfRange", "22003"),
    ],
)
@pytest.mark.usefixtures("database")
async def test_what_the_server_refuses_is_told_with_its_code(do, query, reason, state):
    error = await failed(do(query))
    assert seen(error) == ("Sql", reason, False)
    assert error.details["sqlState"] == state


@pytest.mark.usefixtures("database")
async def test_a_value_of_another_type_is_refused_by_the_server_and_not_told(do):
    query = "insert into payment values ('a', :amount)"
    error = await failed(do(query, parameters={"amount": "hunter2"}))
    assert seen(error) == ("Sql", "TruncatedWrongValueForField", False)
    assert "hunter2" not in error.message
    assert "`amount`" in error.message
    error = await failed(do("select :large", parameters={"large": 2**70}))
    assert seen(error)[0::2] == ("Invalid", False)
    assert error.message.startswith("sql.parameters.large: found a whole number beyond 64 bits")


async def test_a_deadlock_is_worth_another_try(do, database):
    await database.rows("insert into payment values ('a', 1), ('b', 1)")
    await database.rows("set innodb_lock_wait_timeout = 20")
    await database.rows("start transaction")
    await database.rows("update payment set amount = 2 where id = 'b'")
    # It changes a, then waits for b.
    step = asyncio.create_task(do("update payment set amount = 3 order by id"))
    await eventually(lambda: _waiting(database), 1)
    # More rows changed make this one the survivor.
    await database.rows("insert into payment select concat('c', seq), 1 from seq_1_to_50")
    await database.rows("update payment set amount = 4 where id = 'a'")
    await database.rows("commit")
    error = (await step).error
    assert seen(error) == ("Sql", "DeadlockDetected", True)
    assert error.details == {"sqlState": "40001", "code": 1213}


async def _waiting(database):
    waits = "select variable_value from information_schema.global_status where variable_name = '{}'"
    return int(await database.value(waits.format("Innodb_row_lock_current_waits")))


async def test_a_lock_that_is_not_to_be_had_is_worth_another_try(do, database):
    await database.rows("insert into payment values ('a', 1)")
    await database.rows("start transaction")
    await database.rows("update payment set amount = 2")
    error = await failed(do("select * from payment for update nowait"))
    await database.rows("rollback")
    assert seen(error) == ("Sql", "LockNotAvailable", True)


@pytest.mark.usefixtures("database")
async def test_a_reading_transaction_writes_nothing(do):
    error = await failed(do("insert into payment values ('a', 1)", readOnly=True))
    assert seen(error) == ("Sql", "ReadOnlySQLTransaction", False)
    assert (await output(do("select count(*) as n from payment", readOnly=True)))["rows"] == [{"n": 0}]


@pytest.mark.parametrize(
    ("isolation", "name"),
    [("readCommitted", "READ COMMITTED"), ("repeatableRead", "REPEATABLE READ"), ("serializable", "SERIALIZABLE")],
)
async def test_the_isolation_is_that_of_the_step(do, database, isolation, name):
    await database.rows("insert into payment values ('a', 1)")
    await database.rows("start transaction")
    await database.rows("update payment set amount = 2")
    step = asyncio.create_task(do("update payment set amount = 3", isolation=isolation))
    await eventually(lambda: _waiting(database), 1)
    await database.rows("do sleep(0.2)")  # the server renews what follows when nobody has read it for 0.1 s
    levels = "select trx_isolation_level from information_schema.innodb_trx where trx_state = 'LOCK WAIT'"
    assert await database.rows(levels) == [(name,)]
    await database.rows("rollback")
    await output(step)


async def test_too_many_rows_are_rolled_back(do, database):
    query = "insert into payment select seq, 1 from seq_1_to_250 returning id"
    error = await failed(do(query, maxRows=249))
    assert seen(error)[0::2] == ("TooLarge", False)
    assert "more than 249 rows" in error.message
    assert await database.value("select count(*) from payment") == 0
    done = await output(do(query, maxRows=250))
    assert (len(done["rows"]), done["rowCount"]) == (250, 250)


async def test_too_many_bytes_are_rolled_back(do):
    error = await failed(do("select seq, repeat('x', 100000) as x from seq_1_to_20"))
    assert seen(error)[0::2] == ("TooLarge", False)


async def test_the_server_ends_a_statement_when_the_steps_time_is_over(do):
    error = await failed(do("select count(*) from seq_1_to_1000001 a, seq_1_to_1000000 b", step=a_step(timeout=0.1)))
    assert (error.type, error.retriable, error.details) == ("Timeout", True, {"sqlState": "70100", "code": 1969})


def _executing(text):
    """The sessions, other than the test's, that have this text in their statement."""
    here = "information_schema.processlist where id <> connection_id()"
    return f"select id from {here} and info like '%{text}%'"  # noqa: S608


async def test_what_is_cancelled_here_is_cancelled_on_the_server(do, database):
    async def running():
        return len(await database.rows(_executing("seq_1_to_1000002 a")))

    step = asyncio.create_task(do("select count(*) from seq_1_to_1000002 a, seq_1_to_1000000 b"))
    await eventually(running, 1)
    step.cancel()
    with pytest.raises(asyncio.CancelledError):
        await step
    await eventually(running, 0)
    assert await output(do("select 1 as one")) == {"rows": [{"one": 1}], "rowCount": 1}


async def test_a_lost_connection_is_worth_another_try(do, database):
    step = asyncio.create_task(do("select count(*) from seq_1_to_1000003 a, seq_1_to_1000000 b"))
    asked = _executing("seq_1_to_1000003 a")

    async def found():
        return len(await database.rows(asked))

    await eventually(found, 1)
    await database.rows(f"kill {await database.value(asked)}")
    error = (await step).error
    assert error.type == "Connection"
    assert error.retriable
    await output(do("select 1"))


async def test_a_connection_that_ended_while_it_was_idle_is_replaced(do, database):
    thread = (await output(do("select connection_id() as id")))["rows"][0]["id"]
    await database.rows(f"kill {thread}")

    async def there():
        return (thread,) in await database.rows("select id from information_schema.processlist")

    await eventually(there, False)
    assert (await output(do("select connection_id() as id")))["rows"][0]["id"] != thread


async def test_steps_share_connections_and_no_more_than_a_few(do):
    done = await asyncio.gather(
        *(output(do("select connection_id() as id, sleep(0.01) as slept")) for _ in range(3 * CONNECTIONS))
    )
    assert len({one["rows"][0]["id"] for one in done}) <= CONNECTIONS


async def test_what_a_step_said_and_set_in_its_session_does_not_meet_the_next(do):
    await output(do("select @mine := 7, @@lc_time_names, :secret", parameters={"secret": "hunter2"}))
    await output(do("set session lc_time_names = 'de_DE'"))
    rows = (await output(do("select @mine as mine, @leat_0 as secret, @@lc_time_names as names")))["rows"]
    assert rows == [{"mine": None, "secret": None, "names": "en_US"}]


async def test_a_procedure_gives_one_result_and_no_more(do, database):
    await database.rows("drop procedure if exists one")
    await database.rows("drop procedure if exists two")
    await database.rows("create procedure one(in n int) select n as n")
    await database.rows("create procedure two() begin select 1 as a; select 2 as b; end")
    assert (await output(do("call one(:n)", parameters={"n": 3})))["rows"] == [{"n": 3}]
    assert "more than one result" in (await failed(do("call two()"))).message


async def test_nobody_there_is_worth_another_try(do):
    error = await failed(do("select 1", url=f"mysql://app:hunter2@127.0.0.1:{unused_port()}/shop"))
    assert seen(error) == ("Connection", "ConnectionLost", True)
    assert "hunter2" not in error.message


async def test_a_database_that_is_not_there_is_not_tried_again(do, url):
    error = await failed(do("select 1", url=f"{url}_absent"))
    assert seen(error) == ("Sql", "InvalidCatalogName", False)


async def test_a_wrong_password_is_not_tried_again(do, url):
    parts = urlsplit(url)
    error = await failed(do("select 1", url=url, username=parts.username, password="hünter2 €"))  # noqa: S106
    assert seen(error) == ("Connection", "NotLoggedIn", False)
    assert "hünter2" not in error.message


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("select st_geomfromtext('point(1 2)') as place", "column 'place' is of a spatial type"),
        ("select 'a' as x, 2 as x", "two columns are called 'x'"),
        ("select cast(-1 as unsigned) as big", "column 'big' holds a whole number beyond 63 bits"),
    ],
)
async def test_a_column_that_does_not_fit_is_told_with_what_to_do(do, query, message):
    error = await failed(do(query))
    assert (error.type, error.retriable) == ("Invalid", False)
    assert message in error.message


async def test_a_url_that_leads_nowhere_is_refused(do):
    assert "write it as mysql://USER@HOST/NAME" in (await failed(do("select 1", url="mysql://db/shop"))).message
    assert "it names no host" in (await failed(do("select 1", url="mariadb://app@/shop"))).message
    error = await failed(do("select 1", url="mariadb://app@db/shop?sslmode=maybe"))
    assert "found sslmode 'maybe', expected one of prefer, disable," in error.message
    error = await failed(do("select 1", url="mysql://app@db/shop?unix_socket=/run/mysqld.sock"))
    assert "the parameter 'unix_socket' cannot be given; there is sslmode, sslrootcert" in error.message


@asynccontextmanager
async def _without_tls(port, plugin=b"mysql_native_password\0"):
    """A way to the server on which somebody takes the word that there is TLS out of its greeting."""
    sent, tasks, writers = [], set(), []

    async def relay(reader, writer):
        there, back = await asyncio.open_connection("127.0.0.1", port)
        writers.extend([writer, back])
        greeting = bytearray(await there.read(65536))
        # Behind the length, the protocol and the version: a thread, eight bytes of salt, one of nothing, capabilities.
        greeting[greeting.index(0, 5) + 1 + 4 + 8 + 1 + 1] &= ~0x08
        writer.write(greeting.replace(b"mysql_native_password\0", plugin))
        for one, other in ((reader, back), (there, writer)):
            tasks.add(asyncio.create_task(pump(one, other)))

    async def pump(reader, writer):
        while data := await reader.read(65536):
            sent.append(data)
            writer.write(data)
        writer.close()

    async with await asyncio.start_server(relay, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], sent
        for writer in writers:
            writer.transport.abort()
        await asyncio.gather(*tasks, *(writer.wait_closed() for writer in writers), return_exceptions=True)


async def test_nothing_is_said_to_a_server_that_has_no_tls_where_the_url_asks_for_it(do, url):
    parts = urlsplit(url)
    async with _without_tls(parts.port) as (port, sent):
        stripped = url.replace(str(parts.port), str(port))
        for mode in ("require", "verify-ca", "verify-full"):
            error = await failed(do("select 1", url=f"{stripped}?sslmode={mode}"))
            assert seen(error) == ("Connection", "Tls", True)
            assert "TLS: the server has none" in error.message
        assert sent == []
        async with a_kind(SqlKind) as kind:
            await output(do("select 1", url=stripped, by=kind))
        assert sent


@pytest.mark.parametrize("mode", ["prefer", "disable"])
async def test_a_password_is_not_told_to_who_asks_for_it_in_clear_text(do, url, mode):
    parts = urlsplit(url)
    async with _without_tls(parts.port, b"mysql_clear_password\0\0") as (port, sent):
        error = await failed(do("select 1", url=f"{url.replace(str(parts.port), str(port))}?sslmode={mode}"))
        assert seen(error) == ("Connection", "Tls", True)
        assert sent == []


@pytest.fixture
async def wire(url):
    """A way to the server that can be cut and frozen."""
    parts = urlsplit(url)
    async with a_wire(parts.port) as wire:
        wire.url = f"{url.replace(str(parts.port), str(wire.port))}?sslmode=disable"
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
    rows = await database.rows("select id, cast(amount as signed) from payment")
    assert set(rows) == {(f"run/0/{n}", n + 1) for n in range(numbers)}
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


async def test_a_guarded_pool_does_not_reach_private_networks(do, url):
    async with a_kind(SqlKind, http_private_networks=False) as guarded:
        for there in (url, "mysql://app@127.0.0.1:1/shop", "mariadb://app@localhost:1/shop"):
            error = await failed(do("select 1", url=there, by=guarded))
            assert seen(error) == ("Connection", "PrivateNetwork", False)


async def test_a_guarded_pool_reaches_what_is_public(do, url, monkeypatch):
    monkeypatch.setattr(network, "is_public", lambda host: host == "127.0.0.1")
    async with a_kind(SqlKind, http_private_networks=False) as guarded:
        assert (await output(do("select 1 as one", url=url, by=guarded)))["rows"] == [{"one": 1}]


async def test_the_way_there_is_secured_as_the_url_says(do, url, mariadb, tmp_path):
    query = (
        "select variable_value <> '' as secured from information_schema.session_status "
        "where variable_name = 'Ssl_cipher'"
    )

    async def secured(of):
        return (await output(do(query, url=f"{url}?{of}")))["rows"][0]["secured"]

    certificate = f"sslrootcert={mariadb.mariadb_certificate}"
    assert await secured("sslmode=prefer") == 1
    assert await secured("sslmode=require") == 1
    assert await secured(f"sslmode=verify-full&{certificate}") == 1
    assert await secured("sslmode=disable") == 0
    assert seen(await failed(do(query, url=f"{url}?sslmode=verify-full"))) == ("Connection", "Tls", True)
    elsewhere = f"{url.replace('127.0.0.1', 'localhost')}?sslmode=verify-full&{certificate}"
    assert seen(await failed(do(query, url=elsewhere))) == ("Connection", "Tls", True)
    error = await failed(do(query, url=f"{url}?sslmode=require&sslrootcert={tmp_path / 'absent.pem'}"))
    assert "the certificates of `sslrootcert` cannot be read" in error.message
