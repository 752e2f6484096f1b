"""Files and large outputs of steps, by real runners on a real Postgres and a real object store."""

import asyncio
import hashlib
import json
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import psutil
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.support.hand import CANCEL, accepted
from tests.support.queue import eventually
from tests.support.samples import serving

from leat_engine.artifacts import Objects
from leat_engine.caretakers import CaretakerOptions, Caretakers
from leat_engine.caretakers.expire import expire
from leat_engine.job import StepKey
from leat_engine.queue.local import LocalQueue
from leat_engine.records import Lineage, Root
from leat_engine.reference import MARK
from leat_engine.store import Store
from leat_engine.store.artifacts import ObjectId
from leat_runner.kinds import KindSettings, KindSetup, load_kinds
from leat_runner.secrets import Given, SecretReader
from leat_runner.work import Runner, RunnerOptions

FUNCTIONS = Path(__file__).parents[1] / "support" / "leaving.py"
MIB = 1024 * 1024
SOON = datetime.now(UTC) + timedelta(days=1)


class Works:
    def __init__(self, store, queue, folder, objects, dsn):
        self.dsn = dsn
        self.store = store
        self.folder = folder
        self.objects = objects
        self._queue = queue

    async def start(self, *steps, **changes):
        spec = {"steps": list(steps), **changes}
        run, jobs = await accepted(self.store, spec)
        await self._queue.publish(jobs)
        return run

    async def play(self, *steps, **changes):
        return await self.ended(await self.start(*steps, **changes))

    async def publish(self, jobs):
        await self._queue.publish(jobs)

    async def ended(self, run):
        async def over():
            return (await self.store.run(run.run_id)).phase.done

        await eventually(over, True, 60)
        return await self.store.run(run.run_id)

    async def output(self, *steps, **changes):
        run = await self.play(*steps, **changes)
        assert run.phase.label == "Succeeded", run.error
        return run.output

    async def error(self, *steps, **changes):
        run = await self.play(*steps, **changes)
        assert run.phase.label == "Failed", run.output
        return run.error

    def files(self):
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())


@asynccontextmanager
async def works_of(database, folder, *, stored=True, secrets=None):
    async with AsyncExitStack() as stack:
        store = await Store.connect(database, size=6)
        stack.push_async_callback(store.close)
        queue = LocalQueue()
        objects = Objects.connect(folder.as_uri()) if stored else None
        options = RunnerOptions("keeper", heartbeat=0.2, objects=objects)
        kinds = load_kinds(KindSetup(KindSettings(functions=(str(FUNCTIONS),))))
        runner = Runner(store, queue, kinds, options, SecretReader([Given(secrets or {}, "x")]))
        caretakers = Caretakers(store, queue, CaretakerOptions(interval=0.1))
        await runner.start()
        stack.push_async_callback(runner.stop)
        caretakers.start()
        stack.push_async_callback(caretakers.stop)
        yield Works(store, queue, folder, objects, database)


@pytest.fixture
async def works(database, tmp_path):
    async with works_of(database, tmp_path / "objects") as works:
        yield works


def script(name, run, **fields):
    step = {name: fields.pop(name) for name in ("artifacts", "when", "retry", "needs") if name in fields}
    return {"name": name, "script": {"run": run, **fields}, **step}


BIG = script(
    "big",
    """python3 -c 'import json; print(json.dumps([{"n": n, "pad": "x" * 90} for n in range(20000)]))' > $LEAT_OUTPUT""",
)
REPORT = script(
    "make",
    "mkdir out; printf 'a,b\n1,2\n' > out/report.csv",
    artifacts={"report": {"path": "out/report.csv", "contentType": "text/csv"}},
)


# -- artifacts --------------------------------------------------------------------------------------------------------


