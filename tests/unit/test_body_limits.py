"""Time limits of bodies: where they may stand, and how a run goes on whose body took too long. Time is skipped."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from tests.support.rehearsal import rehearsed

from leat_engine.decide import Finished, decide
from leat_engine.errors import Rejected
from leat_engine.plan import compile_plan
from leat_engine.result import Phase, Result, State
from leat_engine.spec import parse_spec
from leat_engine.spec.kinds import load_models
from leat_engine.view import RunView

NAP = {"name": "nap", "wait": {"duration": "1h"}}
STEPS = [{"name": "a", "transform": 1}]


def plan_of(*steps, **spec):
    return compile_plan(parse_spec({"steps": list(steps), **spec}), load_models(), "r")


def reasons_of(*steps):
    with pytest.raises(Rejected) as rejected:
        plan_of(*steps)
    return {reason.path: reason.message for reason in rejected.value.reasons}


@pytest.mark.parametrize(
    "body",
    [
        {"steps": STEPS},
        {"switch": [{"default": True, "steps": STEPS}]},
        {"forEach": [1], "steps": STEPS},
        {"repeat": {"max": 2}, "steps": STEPS},
    ],
)
def test_the_limit_is_that_of_the_whole_body(body):
    limited, inner = plan_of({"name": "body", "timeout": "30s", **body}).steps[1:3]
    assert (limited.timeout, inner.timeout) == (30, None)


@pytest.mark.parametrize("times", [{"forEach": [1]}, {"repeat": {"max": 2}}])
def test_beside_a_kind_it_holds_for_each_time(times):
    work = {"script": {"run": "true"}}
    opener, inner = plan_of({"name": "each", "timeout": "30s", "deadline": "1m", **times, **work}).steps[1:3]
    assert (opener.timeout, opener.deadline, inner.timeout, inner.deadline) == (None, None, 30, 60)


def test_what_holds_for_attempts_by_default_is_no_limit_of_a_body():
    body, inner = plan_of({"name": "body", "steps": [NAP]}, defaults={"timeout": "30s"}).steps[1:3]
    assert (body.timeout, inner.timeout) == (None, 30)


def test_a_deadline_of_a_body_is_refused_with_what_to_write_instead():
    found = reasons_of({"name": "body", "deadline": "30s", "steps": STEPS})
    assert found == {
        "spec.steps[0].deadline": "a body is not tried again; `timeout` is the time that all of it may take"
    }


def test_what_could_mean_each_time_or_all_of_them_is_refused():
    switch = [{"default": True, "steps": STEPS}]
    found = reasons_of({"name": "body", "timeout": "30s", "forEach": [1], "switch": switch})
    assert [*found] == ["spec.steps[0].timeout"]
    assert "put the `switch` into `steps`" in found["spec.steps[0].timeout"]


def test_nothing_follows_what_ends_in_a_body_that_is_shut():
    plan = plan_of({"name": "body", "timeout": "1s", "steps": [NAP, {**NAP, "name": "then", "needs": ["nap"]}]})
    root = RunView(UUID(int=1), plan, "default", "x", {}, complete=True)
    view = root.open(1, 1, 0, {})
    view.complete = view.shut = True
    node = next(step.id for step in plan.steps if step.name == "nap")
    for result in (Result(State.SUCCEEDED), Result(State.FAILED, error={"type": "X", "message": "x"})):
        decision = decide(view, [Finished(node, 1, result)], lambda _node: True, datetime.now(UTC))
        assert (decision.next, decision.closes, decision.stop, decision.end) == ([], False, None, None)
    root.settle(Phase.FAILED, None)
    assert not view.halted, "what it did can be undone"


def limited(**body):
    taken = {
        "name": "taken",
        "needs": [{"step": "body", "on": ["Failed"]}],
        "transform": "${ steps.body.error.message }",
    }
    return {"steps": [{"name": "body", "timeout": "10m", **body}, taken], "output": "${ steps.taken.output }"}


@pytest.mark.parametrize(
    "body",
    [
        {"steps": [NAP]},
        {"steps": [{"name": "group", "steps": [NAP]}, {"name": "join", "needs": ["group"], "transform": 1}]},
        {"forEach": [1, 2, 3], "maxParallel": 1, "steps": [{"name": "nap", "wait": {"duration": "4m"}}]},
        {"repeat": {"max": 100, "delay": "7m"}, "steps": [{"name": "nap", "wait": {"duration": "1m"}}]},
        {"switch": [{"default": True, "steps": [{"name": "a", "approval": {}}]}]},
    ],
)
def test_a_rehearsed_body_takes_as_long_as_it_may(body):
    score = rehearsed(limited(**body))
    assert (score.phase, score.output, score.problems) == (Phase.SUCCEEDED, "timeout of 600 s passed", [])
    assert score.seconds == 600
    assert not [course for course in score.courses.values() if course.state is None], "everything in it is over"


def test_a_rehearsed_body_that_is_over_in_time_is_left_alone():
    score = rehearsed(limited(steps=[{"name": "nap", "wait": {"duration": "9m"}}]))
    assert (score.phase, score.output, score.seconds) == (Phase.SUCCEEDED, None, 540)


def test_of_nested_limits_the_one_that_is_over_first_counts():
    inner = {"name": "inner", "timeout": "1m", "steps": [NAP]}
    after = {"name": "after", "needs": [{"step": "inner", "on": ["Failed"]}], "wait": {"duration": "1h"}}
    score = rehearsed(limited(steps=[inner, after]))
    ends = {course.node.name: (course.state, course.ended) for course in score.courses.values()}
    assert ends["inner"] == (State.FAILED, 60)
    assert ends["after"] == (State.CANCELLED, 600)
    assert ends["body"] == (State.FAILED, 600)


def test_what_a_rehearsed_body_did_is_undone():
    undo = {"transform": "${ steps.a.output }"}
    spec = {
        "steps": [{"name": "body", "timeout": "1m", "steps": [{"name": "a", "transform": 7, "compensate": undo}, NAP]}]
    }
    score = rehearsed(spec)
    assert (score.phase, score.error["type"]) == (Phase.FAILED, "Timeout")
    assert [course.output for course in score.courses.values() if course.node.undoes] == [7]
