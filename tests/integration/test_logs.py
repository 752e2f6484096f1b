"""What steps say and what they wait for, on its way through Postgres."""

import asyncio
import random
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from uuid import uuid4

import asyncpg
import pytest
from tests.support.hand import Hand, accepted, done, steps
from tests.support.queue import eventually

from leat_engine.errors import StoreUnavailable
from leat_engine.job import StepKey, uuid7
from leat_engine.lines import NewLine
from leat_engine.queue.local import LocalQueue
from leat_engine.result import Phase
from leat_engine.store import Store, migrate
from leat_runner import logs
from leat_runner.kinds import KindSettings, KindSetup, load_kinds
from leat_runner.logs import ATTEMPT_BYTES, ATTEMPT_LINES, NOTICE, TAIL_LINES, AttemptLog, LogWriter, Speaker
from leat_runner.overhear import overhearing
from leat_runner.work import Runner, RunnerOptions

NOW = datetime.now(UTC)


RUNNER = 1
"""The first runner of the database."""


@pytest.fixture(scope="module")
def database(postgres_dsn):
    async def begin():
        await migrate(postgres_dsn)
        store = await Store.connect(postgres_dsn)
        assert await store.register("talker", "default", 1) == RUNNER
        await store.close()

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as loop:
        loop.run(begin())
    return postgres_dsn


@asynccontextmanager
async def writing(store):
    writer = LogWriter(store)
    writer.start()
    try:
        yield writer
    finally:
        await writer.stop()


def a_key(step=1):
    return StepKey(uuid7(NOW, uuid4().bytes), 0, step)


def a_line(key, text, attempt=1, runner=RUNNER):
    return NewLine(runner, key, attempt, NOW, "stdout", text)


async def everything(store, run_id):
    found, after = [], None
    while lines := await store.logs.read(run_id, after=after, limit=700):
        found += lines
        after = lines[-1].seq
    return found


# -- the table --------------------------------------------------------------------------------------------------------


async def test_lines_are_read_in_the_order_they_were_written_by_step_and_attempt(store):
    key = a_key()
    other = StepKey(key.run_id, 0, 2)
    await store.logs.write([a_line(key, "one"), a_line(other, "two"), a_line(key, "three", attempt=2)])
    assert [line.text for line in await store.logs.read(key.run_id)] == ["one", "two", "three"]
    assert [line.text for line in await store.logs.read(key.run_id, step=1)] == ["one", "three"]
    (last,) = await store.logs.read(key.run_id, step=1, attempt=2)
    assert (last.text, last.at, last.stream, last.attempt, last.step) == ("three", NOW, "stdout", 2, 1)
    assert await store.logs.read(key.run_id, after=last.seq) == []


async def test_a_reader_that_goes_on_behind_the_last_line_it_saw_misses_none_of_many_writers(store, database):
    key, other = a_key(), a_key()
    draw, number, finished = random.Random(1), count(), asyncio.Event()

    async def write():
        own = await Store.connect(database, size=1)
        for _ in range(40):
            keys = [key, other] if draw.random() < 0.5 else [other, key]
            await own.logs.write([a_line(one, str(next(number))) for one in keys for _ in range(draw.randrange(1, 4))])
        await own.close()

    async def read():
        seen, after = [], None
        while True:
            last = finished.is_set()
            lines = await store.logs.read(key.run_id, after=after, limit=5)
            seen += [line.text for line in lines]
            after = lines[-1].seq if lines else after
            if last and not lines:
                return seen

    reading = asyncio.create_task(read())
    await asyncio.gather(*(write() for _ in range(4)))
    finished.set()
    seen = await reading
    assert len(seen) == len(set(seen))
    assert sorted(seen) == sorted(line.text for line in await everything(store, key.run_id))


async def test_the_last_words_of_a_runner_that_was_declared_dead_are_refused_and_those_of_others_kept(store):
    key, dead = a_key(), await store.register("frozen", "default", 1)
    await store.logs.write([a_line(key, "alive", runner=dead)])
    await store.retire(dead)
    await store.logs.write([a_line(key, "too late", runner=dead), a_line(key, "the heir")])
    assert [line.text for line in await store.logs.read(key.run_id)] == ["alive", "the heir"]


async def test_lines_go_with_the_month_of_their_run(store):
    old = uuid7(datetime(2025, 1, 15, tzinfo=UTC), uuid4().bytes)
    await store.care.prune(datetime(2025, 1, 15, tzinfo=UTC), timedelta(days=90), timedelta(days=1))
    await store.logs.write([a_line(StepKey(old, 0, 1), "long ago")])
    assert len(await store.logs.read(old)) == 1
    assert "2025_01" in await store.care.prune(NOW, timedelta(days=90), timedelta(days=1))
    assert await store.logs.read(old) == []