async def test_a_script_reads_the_file_that_another_one_has_left(works):
    read = script(
        "read",
        "wc -c < in/data.csv > $LEAT_OUTPUT; cat in/data.csv",
        files={"in/data.csv": "${ steps.make.artifacts.report }"},
    )
    run = await works.play(
        REPORT, read, output={"size": "${ steps.read.output }", "report": "${ steps.make.artifacts.report }"}
    )
    assert run.output["size"] == 8
    assert run.output["report"][MARK] == {
        "key": f"{run.namespace}/{run.run_id}/0/make/1/report",
        "size": 8,
        "sha256": hashlib.sha256(b"a,b\n1,2\n").hexdigest(),
        "contentType": "text/csv",
    }
    assert works.files() == [f"{run.namespace}/{run.run_id}/0/make/1/report"]


async def test_what_a_script_is_given_may_be_text_and_values_too(works):
    read = script("read", "cat a.txt b.json > $LEAT_OUTPUT", files={"a.txt": "text ", "b.json": {"a": [1]}})
    assert await works.output(read, output="${ steps.read.output }") == 'text {"a":[1]}'


async def test_stdin_is_the_file_itself(works):
    read = script("read", "sha256sum > $LEAT_OUTPUT", stdin="${ steps.make.artifacts.report }")
    found = await works.output(REPORT, read, output="${ steps.read.output }")
    assert found.startswith(hashlib.sha256(b"a,b\n1,2\n").hexdigest())


async def test_a_file_that_was_not_left_fails_the_step_and_names_the_field(works):
    error = await works.error(script("make", "true", artifacts={"report": {"path": "report.csv"}}))
    assert (error["type"], error["reason"]) == ("Invalid", "ArtifactMissing")
    assert "artifacts.report.path: 'report.csv' is not there" in error["message"]


@pytest.mark.parametrize(
    "trick",
    [
        "ln -s /etc/passwd report.csv",
        "mkdir d; ln -s /etc d/e; ln -s d/e/passwd report.csv",
        "mkfifo report.csv",
        "mkdir report.csv",
    ],
)
async def test_only_a_plain_file_of_the_script_itself_is_taken(works, trick):
    error = await works.error(script("make", trick, artifacts={"report": {"path": "report.csv"}}))
    assert error["reason"] == "ArtifactMissing"
    assert works.files() == []


async def test_a_function_leaves_and_takes_files(works):
    steps = [
        {
            "name": "make",
            "function": {"name": "leaves", "with": {"text": "hello"}},
            "artifacts": {"note": {}, "raw": {"contentType": "text/plain"}},
        },
        {
            "name": "read",
            "function": {
                "name": "reads",
                "with": {"note": "${ steps.make.artifacts.note }", "raw": "${ steps.make.artifacts.raw }"},
            },
        },
    ]
    assert await works.output(*steps, output="${ steps.read.output }") == ["hello", "text/plain"]


async def test_a_function_cannot_leave_what_the_step_does_not_declare(works):
    error = await works.error(
        {"name": "make", "function": {"name": "leaves", "with": {"text": "hello"}}, "artifacts": {"note": {}}}
    )
    assert error["reason"] == "UnknownArtifact"
    assert "'raw'" in error["message"]


async def test_a_declared_artifact_that_a_function_did_not_leave_fails_the_step(works):
    error = await works.error({"name": "make", "function": {"name": "quiet"}, "artifacts": {"note": {}}})
    assert "artifacts.note: the step did not leave it" in error["message"]


async def test_nothing_of_a_secret_gets_into_a_file(database, tmp_path):
    async with works_of(database, tmp_path, secrets={"pay": {"token": "very-secret-token"}}) as works:
        step = script(
            "make",
            'echo "token=$TOKEN." > a.txt; echo "$TOKEN" > $LEAT_OUTPUT',
            env={"TOKEN": "${ secret('pay', 'token') }"},
            artifacts={"a": {"path": "a.txt"}},
        )
        await works.output(step)
        (name,) = works.files()
        assert (tmp_path / name).read_text() == "token=***.\n"


# -- large outputs ----------------------------------------------------------------------------------------------------


