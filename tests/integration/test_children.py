"""Child runs on a real store and a real runner: what they give, what passes down, and what they may not."""

import asyncio
from datetime import timedelta

import pytest
from tests.support.family import BORN, a_house, shelve
from tests.support.hand import Hand, accepted, job
from tests.support.load import a_run, revision_of
from tests.support.queue import eventually

from leat_engine import limits
from leat_engine.child import child_name
from leat_engine.decide import Finished
from leat_engine.job import StepKey, child_id_of
from leat_engine.records import Stop
from leat_engine.redaction import Redaction
from leat_engine.result import Phase, Result, State
from leat_engine.store.children import Birth, Shelved
from leat_engine.store.signals import Mine
from leat_engine.store.writes import Lateness

CANCEL = Stop(Phase.CANCELLED, interrupt=True, error={"type": "Cancelled", "message": "cancelled by a test"})
DOUBLE = {
    "inputs": {"number": {"type": "integer"}},
    "steps": [{"name": "double", "transform": "${ inputs.number * 2 }"}],
    "output": {"doubled": "${ steps.double.output }"},
}
SLOW = {"steps": [{"name": "nap", "wait": {"duration": "1h"}}]}
BROKEN = {"steps": [{"name": "break", "fail": {"message": "it is broken", "reason": "Broken"}}]}


@pytest.fixture(autouse=True)
def effects(tmp_path, monkeypatch):
    path = tmp_path / "effects"
    path.touch()
    monkeypatch.setenv("LEAT_TEST_EFFECTS", str(path))
    return path


def calls(name, inputs=None, **fields):
    """A workflow of one step that calls another one, and gives its output."""
    step = {"name": "call", "workflow": {"name": name, "inputs": inputs or {}, **fields.pop("workflow", {})}, **fields}
    return {"steps": [step], "output": "${ steps.call.output }"}


async def test_a_child_is_a_run_of_its_own_and_its_output_is_the_steps(store):
    revision = await shelve(store, "double", DOUBLE)
    async with a_house(store) as house:
        run = await house.run(calls("double", {"number": 21}))
        (child,) = await store.children.show(run.run_id)
        found = await store.run(child.run_id)
    assert (run.phase, run.output) == (Phase.SUCCEEDED, {"doubled": 42})
    assert (found.namespace, found.workflow, found.revision, found.uid) == ("test", "double", revision, None)
    assert (found.parent, found.inputs, found.phase) == (run.name, {"number": 21}, Phase.SUCCEEDED)
    assert found.name.startswith(f"{run.name}-call-")
    assert (run.children, child.name, child.step, child.done, child.total) == (1, found.name, 1, 1, 1)


async def test_a_step_that_waits_for_a_child_holds_no_slot_and_says_for_what_it_waits(store):
    await shelve(store, "slow", SLOW)
    async with a_house(store) as house:
        run = await house.begin(calls("slow"))
        child = await house.child(run)

        async def state():
            (step,) = await store.steps(run.run_id)
            return step.state, step.note

        await eventually(state, (State.DELAYED, f"waits for run {child.name}"))
        assert (await store.run(run.run_id)).noted


async def test_for_each_item_there_is_a_child_and_not_more_of_them_at_once_than_may_be(store):
    await shelve(store, "double", DOUBLE)
    spec = calls("double", {"number": "${ item }"}, forEach=list(range(12)), maxParallel=3)
    async with a_house(store) as house:
        run = await house.run(spec)
    assert run.output == [{"doubled": 2 * number} for number in range(12)]
    assert run.children == 12


async def test_a_failed_child_fails_the_step_with_its_error_and_is_tried_again_as_another_child(store):
    await shelve(store, "broken", BROKEN)
    spec = calls("broken", retry={"max": 1, "backoff": {"initial": "1ms"}})
    async with a_house(store) as house:
        run = await house.run(spec)
        children = await store.children.show(run.run_id)
    details = run.error["details"]
    assert (run.phase, run.error["type"], details["phase"]) == (Phase.FAILED, "ChildFailed", "Failed")
    assert details["error"]["reason"] == "Broken"
    assert [child.phase for child in children] == [Phase.FAILED, Phase.FAILED]
    assert details["run"] in {child.name for child in children}