async def test_an_upgrade_gives_the_months_that_are_there_a_place_for_lines(store, database):
    await store.care.prune(datetime(2027, 3, 1, tzinfo=UTC), timedelta(days=900), timedelta(days=1))
    connection = await asyncpg.connect(database)
    await connection.execute("drop table leat.log_2027_03")
    await store.care.prune(NOW, timedelta(days=900), timedelta(days=1))
    assert await connection.fetchval("select to_regclass('leat.log_2027_03') is not null")
    await connection.close()


# -- the writer -------------------------------------------------------------------------------------------------------


async def test_what_an_attempt_said_is_there_when_it_is_over(store):
    key = a_key()
    async with writing(store) as writer:
        said = AttemptLog(writer, Speaker(RUNNER, key, 1), "build", str.upper)
        said("stdout", "hello \0 and \udcff", NOW)
        said("stderr", "x" * 20_000)
        await said.close()
        lines = await store.logs.read(key.run_id)
    assert (lines[0].text, lines[0].at) == ("HELLO \ufffd AND ?", NOW)
    assert [len(line.text) for line in lines[1:]] == [16 * 1024, 20_000 - 16 * 1024]


async def test_an_attempt_that_says_nothing_costs_nothing(store):
    async with writing(store) as writer:
        before = store.statements
        await AttemptLog(writer, Speaker(RUNNER, a_key(), 1), "quiet").close()
        assert store.statements == before