async def test_without_a_store_a_large_output_fails_and_says_what_to_do(database, tmp_path):
    async with works_of(database, tmp_path, stored=False) as works:
        error = await works.error(BIG)
    assert error["type"] == "TooLarge"
    assert "set LEAT_ARTIFACTS_URL for the runners" in error["message"]


async def test_without_a_store_a_file_fails_and_says_what_to_do(database, tmp_path):
    async with works_of(database, tmp_path, stored=False) as works:
        error = await works.error(REPORT)
    assert (error["type"], error["reason"]) == ("Artifact", "NoArtifactStore")
    assert "LEAT_ARTIFACTS_URL" in error["message"]


async def test_expressions_look_into_a_large_output(works):
    found = await works.output(
        BIG, output={"count": "${ size(steps.big.output) }", "last": "${ steps.big.output[19999].n }"}
    )
    assert found == {"count": 20000, "last": 19999}


async def test_a_path_alone_hands_the_reference_on_even_beside_an_expression_that_looks_into_it(works):
    copy = {"name": "copy", "transform": {"whole": "${ steps.big.output }", "size": "${ size(steps.big.output) }"}}
    found = await works.output(BIG, copy, output="${ steps.copy.output }")
    assert (found["size"], found["whole"][MARK]["contentType"]) == (20000, "application/json")


async def test_what_was_handed_on_is_looked_into_later(works):
    copy = {"name": "copy", "transform": {"whole": "${ steps.big.output }"}}
    found = await works.output(BIG, copy, output="${ steps.copy.output.whole[7].n }")
    assert found == 7


async def test_for_each_goes_over_a_large_output(works):
    items = 'print(json.dumps([{"n": n, "pad": "x" * 600000} for n in range(4)]))'
    make = script("make", f"python3 -c 'import json; {items}' > $LEAT_OUTPUT")
    each = {"name": "each", "forEach": "${ steps.make.output }", "transform": "${ item.n * 2 }"}
    assert await works.output(make, each, output="${ steps.each.output }") == [0, 2, 4, 6]


async def test_a_condition_may_look_into_a_large_output(works):
    then = script("then", "echo yes > $LEAT_OUTPUT", when="${ size(steps.big.output) == 20000 }")
    assert await works.output(BIG, then, output="${ steps.then.output }") == "yes"


async def test_a_large_output_that_is_too_large_for_expressions_can_be_handed_on(works):
    make = script("make", "head -c 20000000 /dev/zero | tr '\\0' x > $LEAT_OUTPUT")
    read = script("read", "wc -c > $LEAT_OUTPUT", stdin="${ steps.make.output }")
    assert await works.output(make, read, output="${ steps.read.output }") == 20_000_000
    error = await works.error(make, output="${ size(steps.make.output) }")
    assert error["type"] == "TooLarge"
    assert "hand it on as a whole" in error["message"]
    look = {"name": "look", "transform": "${ size(steps.make.output) }"}
    assert (await works.error(make, look))["type"] == "TooLarge"


async def test_a_function_may_return_much(works):
    steps = [{"name": "make", "function": {"name": "much", "with": {"count": 300_000}}}]
    assert await works.output(*steps, output="${ steps.make.output[299999] }") == 299_999


async def test_a_large_answer_goes_by_in_pieces_and_its_body_is_a_reference(works, tmp_path):
    folder = tmp_path / "www"
    folder.mkdir()
    (folder / "big.json").write_text(json.dumps({"items": ["y" * 100] * 20_000}))
    with serving(folder) as url:
        get = {"name": "get", "http": {"url": f"{url}/big.json", "maxResponseBytes": 5 * MIB}}
        found = await works.output(
            get,
            output={
                "status": "${ steps.get.output.status }",
                "all": "${ steps.get.output }",
                "n": "${ size(steps.get.output.body.items) }",
            },
        )
        assert (found["status"], found["n"]) == (200, 20_000)
        assert found["all"]["body"][MARK]["size"] == (folder / "big.json").stat().st_size
        less = {"name": "get", "http": {"url": f"{url}/big.json", "maxResponseBytes": 2 * MIB}}
        (folder / "big.json").write_text("z" * 3 * MIB)
        error = await works.error(less)
    assert (error["type"], error["details"]) == ("TooLarge", {"limit": 2 * MIB})