async def test_a_failure_of_a_child_is_handled_by_an_edge(store):
    await shelve(store, "broken", BROKEN)
    spec = calls("broken")
    spec["steps"].append(
        {"name": "mend", "needs": [{"step": "call", "on": ["Failed"]}], "transform": "${ steps.call.error.phase }"}
    )
    spec["output"] = "${ steps.mend.output }"
    async with a_house(store) as house:
        run = await house.run(spec)
    assert (run.phase, run.output) == (Phase.SUCCEEDED, "Failed")


async def test_a_child_that_is_cancelled_is_not_tried_again(store):
    await shelve(store, "slow", SLOW)
    async with a_house(store) as house:
        run = await house.begin(calls("slow", retry={"max": 3}))
        child = await house.child(run)
        await house.queue.publish(await store.stop(child.run_id, CANCEL))
        found = await house.ended(run.run_id)
    assert (found.phase, found.error["details"]["phase"], found.children) == (Phase.FAILED, "Cancelled", 1)


async def test_a_detached_child_goes_its_own_way(store):
    await shelve(store, "slow", SLOW)
    async with a_house(store) as house:
        run = await house.run(calls("slow", workflow={"mode": "detach"}), priority=7)
        child = await house.child(run)
        await asyncio.sleep(0.5)  # several rounds of the caretakers
        found = await store.run(child.run_id)
    assert run.output == {"run": child.name, "id": str(child.run_id)}
    assert (found.phase, found.priority, found.parent) == (Phase.RUNNING, 7, run.name)


# -- what passes down ---------------------------------------------------------------------------------------------


async def phases(store, *runs):
    return [(await store.run(run.run_id)).phase for run in runs]


async def a_chain(house):
    """A run, its child, and the child's child, which waits for an hour."""
    await shelve(house.store, "slow", SLOW)
    await shelve(house.store, "middle", calls("slow"))
    run = await house.begin(calls("middle"))

    async def count():
        return len(await house.store.children.show(run.run_id))

    await eventually(count, 2)
    child, grandchild = await house.store.children.show(run.run_id)
    assert (child.parent, grandchild.parent) == (run.run_id, child.run_id)
    return run, child, grandchild


async def test_a_cancel_passes_down_to_children_of_children(store):
    async with a_house(store) as house:
        chain = await a_chain(house)
        await house.queue.publish(await store.stop(chain[0].run_id, CANCEL))
        for run in chain:
            assert (await house.ended(run.run_id)).phase is Phase.CANCELLED
        assert (await store.run(chain[1].run_id)).error["reason"] == "ParentStopped"


async def test_a_parent_that_fails_cancels_the_children_that_it_waits_for(store):
    await shelve(store, "slow", SLOW)
    spec = calls("slow")
    spec["steps"].append({"name": "later", "wait": {"duration": "300ms"}})
    spec["steps"].append({"name": "fall", "needs": ["later"], "fail": {"message": "no"}})
    async with a_house(store) as house:
        run = await house.begin(spec)
        child = await house.child(run)
        assert (await house.ended(run.run_id)).phase is Phase.FAILED
        assert (await house.ended(child.run_id)).phase is Phase.CANCELLED


async def test_suspend_resume_and_priority_pass_down_and_are_the_same_for_children_that_come_later(store):
    async with a_house(store) as house:
        chain = await a_chain(house)
        await store.suspend(chain[0].run_id, suspended=True)
        await eventually(lambda: phases(store, *chain), [Phase.SUSPENDED] * 3)
        await store.prioritise(chain[0].run_id, 5)

        async def priorities():
            return [(await store.run(run.run_id)).priority for run in chain]

        await eventually(priorities, [5, 5, 5])
        await house.queue.publish(await store.suspend(chain[0].run_id, suspended=False))
        await eventually(lambda: phases(store, *chain), [Phase.RUNNING] * 3)


