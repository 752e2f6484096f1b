"""One namespace tries to reach what is another's: by names, keys, signals, secrets, pools. Each attempt is a test."""

import pytest
from tests.integration.test_limited_runs import works_of
from tests.support.fleet import FUNCTIONS
from tests.support.hand import accepted
from tests.support.load import plan_of

from leat_engine.caretakers import CaretakerOptions, Caretakers
from leat_engine.errors import Rejected
from leat_engine.queue.local import LocalQueue
from leat_engine.quota import NOTHING_SAID, Allowance
from leat_engine.result import Phase, State
from leat_engine.waits import Fate, Signal
from leat_runner.kinds import KindSettings, KindSetup, load_kinds
from leat_runner.secrets import SecretReader
from leat_runner.secrets.source import Files
from leat_runner.work import Runner, RunnerOptions

OURS, THEIRS = "ours", "theirs"
OCCUPY = {"function": {"name": "occupy", "with": {"seconds": 0.02}}}
WAITS = {"signal": {"name": "go", "timeout": "1h"}}


def one(body, **fields):
    return {"steps": [{"name": "only", **body, **fields}], "output": "${ steps.only.output }"}


@pytest.fixture
def effects(tmp_path, monkeypatch):
    path = tmp_path / "effects"
    monkeypatch.setenv("LEAT_TEST_EFFECTS", str(path))
    return path


@pytest.fixture
async def works(database, effects):
    async with works_of(database, effects) as works:
        yield works


@pytest.mark.parametrize(
    "expression",
    [
        "${ runs['theirs/pay'].output }",
        "${ steps.theirs.output }",
        "${ run.of('theirs', 'pay') }",
        "${ secret('theirs/pay', 'token') }",
    ],
)
def test_no_expression_names_anything_of_another_namespace(expression):
    with pytest.raises(Rejected) as found:
        plan_of({"steps": [{"name": "spy", "transform": expression}]})
    assert str(found.value.reasons[0]).startswith("spec.steps[0].transform: ")


async def test_a_name_means_the_run_of_ones_own_namespace(store):
    spec = one(OCCUPY)
    theirs, _ = await accepted(store, spec, namespace=THEIRS, name="pay")
    assert await store.find_run(OURS, "pay") is None
    ours, _ = await accepted(store, spec, namespace=OURS, name="pay")
    assert (await store.find_run(OURS, "pay")).run_id == ours.run_id
    assert (await store.find_run(THEIRS, "pay")).run_id == theirs.run_id
    assert {run.namespace for run in await store.shown.runs(OURS, 100)} == {OURS}


async def test_a_signal_reaches_the_run_of_ones_own_namespace_only(works):
    theirs = await works.start(one(WAITS), namespace=THEIRS, name="wait")
    ours = await works.start(one(WAITS), namespace=OURS, name="wait")
    found = await works.store.find_run(OURS, "wait")
    told = await works.store.signals.deliver(found.run_id, Signal("s-1", "go", {"from": "us"}))
    assert told.fate is Fate.DELIVERED
    (run,) = await works.ended(ours)
    assert run.output["payload"] == {"from": "us"}
    assert (await works.store.run(theirs)).phase is Phase.RUNNING
    assert await works.store.signals.sent(theirs) == []


async def test_a_cached_result_is_not_taken_from_another_namespace(works):
    spec = one({"function": {"name": "add", "with": {"values": []}}}, cache={"key": "rate", "ttl": "1h"})
    await works.play(spec, namespace=THEIRS)
    await works.play(spec, namespace=OURS)
    assert len(works.effects.read_text().splitlines()) == 2
    await works.play(spec, namespace=OURS)
    assert len(works.effects.read_text().splitlines()) == 2


async def test_the_same_key_of_a_limit_is_another_limit_in_another_namespace(works):
    limit = {"key": "pay", "limit": 1}
    holder = await works.start(one(WAITS, concurrency=limit), namespace=THEIRS)
    run = await works.play(one(OCCUPY, concurrency=limit, breaker={"key": "pay", "failures": 1}), namespace=OURS)
    assert run.phase is Phase.SUCCEEDED
    assert {shown.namespace for shown in (await works.store.turns.show(OURS)).slots} <= {OURS}
    assert (await works.store.run(holder)).phase is Phase.RUNNING


async def test_a_quota_that_another_namespace_has_used_up_holds_nothing_back_here(works):
    await works.store.quotas.put(THEIRS, Allowance(active_runs=0, steps=0))
    await works.start(one(OCCUPY), namespace=THEIRS)
    assert (await works.play(one(OCCUPY), namespace=OURS)).phase is Phase.SUCCEEDED
    await works.store.quotas.put(THEIRS, NOTHING_SAID)


async def a_run_with(store, options, secrets, namespace, spec):
    """The end of a run on a runner of its own, and of its only step."""
    queue = LocalQueue()
    runner = Runner(store, queue, load_kinds(KindSetup(KindSettings(functions=(str(FUNCTIONS),)))), options, secrets)
    caretakers = Caretakers(store, queue, CaretakerOptions(interval=0.05))
    await runner.start()
    caretakers.start()
    try:
        new, jobs = await accepted(store, spec, namespace=namespace)
        await queue.publish(jobs)
        while not (run := await store.run(new.run_id)).phase.done:
            await store.care.next_due()
        return run, next(step for step in await store.steps(new.run_id) if step.key.step == 1)
    finally:
        await caretakers.stop()
        await runner.stop()
        await queue.close()


async def test_a_secret_of_another_namespace_is_not_there(store, tmp_path):
    folder = tmp_path / THEIRS / "pay"
    folder.mkdir(parents=True)
    (folder / "token").write_text("of theirs")
    secrets = SecretReader([Files(tmp_path)])
    script = {"script": {"shell": "bash", "run": 'echo "$TOKEN" > "$LEAT_OUTPUT"', "env": {}}}
    script["script"]["env"] = {"TOKEN": "${ secret('pay', 'token') }"}
    spec = one(script)
    run, step = await a_run_with(store, RunnerOptions("r", slots=4), secrets, OURS, spec)
    assert (run.phase, step.error["type"]) == (Phase.FAILED, "SecretNotFound")
    run, _ = await a_run_with(store, RunnerOptions("r", slots=4), secrets, THEIRS, spec)
    assert run.phase is Phase.SUCCEEDED


async def test_a_pool_that_serves_other_namespaces_executes_nothing_of_this_one(store, effects):
    options = RunnerOptions("r", slots=4, tenants=frozenset({THEIRS}))
    run, step = await a_run_with(store, options, SecretReader([]), OURS, one(OCCUPY, retry={"max": 3}))
    assert (run.phase, step.state, step.attempt) == (Phase.FAILED, State.FAILED, 1)
    assert step.error["type"] == "Forbidden"
    assert step.error["message"].startswith("pool 'default' does not serve namespace 'ours': name another pool")
    assert THEIRS not in step.error["message"]
    assert not effects.exists()
    run, _ = await a_run_with(store, options, SecretReader([]), THEIRS, one(OCCUPY))
    assert run.phase is Phase.SUCCEEDED