# -- tenants ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [
        "other/{run}/0/make/1/report",
        "{namespace}/../other/0/make/1/report",
        "{namespace}x/{run}/0/make/1/report",
        "/etc/passwd",
    ],
)
async def test_a_reference_to_another_namespace_is_refused(works, key):
    forged = {MARK: {"key": key, "size": 8, "sha256": "", "contentType": "text/csv"}}
    run = await works.start({"name": "a", "transform": 1})
    forged[MARK]["key"] = key.format(run=run.run_id, namespace=run.namespace)
    forge = {"name": "forge", "transform": forged}
    read = script("read", "cat in > $LEAT_OUTPUT", files={"in": "${ steps.forge.output }"})
    error = await works.error(forge, read)
    assert (error["type"], error["reason"]) == ("Artifact", "ForeignArtifact")
    error = await works.error(forge, output="${ size(steps.forge.output) }")
    assert (error["type"], error["reason"]) == ("Artifact", "ForeignArtifact")


# -- what counts, and what goes ---------------------------------------------------------------------------------------


async def test_only_the_attempt_that_succeeded_counts_and_the_others_leave_nothing(works):
    text = "date > a.txt; head -c 2000000 /dev/zero > $LEAT_OUTPUT; [ $LEAT_ATTEMPT = 2 ]"
    again = {"max": 1, "backoff": {"initial": "1ms"}}
    flaky = script("make", text, artifacts={"a": {"path": "a.txt"}}, retry=again)
    run = await works.play(flaky)
    assert run.phase.label == "Succeeded"
    dead = ObjectId(StepKey(run.run_id, 0, 1), 1, "a")
    key = f"{run.namespace}/{run.run_id}/0/make/1/a"
    await _put_by_the_dead(works, dead, run.namespace, key)
    await expire(works.store, works.objects, SOON)
    assert works.files() == [f"{run.namespace}/{run.run_id}/0/make/2/{name}" for name in ("a", "output")]
    assert [kept.name for kept in await works.store.artifacts.kept(run.run_id)] == ["a", "output"]
    assert await _unsettled(works, run.run_id) == 0
    (first,) = await works.store.artifacts.kept(run.run_id, count=1)
    assert [kept.name for kept in await works.store.artifacts.kept(run.run_id, first.place, 1)] == ["output"]


async def test_a_run_that_is_gone_takes_its_objects_along_when_the_store_is_back(works):
    run = await works.play(REPORT)
    other = await works.play(REPORT)
    connection = await asyncpg.connect(works.dsn)
    await connection.execute("delete from leat.run where id = $1", run.run_id)
    away = Objects.connect("s3://nowhere/x?endpoint=http://127.0.0.1:9&region=x")
    await expire(works.store, away, SOON)
    assert len(works.files()) == 2
    await expire(works.store, works.objects, SOON)
    assert works.files() == [f"{other.namespace}/{other.run_id}/0/make/1/report"]
    assert await connection.fetchval("select count(*) from leat.artifact where run_id = $1", run.run_id) == 0
    await connection.close()


async def _put_by_the_dead(works, this, namespace, key):
    connection = await asyncpg.connect(works.dsn)
    await connection.execute(
        "insert into leat.artifact (run_id, scope, step_id, attempt, name, namespace, key, content_type)"
        " values ($1, $2, $3, $4, $5, $6, $7, 'x/y')",
        *this.address,
        namespace,
        key,
    )
    await connection.close()
    (works.folder / key).parent.mkdir(parents=True)
    (works.folder / key).write_text("late")


async def _unsettled(works, run_id):
    connection = await asyncpg.connect(works.dsn)
    count = await connection.fetchval("select count(*) from leat.artifact where run_id = $1 and not settled", run_id)
    await connection.close()
    return count