async def test_no_child_has_more_time_than_its_step_or_its_parent(store):
    await shelve(store, "slow", SLOW)
    async with a_house(store) as house:
        by_step = await house.run(calls("slow", timeout="200ms"))
        assert by_step.error["details"]["error"]["reason"] == "RunTimeout"
        late = await house.begin({**calls("slow"), "timeout": "500ms"})
        child = await house.child(late)
        assert (await house.ended(late.run_id)).error["reason"] == "RunTimeout"
        assert (await house.ended(child.run_id)).phase.done


async def test_a_try_that_is_given_up_takes_its_child_with_it(store):
    """The step is at its next try while the first child is still there: as when a runner's word came too late."""
    spec = calls("slow")
    revision = await shelve(store, "slow", SLOW)
    run, _ = await accepted(store, spec)
    hand = await Hand.registered(store)
    await hand.claim([job(run.run_id, 1)])
    first = child_of(run, revision, number=1)
    await store.children.start(Mine(hand.runner, job(run.run_id, 1).key, 1), first, birth(1))
    assert [each.run_id for each in await store.children.astray() if each.run_id == first.run_id] == []
    await store.delay(hand.runner, [Lateness(job(run.run_id, 1).key, 1, 0, "default", '{"type": "X", "message": ""}')])
    (astray,) = [each for each in await store.children.astray() if each.run_id == first.run_id]
    assert astray.stop


# -- what may not be ----------------------------------------------------------------------------------------------


async def test_a_workflow_that_comes_late_is_waited_for(store):
    async with a_house(store) as house:
        run = await house.begin(calls("late", {"number": 1}))

        async def note():
            (step,) = await store.steps(run.run_id)
            return step.note

        await eventually(note, "waits for Workflow late, which is not there")
        await shelve(store, "late", DOUBLE)
        assert (await house.ended(run.run_id)).output == {"doubled": 2}


async def test_a_workflow_that_does_not_come_is_told_as_such(store):
    async with a_house(store, grace=0) as house:
        run = await house.run(calls("nowhere"))
    assert run.error["type"] == "WorkflowNotFound"
    assert run.error["retriable"]
    assert "there is no Workflow nowhere in namespace test" in run.error["message"]


async def test_a_workflow_of_another_namespace_is_not_found(store):
    await shelve(store, "theirs", DOUBLE, namespace="others")
    async with a_house(store, grace=0) as house:
        run = await house.run(calls("theirs", {"number": 1}))
    assert run.error["type"] == "WorkflowNotFound"


async def test_a_workflow_that_is_wrong_says_why(store):
    await store.children.put(Shelved("test", "wrong", "uid", BORN, 1, None, "spec.steps[0]: has no kind"))
    async with a_house(store) as house:
        run = await house.run(calls("wrong"))
    assert (run.error["type"], run.error["reason"]) == ("Invalid", "WorkflowInvalid")
    assert run.error["message"].endswith("Workflow wrong is invalid: spec.steps[0]: has no kind")


async def test_wrong_inputs_are_told_with_all_reasons(store):
    await shelve(store, "double", DOUBLE)
    async with a_house(store) as house:
        run = await house.run(calls("double", {"nombre": 1}))
    assert run.error["type"] == "Invalid"
    assert "workflow.inputs.number: is required and missing" in run.error["message"]
    assert "workflow.inputs.nombre: " in run.error["message"]
    assert await store.children.show(run.run_id) == []


