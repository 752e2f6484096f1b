"""Reruns of runs that have started children, and how long children are kept."""

from datetime import UTC, datetime, timedelta

from tests.support.family import a_house, shelve
from tests.support.load import plan_of

from leat_engine.job import uuid7
from leat_engine.records import Lineage
from leat_engine.rerun import begin_again
from leat_engine.result import Phase

ONE = {"inputs": {"n": {}}, "steps": [{"name": "say", "transform": "${ inputs.n }"}], "output": "${ steps.say.output }"}
PICKY = {"inputs": {"ok": {}}, "steps": [{"name": "say", "transform": "${ inputs.ok ? 1 : [1][5] }"}]}
SPEC = {
    "inputs": {"ok": {"type": "boolean", "default": False}},
    "steps": [
        {"name": "kept", "workflow": {"name": "one", "inputs": {"n": 7}}},
        {"name": "again", "needs": ["kept"], "workflow": {"name": "picky", "inputs": {"ok": "${ inputs.ok }"}}},
    ],
    "output": "${ steps.kept.output }",
}


async def test_steps_that_are_kept_keep_their_results_and_the_others_start_new_children(store):
    await shelve(store, "one", ONE)
    await shelve(store, "picky", PICKY)
    async with a_house(store) as house:
        old = await house.run(SPEC, inputs={"ok": False})
        assert (old.phase, old.children) == (Phase.FAILED, 2)
        ends = {node: state for node, (state, _) in (await store.survey(old.run_id, 0)).items()}
        begun = begin_again(plan_of(SPEC), old, ends, ())
        lineage = Lineage(old.run_id, old.name, begun.kept, begun.joins)
        new = await house.run(SPEC, inputs={"ok": True}, roots=begun.roots, lineage=lineage)
        (child,) = await store.children.show(new.run_id)
    assert (new.phase, new.output, new.children) == (Phase.SUCCEEDED, 7, 1)
    assert child.workflow == "picky"
    assert child.run_id not in {each.run_id for each in await store.children.show(old.run_id)}


async def test_children_go_with_the_month_of_their_parent_however_late_they_were_started(store):
    await shelve(store, "one", ONE)
    spec = {"steps": [{"name": "call", "workflow": {"name": "one", "inputs": {"n": 1}}}]}
    now = datetime.now(UTC)
    await store.care.prune(
        now - timedelta(days=70), timedelta(days=10_000), timedelta(days=1)
    )  # makes room for that month
    run_id = uuid7(now - timedelta(days=70), b"0123456789")
    async with a_house(store, caretakers=False) as house:
        run = await house.run(spec, run_id=run_id, name="old")
    (child,) = await store.children.show(run.run_id)
    assert await store.run(child.run_id) is not None
    assert len(await store.care.prune(now, timedelta(days=30), timedelta(days=1))) > 0
    assert await store.run(run.run_id) is None
    assert await store.run(child.run_id) is None


async def test_nothing_is_left_to_be_asked_for_when_parents_have_ended(store):
    await shelve(store, "one", ONE)
    spec = {"steps": [{"name": "c", "forEach": [1, 2, 3], "workflow": {"name": "one", "inputs": {"n": "${ item }"}}}]}
    async with a_house(store) as house:
        assert (await house.run(spec)).phase is Phase.SUCCEEDED
    async with store._connection() as connection:
        assert await connection.fetchval("select count(*) from leat.run where awaited") == 0