async def test_a_large_output_does_not_go_through_memory(works):
    make = script(
        "make", "head -c 104857600 /dev/zero > $LEAT_OUTPUT; cp $LEAT_OUTPUT a", artifacts={"a": {"path": "a"}}
    )
    read = script(
        "read", "wc -c < a > $LEAT_OUTPUT", stdin="${ steps.make.output }", files={"a": "${ steps.make.artifacts.a }"}
    )
    await works.output(script("small", "true"))
    process, most = psutil.Process(), 0
    before = process.memory_info().rss

    async def watch():
        nonlocal most
        while True:
            most = max(most, process.memory_info().rss)
            await asyncio.sleep(0.01)

    watching = asyncio.create_task(watch())
    assert await works.output(make, read, output="${ steps.read.output }") == 104857600
    watching.cancel()
    assert most - before < 64 * MIB, f"grew by {(most - before) / MIB:.0f} MiB"


# -- further ways ------------------------------------------------------------------------------------------------------


async def test_a_request_sends_a_file_with_its_length_and_type(works):
    seen = {}

    async def take(request):
        seen.update(request.headers, body=await request.read())
        return web.Response()

    app = web.Application()
    app.router.add_put("/x", take)
    async with TestServer(app) as server:
        put = {"http": {"method": "PUT", "url": str(server.make_url("/x")), "body": "${ steps.make.artifacts.report }"}}
        await works.output(REPORT, {"name": "put", **put})
    assert (seen["body"], seen["Content-Length"], seen["Content-Type"]) == (b"a,b\n1,2\n", "8", "text/csv")


async def test_items_leave_files_of_their_own(works):
    make = script("make", "echo $N > a", env={"N": "${ item }"}, artifacts={"a": {"path": "a"}})
    each = {"name": "each", "forEach": [3, 4], "steps": [make], "output": "${ steps.make.artifacts.a }"}
    read = script(
        "read", "cat a b > $LEAT_OUTPUT", files={"a": "${ steps.each.output[0] }", "b": "${ steps.each.output[1] }"}
    )
    assert await works.output(each, read, output="${ steps.read.output }") == "3\n4"
    assert len(works.files()) == 2


async def test_who_has_to_look_waits_until_the_store_is_back(works, monkeypatch):
    monkeypatch.setattr("leat_runner.shelf.FETCH_INTERVAL", 0.2)
    away, looked = Objects.connect("s3://nowhere/x?endpoint=http://127.0.0.1:9&region=x"), asyncio.Event()
    get = Objects.get

    def gone_at_first(objects, key):
        if looked.is_set():
            return get(objects, key)
        looked.set()
        return get(away, key)

    monkeypatch.setattr(Objects, "get", gone_at_first)
    assert await works.output(BIG, output="${ size(steps.big.output) }") == 20000
    assert looked.is_set()
    looked.clear()
    look = {"name": "look", "transform": "${ size(steps.big.output) }"}
    assert await works.output(BIG, look, output="${ steps.look.output }") == 20000
    looked.clear()
    nap = {"name": "nap", "wait": {"duration": "${ steps.big.output[1].n == 1 ? '10ms' : '1h' }"}}
    assert await works.output(BIG, nap, output="${ steps.nap.state }") == "Succeeded"
    looked.clear()
    each = {"name": "each", "forEach": "${ [steps.big.output[0], steps.big.output[1]] }", "transform": "${ item.n }"}
    assert await works.output(BIG, each, output="${ steps.each.output }") == [0, 1]


