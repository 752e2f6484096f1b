"""`leat revisions` and `leat migrate` on a database."""

from dataclasses import replace
from uuid import uuid4

import pytest
from tests.support.cli import leat
from tests.support.hand import Hand, accepted, done, job, steps
from tests.support.load import plan_of, revision_of

from leat_engine.view import RunView

OLD = steps("one", two=["one"])
NEW = steps("one", instead=["one"])
GONE = steps("zero")
MORE = steps("one", two=["one"], three=["two"])
FIRST, SECOND, THIRD, FOURTH = (plan_of(spec).revision for spec in (OLD, NEW, GONE, MORE))


@pytest.fixture
async def order(store):
    """A workflow of its own with four revisions, and a run by the first one whose first step is over."""
    workflow = f"order-{uuid4().hex[:8]}"
    for spec in (OLD, NEW, GONE, MORE):
        await store.versions.note(replace(revision_of(spec), namespace="shop", workflow=workflow))
    hand = await Hand.registered(store)
    run, jobs = await accepted(store, OLD, namespace="shop", workflow=workflow)
    await hand.claim(jobs)
    view = RunView(run.run_id, plan_of(OLD), run.namespace, run.name, run.inputs)
    view.live.add(1)
    await hand.end(view, done(1), takes=False)
    return run


def test_revisions_are_listed_and_compared(order, database):
    listed = leat("revisions", order.workflow, "-n", "shop", "--database", database)
    assert listed.code == 0, listed.err
    rows = [line.split() for line in listed.out.splitlines()]
    assert rows[0] == ["REVISION", "SINCE", "ACTIVE", "FINISHED"]
    assert [(row[0], row[2]) for row in rows[1:]] == [(FOURTH, "0"), (THIRD, "0"), (SECOND, "0"), (FIRST, "1")]
    found = leat("revisions", order.workflow, "-n", "shop", "-o", "json", "--database", database).json
    assert [each["revision"] for each in found] == [FOURTH, THIRD, SECOND, FIRST]
    assert found[3]["active"] == 1
    diff = leat(
        "revisions", order.workflow, "--diff", FIRST, SECOND, "-n", "shop", "--database", database
    ).out.splitlines()
    assert diff[:2] == [f"--- {FIRST}", f"+++ {SECOND}"]
    assert "-- name: two" in diff
    assert "+- name: instead" in diff
    assert leat("revisions", order.workflow, "--diff", FIRST, FIRST, "-n", "shop", "--database", database).out == ""


def test_revisions_of_another_namespace_are_not_there(order, database):
    nobody = leat("revisions", order.workflow, "-n", "other", "--database", database)
    assert (nobody.code, "found no revision of a workflow 'order-" in nobody.err) == (2, True)
    done = leat("revisions", order.workflow, "--diff", FIRST, SECOND, "-n", "other", "--database", database)
    assert (done.code, f"found no revision {FIRST} and no {SECOND}" in done.err) == (2, True)
    done = leat("migrate", order.name, "--to", "0000", "-n", "shop", "--database", database)
    assert (done.code, "has had no revision 0000: `leat revisions order-" in done.err) == (2, True)


async def test_a_run_is_migrated_after_a_look(order, database, store):
    where = ("-n", "shop", "--database", database)
    look = leat("migrate", order.name, "--to", SECOND, "--dry-run", *where)
    assert (look.code, look.out) == (
        0, f"{order.name} can be migrated from {FIRST} to {SECOND}: as many steps, 1 ready anew\n",
    )  # fmt: skip
    assert (await store.run(order.run_id)).revision == FIRST
    moved = leat("migrate", order.name, "--to", SECOND, *where)
    assert (moved.code, "migrated from" in moved.out) == (0, True), moved.err
    record = await store.run(order.run_id)
    assert (record.revision, record.suspended) == (SECOND, False)
    assert leat("migrate", order.name, "--to", SECOND, *where).out == f"{order.name} has revision {SECOND} already\n"


async def test_a_run_that_cannot_go_on_is_told_with_every_reason_and_goes_on(order, database, store):
    done = leat("migrate", order.name, "--to", THIRD, "-n", "shop", "--database", database)
    assert done.code == 2
    assert done.err == (
        f"{order.name}: spec.steps[0]: step 'one' has ended Succeeded, and is not there in revision {THIRD}: "
        "keep it, under its name and in its body\n"
    )
    assert len(await (await Hand.registered(store)).claim([job(order.run_id, 2)])) == 1
    done = leat("migrate", order.name, "--to", FOURTH, "--timeout", "0", "-n", "shop", "--database", database)
    assert (done.code, "runners have 1 steps of run" in done.err) == (3, True)
    assert not (await store.run(order.run_id)).suspended


def test_all_runs_of_a_revision_are_migrated(order, database):
    where = ("-n", "shop", "--database", database)
    done = leat("migrate", "--workflow", order.workflow, "--from", FIRST, "--to", SECOND, *where)
    assert (done.code, order.name in done.out) == (0, True), done.err
    again = leat("migrate", "--workflow", order.workflow, "--from", FIRST, "--to", SECOND, *where)
    assert (again.code, again.out, "found no run of workflow 'order-" in again.err) == (0, "", True)


@pytest.mark.parametrize(
    ("point", "migrated"), [("after suspend", False), ("before migrate", False), ("after migrate", True)]
)
async def test_who_dies_in_between_has_migrated_all_or_nothing(order, database, store, point, migrated):
    where = ("-n", "shop", "--database", database)
    assert leat("migrate", order.name, "--to", SECOND, *where, env={"LEAT_CRASH_AT": point}).code == -9
    record = await store.run(order.run_id)
    assert (record.revision == SECOND, record.suspended, record.epoch) == (migrated, not migrated, int(migrated))
    assert leat("migrate", order.name, "--to", SECOND, *where).code == 0
    jobs = await store.suspend(order.run_id, suspended=False)
    assert len(jobs) == int(not migrated)
    assert len(await (await Hand.registered(store)).claim([job(order.run_id, 2)])) == 1


def test_which_runs_are_meant_has_to_be_said():
    for words in ([], ["a", "--workflow", "order"], ["--workflow", "order"], ["a", "--from", "x"]):
        assert leat("migrate", *words, "--to", SECOND).code == 2
    done = leat("migrate", "a", "--to", SECOND, "--dry-run")
    assert (done.code, "give --database URL" in done.err) == (2, True)