async def test_a_workflow_may_call_itself_as_deep_as_runs_may_be(store):
    spec = {
        "inputs": {"left": {"type": "integer"}},
        "steps": [
            {"name": "deeper", "when": "${ inputs.left > 0 }",
             "workflow": {"name": "deep", "inputs": {"left": "${ inputs.left - 1 }"}}},
        ],
        "output": "${ inputs.left == 0 ? 0 : steps.deeper.output + 1 }",
    }  # fmt: skip
    await shelve(store, "deep", spec)
    async with a_house(store) as house:
        run = await house.run(spec, inputs={"left": limits.CHILD_DEPTH})
        assert (run.phase, run.output) == (Phase.SUCCEEDED, limits.CHILD_DEPTH)
        run = await house.run(spec, inputs={"left": limits.CHILD_DEPTH + 1})
    error = run.error
    for _ in range(limits.CHILD_DEPTH):
        error = error["details"]["error"]
    assert (error["type"], error["reason"]) == ("ChildLimit", "TooDeep")


async def test_a_run_may_not_start_more_children_than_the_limit(store, monkeypatch):
    monkeypatch.setattr(limits, "CHILDREN", 3)
    await shelve(store, "double", DOUBLE)
    async with a_house(store) as house:
        run = await house.run(calls("double", {"number": "${ item }"}, forEach=[1, 2, 3, 4]))
    assert (run.phase, run.children) == (Phase.FAILED, 3)
    assert "the run has started 3 child runs; it may start 3" in str(run.error)


# -- what nobody may see ------------------------------------------------------------------------------------------


async def test_what_is_sensitive_in_a_child_is_hidden_in_its_parent_and_the_other_way_round(store):
    echo = {
        "inputs": {"card": {"type": "string", "sensitive": True}},
        "steps": [{"name": "say", "transform": "card ${ inputs.card }"}],
        "output": "${ steps.say.output }",
    }
    plain = {"inputs": {"text": {}}, "steps": [{"name": "say", "transform": "${ inputs.text }"}]}
    await shelve(store, "echo", echo)
    await shelve(store, "plain", plain)
    async with a_house(store) as house:
        above = await house.run(calls("echo", {"card": "4000-1234"}))
        parent = {
            "inputs": {"token": {"type": "string", "sensitive": True}},
            "steps": [{"name": "call", "workflow": {"name": "plain", "inputs": {"text": "by ${ inputs.token }"}}}],
        }
        below = await house.child(await house.run(parent, inputs={"token": "s3cr3t-t0ken"}))
    assert (above.output, above.hidden) == ("card 4000-1234", ("4000-1234",))  # data goes on as it is
    assert (await store.run(below.run_id)).hidden == ("s3cr3t-t0ken",)


# -- once ---------------------------------------------------------------------------------------------------------


def child_of(run, revision, number=1, spec=SLOW):
    key = StepKey(run.run_id, 0, 1)
    child = child_id_of(key, number)
    return a_run(spec, run_id=child, name=child_name(run.name, "call", child), workflow="slow", revision=revision)


def birth(number=1, **changes):
    return Birth(
        **{"number": number, "awaited": True, "seconds": None, "redaction": Redaction(), "note": "", **changes}
    )


async def test_a_child_is_started_once_by_whoever_has_the_step_and_by_nobody_else(store):
    revision = await shelve(store, "slow", SLOW)
    run, _ = await accepted(store, calls("slow"))
    hand, zombie = await Hand.registered(store), await Hand.registered(store)
    await hand.claim([job(run.run_id, 1)])
    key, child = job(run.run_id, 1).key, child_of(run, revision)
    assert (await store.children.start(Mine(zombie.runner, key, 1), child, birth())).lost
    assert await store.run(child.run_id) is None
    for _ in range(2):
        started = await store.children.start(Mine(hand.runner, key, 1), child, birth())
        assert [each.key.run_id for each in started.jobs] == [child.run_id]
    assert (await store.run(run.run_id)).children == 1
    await store.stop(run.run_id, CANCEL)
    assert (await store.children.start(Mine(hand.runner, key, 1), child_of(run, revision, 2), birth(2))).lost