@pytest.mark.parametrize(("size", "kept"), [(10, ATTEMPT_LINES), (4000, ATTEMPT_BYTES // (4000 + logs.OVERHEAD))])
async def test_of_an_attempt_that_says_too_much_the_beginning_and_the_end_are_kept(store, size, kept):
    key = a_key()
    async with writing(store) as writer:
        said = AttemptLog(writer, Speaker(RUNNER, key, 1), "chatty")
        for number in range(kept + 5000):
            said("stdout", f"{number:06d}".ljust(size, "."))
            if number % 1000 == 0:
                await asyncio.sleep(0)
        await said.close()
        lines = await everything(store, key.run_id)
    numbers = [int(line.text[:6]) for line in lines if line.stream != NOTICE]
    (notice,) = [line.text for line in lines if line.stream == NOTICE]
    tail = len(numbers) - kept
    assert numbers == [*range(kept), *range(kept + 5000 - tail, kept + 5000)]
    assert 10 <= tail <= TAIL_LINES
    assert notice.startswith(f"{5000 - tail} lines are left out here")


class AwayStore:
    """Takes nothing until it is back."""

    def __init__(self, store):
        self.store = store
        self.logs = self
        self.back = asyncio.Event()
        self.asked = asyncio.Event()

    async def write(self, lines):
        self.asked.set()
        if not self.back.is_set():
            raise StoreUnavailable("away")
        await self.store.logs.write(lines)


async def test_lines_wait_for_postgres_and_what_does_not_fit_is_dropped_and_counted(store, monkeypatch):
    monkeypatch.setattr(logs, "BUFFER_BYTES", 5 * (1000 + logs.OVERHEAD))
    monkeypatch.setattr(logs, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(logs, "LAST_WORDS", 0.05)
    key, away = a_key(), AwayStore(store)
    dropped = logs.STORE_AWAY._value.get()
    async with writing(away) as writer:
        said = AttemptLog(writer, Speaker(RUNNER, key, 1), "build")
        for number in range(8):
            said("stdout", str(number) * 1000)
        await away.asked.wait()
        await said.close()  # does not wait for long
        assert await store.logs.read(key.run_id) == []
        away.back.set()
        await eventually(_texts(store, key), ["0", "1", "2", "3", "4"])
    assert logs.STORE_AWAY._value.get() - dropped == 3


def _texts(store, key):
    async def ask():
        return [line.text[0] for line in await store.logs.read(key.run_id)]

    return ask


# -- a whole runner ---------------------------------------------------------------------------------------------------


@asynccontextmanager
async def running(store, **settings):
    queue = LocalQueue()
    runner = Runner(store, queue, load_kinds(KindSetup(KindSettings(**settings))), RunnerOptions("logs", heartbeat=0.2))
    await runner.start()
    try:
        yield queue
    finally:
        await runner.stop()
        await queue.close()


async def test_what_a_script_prints_can_be_read_when_its_run_has_ended(store):
    spec = {"steps": [{"name": "talk", "script": {"run": "echo hello; echo oops >&2"}}]}
    async with running(store) as queue:
        run, jobs = await accepted(store, spec)
        await queue.publish(jobs)
        await eventually(_phase(store, run), Phase.SUCCEEDED)
        lines = {(line.step, line.attempt, line.stream, line.text) for line in await store.logs.read(run.run_id)}
    assert lines == {(1, 1, "stdout", "hello"), (1, 1, "stderr", "oops")}


TALKER = """
import logging, sys
import leat
out = sys.stdout

@leat.step
def talk(ctx):
    ctx.note("waits")
    print("from a", end=" ")
    print("thread")
    print("kept", file=out)
    logging.getLogger("shop").info("sold %d", 3)

@leat.step
async def flood():
    print("x\\n" * 30_000, file=sys.stderr)
"""


async def test_what_a_function_prints_and_logs_can_be_read_and_is_bounded(store, tmp_path):
    module = tmp_path / "talker.py"
    module.write_text(TALKER)
    spec = {"steps": [{"name": "talk", "function": {"name": "talk"}}, {"name": "flood", "function": {"name": "flood"}}]}
    with overhearing():
        async with running(store, functions=str(module)) as queue:
            run, jobs = await accepted(store, spec)
            await queue.publish(jobs)
            await eventually(_phase(store, run), Phase.SUCCEEDED)
            talk = [(line.stream, line.text) for line in await store.logs.read(run.run_id, step=1)]
            flood = await store.logs.read(run.run_id, step=2, limit=20_000)
    assert talk == [("stdout", "from a thread"), ("stdout", "kept"), ("stderr", "INFO shop: sold 3")]
    assert len(flood) == logs.ATTEMPT_LINES + 1 + logs.TAIL_LINES


def _phase(store, run):
    async def ask():
        return (await store.run(run.run_id)).phase

    return ask


# -- notes ------------------------------------------------------------------------------------------------------------

ONE = steps("build")


async def noted(store, run):
    return [step.note for step in await store.steps(run.run_id)]


async def reported(store, run):
    (found,) = [report for report in await store.reports.behind(1000) if report.run.run_id == run.run_id]
    return found.waiting_step, found.waiting


async def test_what_a_step_waits_for_is_told_with_its_run_and_taken_back(store):
    hand = await Hand.registered(store)
    run, jobs = await accepted(store, ONE, uid="8d1f")
    (claim,) = await hand.claim(jobs)
    assert claim.uid == "8d1f"
    assert await store.note(hand.runner, claim.key, claim.attempt, "Unschedulable")
    assert await noted(store, run) == ["Unschedulable"]
    assert await reported(store, run) == (1, "Unschedulable")
    assert (await store.run(run.run_id)).noted
    await store.note(hand.runner, claim.key, claim.attempt, None)
    assert await noted(store, run) == [None]
    assert await reported(store, run) == (0, "")


async def test_a_note_makes_the_run_be_told_once_per_change(store):
    hand = await Hand.registered(store)
    run, jobs = await accepted(store, ONE, uid="8d2f")
    (claim,) = await hand.claim(jobs)
    await store.note(hand.runner, claim.key, claim.attempt, "Unschedulable")
    (report,) = [each for each in await store.reports.behind(1000) if each.run.run_id == run.run_id]
    await store.reports.told([(run.run_id, report.version)])
    assert not await store.note(hand.runner, claim.key, claim.attempt, "Unschedulable")
    assert all(each.run.run_id != run.run_id for each in await store.reports.behind(1000))


async def test_a_note_of_a_runner_that_lost_the_step_is_refused_and_the_next_claim_begins_without_one(store):
    hand, heir = await Hand.registered(store), await Hand.registered(store)
    run, jobs = await accepted(store, ONE, uid="8d3f")
    (claim,) = await hand.claim(jobs)
    await store.note(hand.runner, claim.key, claim.attempt, "Unschedulable")
    await store.reports.told([(report.run.run_id, report.version) for report in await store.reports.behind(1000)])
    again = await store.care.rescue(hand.runner, {"type": "RunnerLost", "message": "gone"})
    assert await noted(store, run) == [None]
    assert await reported(store, run) == (0, "")
    assert not await store.note(hand.runner, claim.key, claim.attempt, "ImagePullBackOff")
    await heir.claim(again)
    assert await noted(store, run) == [None]


async def test_a_step_that_is_over_waits_for_nothing(store):
    hand = await Hand.registered(store)
    run, jobs = await accepted(store, ONE)
    (claim,) = await hand.claim(jobs)
    await store.note(hand.runner, claim.key, claim.attempt, "Unschedulable")
    await hand.end(hand.view(run, ONE, 1), done(1))
    assert await noted(store, run) == [None]


async def test_what_was_said_before_its_runner_died_tells_an_heir_where_to_go_on(store):
    key = a_key()
    assert await store.logs.until(key) is None
    later = NOW + timedelta(microseconds=1)
    await store.logs.write([NewLine(RUNNER, key, 1, later, "stdout", "b"), NewLine(RUNNER, key, 1, NOW, "stdout", "a")])
    await store.logs.write([NewLine(RUNNER, key, 1, NOW + timedelta(hours=1), NOTICE, "not the step's")])
    assert await store.logs.until(key) == later
