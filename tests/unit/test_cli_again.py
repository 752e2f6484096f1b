"""Which failed runs are run again, and as what."""

from datetime import UTC, datetime

import pytest

from leat_cli.again import Again, Picked, redrives, successor, successor_name
from leat_cli.snapshot import RunSnapshot, StepSnapshot

NOON = "2026-03-01T12:00:00Z"
MORNING = datetime(2026, 3, 1, 8, tzinfo=UTC)
PICKED = Picked("order", MORNING)


def a_run(name, *, phase="Failed", reason="HttpStatus", finished=NOON, created="2026-03-01T11:00:00Z", **spec):
    return {
        "apiVersion": "leat.dev/v1alpha1",
        "kind": "WorkflowRun",
        "metadata": {"name": name, "namespace": "shop", "uid": f"uid-{name}", "creationTimestamp": created},
        "spec": {"workflow": {"name": "order"}, "inputs": {"id": name}, **spec},
        "status": {"phase": phase, "reason": reason, "finishedAt": finished, "message": "503"},
    }


def a_rerun(name, of, **how):
    return a_run(name, created="2026-03-01T13:00:00Z", rerun={"of": of}, **how)


def test_a_successor_is_of_the_same_source_and_says_what_differs_alone():
    old = a_run("order-1", priority=5, cancel=True)
    body = successor(old, Again(("charge",), {"card": "1"}))
    assert body["metadata"] == {"generateName": "order-1-again-"}
    assert body["spec"] == {
        "workflow": {"name": "order"},
        "priority": 5,
        "rerun": {"of": "order-1", "from": ["charge"]},
        "inputs": {"card": "1"},
    }


def test_a_line_of_reruns_has_names_of_one_length():
    name = successor_name(a_run("order-1"))
    again = successor_name({**a_run("x"), "metadata": {"name": name, "uid": "another"}})
    assert name != again
    assert again.startswith("order-1-again-")
    assert len(name) == len(again)


def test_failed_runs_of_the_workflow_are_run_again_those_first_that_failed_first():
    failed = [a_run("late", finished="2026-03-01T12:05:00Z"), a_run("early")]
    found = redrives(failed, [], PICKED)
    assert [(each.run.name, each.there) for each in found] == [("early", False), ("late", False)]
    assert [each.name for each in found] == [each.name for each in redrives(failed, [], PICKED)]


@pytest.mark.parametrize(
    "other",
    [
        a_run("x", workflow={"name": "refund"}),
        a_run("x", finished="2026-03-01T07:59:59Z"),
        a_run("x", phase="Succeeded"),
        a_run("x", reason="Rejected"),
        a_run("x", finished=None),
    ],
)
def test_others_are_left_alone(other):
    assert redrives([other], [], PICKED) == []


def test_a_reason_picks_those_that_failed_for_it():
    failed = [a_run("poisoned", reason="RunnerLost"), a_run("refused")]
    assert [each.run.name for each in redrives(failed, [], Picked("order", MORNING, "RunnerLost"))] == ["poisoned"]


def test_a_run_that_was_run_again_is_there_by_whatever_name():
    (found,) = redrives([a_run("order-1")], [a_rerun("mine", "order-1", phase="Succeeded")], PICKED)
    assert (found.name, found.there) == ("mine", True)


def test_a_rerun_that_was_rejected_or_is_of_an_older_run_of_the_name_takes_no_ones_place():
    rejected = a_rerun(successor_name(a_run("order-1")), "order-1", reason="Rejected")
    older = {**a_rerun("old", "order-1"), "metadata": {"name": "old", "creationTimestamp": "2026-02-01T00:00:00Z"}}
    (found,) = redrives([a_run("order-1")], [rejected, older], PICKED)
    assert not found.there
    assert found.name not in {rejected["metadata"]["name"], "old"}


def test_a_step_is_kept_when_it_ended_before_its_run_began():
    step = StepSnapshot("charge", "http", "Succeeded", finished_at=MORNING)
    begun = datetime.fromisoformat(NOON)
    assert RunSnapshot("shop", "b", "order", "Running", started_at=begun, rerun_of="a").keeps(step)
    assert not RunSnapshot("shop", "b", "order", "Running", started_at=begun).keeps(step)
    assert not RunSnapshot("shop", "b", "order", "Running", started_at=MORNING, rerun_of="a").keeps(step)
