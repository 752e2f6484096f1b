"""What the operator decides about resources, without a cluster."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leat_engine.errors import Reason, Rejected
from leat_engine.job import run_id_of
from leat_engine.pools import Announced
from leat_engine.records import RunRecord
from leat_engine.result import Phase, State
from leat_engine.spec import parse_spec
from leat_engine.spec.kinds import load_models
from leat_engine.status import unable_status, waiting_status
from leat_operator.accept import is_of_the_values
from leat_operator.admit import Admitted, Lacking, Unable, admit
from leat_operator.again import Recalled, readmit
from leat_operator.announced import current
from leat_operator.catalog import Catalog
from leat_operator.inbox import Inbox, Present
from leat_operator.objects import RUNS, WORKFLOWS, Ref
from leat_operator.sweep import compare
from leat_operator.waiting import Waiter, WaitingRoom
from leat_operator.workflows import wanted_status

CREATED = datetime(2026, 3, 1, 12, tzinfo=UTC)
GREET = {"name": "greet", "transform": "hello"}
ADD = {"name": "sum", "function": {"name": "add", "with": {"values": "${ [1] }"}}}
NO_ADD = Reason("spec.steps[0].function.name", "pool 'default' cannot run it")


def resource(kind, name, spec, *, uid=None, generation=1):
    metadata = {
        "name": name,
        "namespace": "shop",
        "uid": uid or f"uid-{name}",
        "generation": generation,
        "creationTimestamp": CREATED.isoformat().replace("+00:00", "Z"),
    }
    return {"apiVersion": "leat.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def workflow(name="hello", *steps, **spec):
    generation = spec.pop("generation", 1)
    return resource("Workflow", name, {"steps": list(steps or (GREET,)), **spec}, generation=generation)


def run(name="hello-1", **spec):
    return resource("WorkflowRun", name, {"workflow": {"name": "hello"}, **spec})


@pytest.fixture
def catalog():
    return Catalog(load_models())


def admitted(body, catalog):
    answer = admit(body, catalog)
    assert isinstance(answer, Admitted)
    return answer


def test_a_run_takes_the_workflows_plan_and_defaults(catalog):
    catalog.put(workflow("hello", GREET, inputs={"who": {"type": "string", "default": "world"}}, timeout="1m"))
    found = admitted(run(priority=3, suspend=True), catalog).run
    assert found.run_id == run_id_of("uid-hello-1", CREATED)
    assert (found.namespace, found.name, found.workflow) == ("shop", "hello-1", "hello")
    assert found.inputs == {"who": "world"}
    assert (found.total, len(found.roots), found.timeout) == (1, 1, 60.0)
    assert (found.priority, found.suspended) == (3, True)


def test_admitting_twice_gives_the_same_run(catalog):
    catalog.put(workflow())
    assert admit(run(), catalog) == admit(run(), catalog)


@pytest.mark.parametrize(
    ("error", "at_fault"),
    [
        (asyncpg.DataError("out of range"), True),
        (asyncpg.CharacterNotInRepertoireError("0x00"), True),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"), True),
        (asyncpg.UndefinedColumnError("no such column"), False),
        (asyncpg.InsufficientPrivilegeError("no right"), False),
        (asyncpg.InvalidPasswordError("wrong password"), False),
        (RuntimeError("a defect"), False),
    ],
)
def test_a_run_is_refused_for_its_values_and_never_for_the_state_of_the_store(error, at_fault):
    assert is_of_the_values(error) is at_fault


def test_a_run_whose_workflow_is_not_there_lacks_it(catalog):
    assert admit(run(), catalog) == Lacking("hello")


def test_a_run_of_an_invalid_workflow_gets_its_reasons(catalog):
    catalog.put(workflow("hello", {"name": "a", "needs": ["b"], "transform": 1}))
    with pytest.raises(Rejected) as rejected:
        admit(run(), catalog)
    assert "spec.steps[0].needs[0]" in str(rejected.value)


def test_the_reasons_of_an_inline_workflow_have_its_path(catalog):
    with pytest.raises(Rejected) as rejected:
        admit(run(workflow=None, inline={"steps": [{"name": "a", "needs": ["b"], "transform": 1}]}), catalog)
    assert "spec.inline.steps[0].needs[0]" in str(rejected.value)


@pytest.mark.parametrize("name", ["a/b", "..", "Hello", "a?b", "a b"])
def test_a_workflow_that_cannot_be_is_not_waited_for(catalog, name):
    with pytest.raises(Rejected, match=r"spec\.workflow\.name"):
        admit(run(workflow={"name": name}), catalog)


def test_a_deleted_workflow_is_lacking_again(catalog):
    listed = catalog.put(workflow())
    catalog.remove(listed.ref)
    assert isinstance(admit(run(), catalog), Lacking)


def test_the_deletion_of_an_older_workflow_of_the_same_name_changes_nothing(catalog):
    catalog.put(workflow())
    catalog.remove(Ref(WORKFLOWS, "shop", "hello", "uid-of-an-older-one"))
    assert isinstance(admit(run(), catalog), Admitted)


def test_a_changed_workflow_makes_another_revision(catalog):
    first = catalog.put(workflow())
    second = catalog.put(workflow("hello", {"name": "greet", "transform": "bye"}, generation=2))
    assert first.compiled.revision.id != second.compiled.revision.id
    assert admitted(run(), catalog).run.revision == second.compiled.revision.id


def test_a_workflow_that_says_so_already_is_not_told_again(catalog):
    listed = catalog.put(workflow())
    told = wanted_status(listed, {}, CREATED)
    assert wanted_status(listed, told, CREATED + timedelta(hours=1)) == told


def test_ready_keeps_its_time_over_a_change_and_takes_a_new_one_when_it_turns(catalog):
    told = wanted_status(catalog.put(workflow()), {}, CREATED)
    later = CREATED + timedelta(hours=1)
    changed = wanted_status(catalog.put(workflow("hello", {"name": "x", "transform": 1}, generation=2)), told, later)
    assert changed["conditions"][0]["lastTransitionTime"] == told["conditions"][0]["lastTransitionTime"]
    broken = wanted_status(catalog.put(workflow("hello", {"name": "x"}, generation=3)), changed, later)
    assert broken["conditions"][0]["lastTransitionTime"] == "2026-03-01T13:00:00Z"


def wait(room, body, *reasons):
    status = unable_status(reasons, 1, CREATED) if reasons else waiting_status("hello", 1, CREATED)
    return room.enter(Ref.of(RUNS, body), Waiter(body, "hello", reasons), status)


def test_runs_that_wait_for_a_workflow_leave_when_it_comes():
    room = WaitingRoom(60)
    assert wait(room, run("a"))
    assert not wait(room, run("a"))
    wait(room, run("b"))
    room.forget(Ref.of(RUNS, run("b")))
    assert room.leave("shop", "hello") == [run("a")]
    assert room.leave("shop", "hello") == []


def test_runs_that_wait_for_a_pool_leave_when_it_changes_or_their_workflow_does():
    room = WaitingRoom(60)
    wait(room, run("a"), NO_ADD)
    wait(room, run("b"))
    assert room.leave_unable() == [run("a")]
    wait(room, run("a"), NO_ADD)
    assert sorted(body["metadata"]["name"] for body in room.leave("shop", "hello")) == ["a", "b"]


def test_a_run_that_waits_for_a_pool_is_told_again_when_the_reasons_differ():
    room = WaitingRoom(60)
    assert wait(room, run("a"), NO_ADD)
    assert not wait(room, run("a"), NO_ADD)
    assert wait(room, run("a"), NO_ADD, Reason("spec.steps[1].http", "pool 'default' cannot run it"))


def test_waiting_ends_after_the_grace():
    room = WaitingRoom(60)
    wait(room, run())
    assert room.next_end(CREATED) == 60
    assert list(room.ended(CREATED + timedelta(seconds=59))) == []
    assert list(room.ended(CREATED + timedelta(seconds=60))) == [Waiter(run(), "hello")]
    assert room.leave("shop", "hello") == []


def test_a_run_that_was_told_before_a_restart_is_not_told_again():
    assert not wait(WaitingRoom(60), {**run(), "status": waiting_status("hello", 1, CREATED)})
    assert wait(WaitingRoom(60), {**run(), "status": waiting_status("hello", 1, CREATED)}, NO_ADD)


def test_a_waiting_run_whose_spec_was_changed_is_told_again():
    room, changed = WaitingRoom(60), run(suspend=True)
    changed["metadata"]["generation"] = 2
    assert wait(room, run())
    assert wait(room, changed)
    assert not wait(room, changed)


def pool(*functions, kinds=("function", "http")):
    return {"default": Announced("default", "", frozenset(kinds), frozenset(functions), 10, CREATED)}


def test_a_workflow_that_its_pool_cannot_run_is_valid_and_not_ready(catalog):
    listed = catalog.put(workflow("hello", ADD))
    assert catalog.announce(pool("subtract")) == [listed]
    status = wanted_status(listed, {}, CREATED, catalog.incapable(listed.compiled))
    assert status["conditions"][0]["status"] == "False"
    assert status["conditions"][0]["reason"] == "PoolCannotRun"
    assert "spec.steps[0].function.name: pool 'default' cannot run it" in status["conditions"][0]["message"]
    assert status["revision"] == listed.compiled.revision.id
    assert catalog.announce(pool("add")) == [listed]
    assert catalog.announce(pool("add", "subtract")) == []
    assert not catalog.incapable(listed.compiled)


def test_a_run_that_its_pool_cannot_run_is_not_admitted(catalog):
    catalog.announce(pool("subtract"))
    catalog.put(workflow("hello", ADD))
    answer = admit(run(), catalog)
    assert isinstance(answer, Unable)
    assert [reason.path for reason in answer.reasons] == ["spec.steps[0].function.name"]
    inline = admit(run(workflow=None, inline={"steps": [{**ADD, "name": "other"}]}), catalog)
    assert isinstance(inline, Unable)
    assert [reason.path for reason in inline.reasons] == ["spec.inline.steps[0].function.name"]
    catalog.announce({})
    assert isinstance(admit(run(), catalog), Admitted)


def test_reasons_have_the_path_of_where_a_spec_stands_whoever_had_the_same_before(catalog):
    catalog.announce(pool("subtract"))
    catalog.put(workflow("hello", ADD))
    inline = run(workflow=None, inline={"steps": [ADD]})
    for body, path in ((run(), "spec"), (inline, "spec.inline"), (run(), "spec")):
        assert [reason.path for reason in admit(body, catalog).reasons] == [f"{path}.steps[0].function.name"]
    revision = catalog.get("shop", "hello").compiled.revision.id
    assert catalog.plan(revision) is catalog.get("shop", "hello").compiled.plan


def test_what_runners_of_an_older_spec_announced_does_not_hold():
    old = pool("add")
    assert current(old, {"default": "another"}) == {}
    assert current(old, {"default": ""}) == current(old, {"gpu": "abc"}) == current(old, {}) == old


async def test_what_many_threads_put_into_the_inbox_comes_out_once_and_in_their_order():
    inbox = Inbox()

    def fill(thread):
        for number in range(500):
            inbox.put(Present(RUNS, {"thread": thread, "number": number}))

    threads = [threading.Thread(target=fill, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    found = []
    async with asyncio.timeout(10):
        while len(found) < 2000:
            found += [notice.body for notice in await inbox.take(100, 10)]
    for thread in range(4):
        assert [body["number"] for body in found if body["thread"] == thread] == list(range(500))


async def test_an_empty_inbox_answers_after_the_wait():
    assert await Inbox().take(10, 0.01) == []


def record(uid, namespace="shop", **changes):
    counts = {"total": 1, "live": 1, "succeeded": 0, "failed": 0, "skipped": 0}
    flags = {"suspended": False, "stopping": None, "output": None, "error": None, "priority": 0, "finished_at": None}
    fields = {
        "run_id": run_id_of(uid, CREATED),
        "namespace": namespace,
        "name": uid,
        "workflow": "hello",
        "revision": "r",
        "uid": uid,
        "generation": 1,
        "phase": Phase.RUNNING,
        "inputs": {},
        "started_at": CREATED,
        **counts,
        **flags,
    }
    return RunRecord(**{**fields, **changes})


def told(uid, **spec):
    body = resource("WorkflowRun", uid, {"workflow": {"name": "hello"}, **spec}, uid=uid)
    return {**body, "status": {"phase": "Running", "progress": "0/1", "observedGeneration": 1}}


def test_two_sides_that_agree_differ_in_nothing():
    found = compare({"a": told("a")}, [record("a")], ())
    assert (found.gone, found.unknown, found.apart) == ([], [], [])


def test_a_run_without_its_resource_is_gone_unless_its_namespace_is_not_served():
    assert [each.uid for each in compare({}, [record("a"), record("b", "elsewhere")], ["shop"]).gone] == ["a"]


def test_a_resource_without_its_run_is_unknown():
    assert compare({"a": told("a")}, [], ()).unknown == [told("a")]


@pytest.mark.parametrize(
    ("body", "run"),
    [
        (told("a", suspend=True), record("a")),
        (told("a"), record("a", suspended=True)),
        (told("a", priority=5), record("a")),
        (told("a", revision="0123456789abcdef"), record("a")),
        (told("a", cancel=True), record("a")),
        (told("a"), record("a", succeeded=1)),
        ({**told("a"), "status": {}}, record("a")),
    ],
)
def test_what_a_resource_asks_or_shows_differs(body, run):
    assert compare({"a": body}, [run], ()).apart == [(body, run)]


def test_a_run_that_is_stopping_already_is_not_asked_again():
    body = {**told("a", cancel=True)}
    assert compare({"a": body}, [record("a", stopping=Phase.CANCELLED)], ()).apart == []


@given(st.sets(st.sampled_from("abcdef")), st.sets(st.sampled_from("abcdef")))
def test_every_difference_is_found_once(resources, runs):
    found = compare({uid: told(uid) for uid in resources}, [record(uid) for uid in sorted(runs)], ())
    assert {each.uid for each in found.gone} == runs - resources
    assert {body["metadata"]["uid"] for body in found.unknown} == resources - runs
    assert found.apart == []


# -- going on from another run ----------------------------------------------------------------------------------------

CHAIN = [{"name": name, "needs": needs, "function": {"name": "add"}} for name, needs in (("a", []), ("b", ["a"]))]
INPUTS = {"id": {"type": "string"}, "card": {"type": "string", "sensitive": True}}


def recalled(catalog, **changes):
    spec = parse_spec({"steps": CHAIN, "inputs": INPUTS})
    revision = catalog.compile(spec, "shop", "hello").revision
    known = {"phase": Phase.FAILED, "revision": revision.id, "inputs": {"id": "A-17", "card": "4242"}, **changes}
    return Recalled(record("hello-1", **known), revision, {1: State.SUCCEEDED, 2: State.FAILED})


def again(**spec):
    return run("hello-2", **{"rerun": {"of": "hello-1"}, **spec})


def test_a_run_that_goes_on_is_of_the_old_revision_whatever_has_become_of_the_workflow(catalog):
    old = recalled(catalog)
    catalog.put(workflow("hello", GREET))
    new = readmit(again(), old, catalog).run
    assert new.revision == old.run.revision
    assert (new.lineage.of, new.lineage.name, new.lineage.kept) == (old.run.run_id, "hello-1", (1,))
    assert [root.step for root in new.roots] == [2]


def test_inputs_that_are_given_replace_those_of_the_old_run_one_by_one(catalog):
    new = readmit(again(inputs={"id": "B-1"}), recalled(catalog), catalog).run
    assert new.inputs == {"id": "B-1", "card": "4242"}


@pytest.mark.parametrize(
    ("spec", "changes", "path", "message"),
    [
        ({"workflow": {"name": "other"}}, {}, "spec.workflow.name", "found 'other', but run hello-1 is of 'hello'"),
        ({"workflow": None, "inline": {"steps": [GREET]}}, {}, "spec.inline", "differs from what run hello-1 ran"),
        ({}, {"phase": Phase.RUNNING}, "spec.rerun.of", "is Running, expected one that has ended"),
        ({"inputs": {"id": 5}}, {}, "spec.inputs.id", "string"),
        ({"inputs": {"ID": "5"}}, {}, "spec.inputs.ID", "id"),
    ],
)
def test_what_cannot_go_on_is_refused_with_its_field(catalog, spec, changes, path, message):
    with pytest.raises(Rejected) as refused:
        readmit(again(**spec), recalled(catalog, **changes), catalog)
    (reason,) = refused.value.reasons
    assert reason.path == path
    assert message in reason.message


def test_a_run_that_the_store_does_not_know_cannot_be_gone_on_from(catalog):
    with pytest.raises(Rejected, match=r"spec\.rerun\.of: the store knows no run hello-1 of namespace shop"):
        readmit(again(), None, catalog)


def test_the_inline_workflow_of_the_old_run_may_be_repeated(catalog):
    inline = {"steps": CHAIN, "inputs": INPUTS}
    assert readmit(again(workflow=None, inline=inline), recalled(catalog), catalog).run.lineage.kept == (1,)


def test_a_revision_is_of_the_workflow_that_is_asked_for_also_when_others_say_the_same(catalog):
    spec = parse_spec({"steps": [{"name": "a", "transform": 1}]})
    first = catalog.compile(spec, "north", "one")
    second = catalog.compile(spec, "south", "two")
    assert first.plan is second.plan
    assert [(each.revision.namespace, each.revision.workflow) for each in (first, second)] == [
        ("north", "one"),
        ("south", "two"),
    ]