async def test_a_rerun_has_the_files_of_the_steps_that_it_keeps(works):
    read = script("read", "cat a > $LEAT_OUTPUT", files={"a": "${ steps.make.artifacts.report }"})
    old = await works.play(REPORT, read, output="${ steps.read.output }")
    spec = {"steps": [REPORT, read], "output": "${ steps.read.output }"}
    lineage = Lineage(old.run_id, old.name, kept=(1,), joins=())
    new, jobs = await accepted(works.store, spec, lineage=lineage, roots=(Root(2, "default"),))
    await works.publish(jobs)
    run = await works.ended(new)
    assert run.output == "a,b\n1,2"
    (kept,) = await works.store.artifacts.kept(new.run_id)
    assert kept.reference.key == f"{old.namespace}/{old.run_id}/0/make/1/report"


async def test_the_caretakers_do_it_by_themselves(works):
    run = await works.play(REPORT)
    connection = await asyncpg.connect(works.dsn)
    await connection.execute("delete from leat.run where id = $1", run.run_id)
    await connection.close()
    rounds = Caretakers(works.store, LocalQueue(), CaretakerOptions(retention=0), objects=works.objects)

    async def files():
        await rounds.round()  # which leads at times only: the runner's own caretakers are there too
        return works.files()

    await eventually(files, [])
    await rounds.stop()


async def test_items_of_a_large_list_are_known_again_by_who_did_not_open_them(works):
    items = 'print(json.dumps([{"n": n, "pad": "x" * 600000} for n in range(3)]))'
    make = script("make", f"python3 -c 'import json; {items}' > $LEAT_OUTPUT")
    body = [
        {"name": "nap", "wait": {"duration": "300ms"}},
        script("tell", "echo $N > $LEAT_OUTPUT", env={"N": "${ item.n }"}, needs=["nap"]),
    ]
    each = {
        "name": "each",
        "forEach": "${ steps.make.output }",
        "steps": body,
        "output": "${ steps.tell.output * 10 + item.n }",
    }
    assert await works.output(make, each, output="${ steps.each.output }") == [0, 11, 22]


async def test_a_cancel_does_not_wait_for_a_store_that_is_away(works, monkeypatch):
    looked, get = asyncio.Event(), Objects.get
    away = Objects.connect("s3://nowhere/x?endpoint=http://127.0.0.1:9&region=x")

    def gone(_, key):
        looked.set()
        return get(away, key)

    monkeypatch.setattr(Objects, "get", gone)
    monkeypatch.setattr("leat_runner.shelf.FETCH_INTERVAL", 0.2)
    for more in ([], [script("look", "true", when="${ size(steps.big.output) > 1 }")]):
        looked.clear()
        run = await works.start(BIG, *more, output="${ size(steps.big.output) }")
        await asyncio.wait_for(looked.wait(), 60)
        await works.publish(await works.store.stop(run.run_id, CANCEL))
        assert (await works.ended(run)).phase.label == "Cancelled"


async def test_what_cleans_up_reads_files_and_looks_into_large_outputs(works):
    undo = {
        "run": "cat a > $LEAT_OUTPUT; [ $N = 20000 ]",
        "files": {"a": "${ steps.make.artifacts.report }"},
        "env": {"N": "${ size(steps.big.output) }"},
    }
    made = {**REPORT, "compensate": {"script": undo}}
    fails = {"name": "fails", "needs": ["make", "big"], "fail": {"message": "no"}}
    last = script("last", "cat a > $LEAT_OUTPUT", files={"a": "${ steps.make.artifacts.report }"})
    run = await works.play(made, BIG, fails, **{"finally": [last]})
    assert (run.phase.label, run.error["message"]) == ("Failed", "step fails failed: no")
    read = [step for step in await works.store.steps(run.run_id) if step.output == "a,b\n1,2"]
    assert len(read) == 2, "the compensation and the last step"
    found = await works.output(REPORT, BIG, output="${ size(steps.big.output) }", **{"finally": [last]})
    assert found == 20000


async def test_files_of_containers_need_a_bucket(works):
    step = {"name": "work", "container": {"image": "x"}, "artifacts": {"a": {"path": "a"}}}
    error = await works.error(step)
    assert (error["type"], error["reason"]) == ("Artifact", "NotReachable")
    assert "s3://BUCKET/PREFIX" in error["message"]
