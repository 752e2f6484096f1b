"""Rows of what a container puts: its Job goes on without the runner, and whoever follows it has what comes."""

from tests.support.hand import Hand, accepted, done

from leat_engine.reference import key_of_try
from leat_engine.store.artifacts import ObjectId

SPEC = {"steps": [{"name": "work", "container": {"image": "x"}, "artifacts": {"a": {"path": "a"}, "b": {"path": "b"}}}]}


async def ours(store, run):
    return [(this.attempt, this.name) for this, _ in await store.artifacts.leftovers(100) if this.key.run_id == run]


async def test_what_a_try_puts_without_its_runner_is_that_of_the_attempt_that_follows_it(store):
    rows, first, second = store.artifacts, await Hand.registered(store), await Hand.registered(store)
    run, jobs = await accepted(store, SPEC)
    (claim,) = await first.claim(jobs)
    keys = {name: key_of_try(run.namespace, claim.key, "work", 1, name) for name in ("a", "b")}
    old = {name: ObjectId(claim.key, 1, name) for name in keys}
    for name, key in keys.items():
        await rows.inherit(first.runner, old[name], key)
        assert await rows.intend(first.runner, old[name], run.namespace, key, "x/y")
    assert await rows.keep(old["b"], 3, "ff")
    jobs = await store.retire(first.runner)
    assert await ours(store, run.run_id) == []  # it may come yet, and nobody has the step
    (claim,) = await second.claim(jobs)
    assert claim.attempt == 2
    new = {name: ObjectId(claim.key, 2, name) for name in keys}
    await rows.inherit(first.runner, new["a"], keys["a"])  # who has lost the step gets nothing
    assert not await rows.keep(new["a"], 3, "ff")
    for name, key in keys.items():
        await rows.inherit(second.runner, new[name], key)
        assert await rows.intend(second.runner, new[name], run.namespace, key, "x/y")
        assert await rows.keep(new[name], 3, "ff")
        assert not await rows.keep(old[name], 4, "00")
    assert await ours(store, run.run_id) == []
    await second.end(second.view(run, SPEC, 1, complete=True), done(1, 2))
    assert [(kept.name, kept.reference.key) for kept in await rows.kept(run.run_id)] == sorted(keys.items())
    assert await ours(store, run.run_id) == []


async def test_what_an_earlier_try_has_put_goes_when_its_step_is_over(store):
    rows, first, second = store.artifacts, await Hand.registered(store), await Hand.registered(store)
    run, jobs = await accepted(store, SPEC)
    for number, hand in ((1, first), (2, second)):
        (claim,) = await hand.claim(jobs)
        this, key = ObjectId(claim.key, number, "a"), key_of_try(run.namespace, claim.key, "work", number, "a")
        await rows.inherit(hand.runner, this, key)
        assert await rows.intend(hand.runner, this, run.namespace, key, "x/y")
        assert await rows.keep(this, 3, "ff")
        jobs = await store.retire(hand.runner) if number == 1 else []
    assert await ours(store, run.run_id) == []
    await second.end(second.view(run, SPEC, 1, complete=True), done(1, 2))
    assert await ours(store, run.run_id) == [(1, "a")]