async def test_a_child_is_in_the_partition_of_its_parent():
    run = a_run(SLOW)
    child = child_of(run, "x")
    assert child.run_id.int >> 80 == run.run_id.int >> 80
    assert child.run_id != run.run_id
    assert child.run_id.version == 7


async def test_an_end_that_nobody_was_told_is_swept_up(store):
    """The runner that ended the child died right after; the one that parked the step has asked before."""
    revision = await shelve(store, "slow", SLOW)
    spec = calls("slow")
    run, _ = await accepted(store, spec)
    hand = await Hand.registered(store)
    await hand.claim([job(run.run_id, 1)])
    key, child = job(run.run_id, 1).key, child_of(run, revision)
    await store.children.start(Mine(hand.runner, key, 1), child, birth())
    await store.delay(hand.runner, [Lateness(key, 1, 1e6, "default", None)])
    assert await store.children.sweep() == []
    last = await store.stop(child.run_id, CANCEL)
    await hand.claim(last)
    view = hand.view(child, SLOW, 0)
    view.stop(Phase.CANCELLED, None)
    await hand.end(view, Finished(0, 1, Result(State.SUCCEEDED)))
    assert [each.key for each in await store.children.sweep()] == [key]
    assert await store.children.sweep() == []
    assert (await store.children.hear(child.run_id)).phase is Phase.CANCELLED


async def test_a_workflow_that_is_told_late_does_not_replace_a_newer_one(store):
    new, old = revision_of(DOUBLE).id, revision_of(SLOW).id

    async def put(uid, created, generation, revision):
        await store.children.put(Shelved("test", "shelf", uid, created, generation, revision))
        run, _ = await accepted(store, calls("shelf"))
        return (await store.children.call("test", "shelf", job(run.run_id, 1).key)).revision

    later = BORN + timedelta(hours=1)
    assert await put("a", BORN, 2, old) == old
    assert await put("a", BORN, 3, new) == new
    assert await put("a", BORN, 2, old) == new
    assert await put("b", later, 1, old) == old
    assert await put("a", BORN, 9, new) == old
    await store.children.drop("test", "shelf", "a")
    assert ("test", "shelf", "b") in await store.children.workflows()
    await store.children.drop("test", "shelf", "b")
    assert ("test", "shelf", "b") not in await store.children.workflows()


# -- cleanups -----------------------------------------------------------------------------------------------------


async def test_what_a_run_does_at_its_end_may_start_children_too(store):
    await shelve(store, "double", DOUBLE)
    spec = {
        "steps": [
            {"name": "book", "transform": 1, "compensate": {"workflow": {"name": "double", "inputs": {"number": 2}}}},
            {"name": "fall", "needs": ["book"], "fail": {"message": "no"}},
        ],
        "finally": [{"name": "tell", "workflow": {"name": "double", "inputs": {"number": 3}}}],
    }
    async with a_house(store) as house:
        run = await house.run(spec)
        children = await store.children.show(run.run_id)
        outputs = [(await store.run(child.run_id)).output for child in children]
    assert run.phase is Phase.FAILED
    assert outputs == [{"doubled": 4}, {"doubled": 6}]


async def test_a_child_that_is_stopped_with_its_parent_cleans_up_and_is_left_to_it(store):
    await shelve(store, "double", DOUBLE)
    await shelve(store, "careful", {**SLOW, "finally": [{"name": "rest", "wait": {"duration": "1s"}}]})
    async with a_house(store) as house:
        run = await house.begin(calls("careful"))
        child = await house.child(run)
        await house.queue.publish(await store.stop(run.run_id, CANCEL))

        async def cleaning():
            return (await store.run(child.run_id)).outcome

        await eventually(cleaning, Phase.CANCELLED)
        assert await store.children.astray() == []
        assert (await house.ended(child.run_id)).phase is Phase.CANCELLED
