"""What a run does when its steps are over: how it is compiled, and what `END` does next."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leat_engine.cleanup import Clean, Cleanup, clean_up
from leat_engine.errors import Rejected
from leat_engine.job import StepKey
from leat_engine.layout import FINALLY
from leat_engine.plan import compile_plan
from leat_engine.records import Block
from leat_engine.result import Phase, Result, State
from leat_engine.spec import parse_spec
from leat_engine.spec.kinds import load_models
from leat_engine.unfold import Open

UNDO = {"transform": "undone"}


def plan_of(*steps, **spec):
    return compile_plan(parse_spec({"steps": list(steps), **spec}), load_models(), "r")


def step(name, **fields):
    return {"name": name, **({} if "steps" in fields else {"transform": 1}), **fields}


def refused(*steps, **spec):
    with pytest.raises(Rejected) as found:
        plan_of(*steps, **spec)
    return {reason.path: reason.message for reason in found.value.reasons}


def test_a_compensation_is_a_step_of_the_scope_that_nothing_leads_to():
    plan = plan_of(step("a", compensate=UNDO), step("b", needs=["a"]))
    (undo,) = plan.undoing
    by = plan.steps[undo.by]
    assert (undo.node, by.name, by.body, by.undoes, by.needs, by.next) == (1, "a.compensate", 0, 1, (), ())
    assert by.path == "spec.steps[0].compensate"
    assert undo.by not in plan.roots
    assert all(edge.step != undo.by for edge in plan.steps[0].needs)
    assert plan.total == 2


def test_a_body_is_undone_by_a_step_of_its_own_scopes():
    plan = plan_of(
        step("each", forEach=[1], steps=[step("inner")], compensate={"transform": "${ item + steps.inner.output }"})
    )
    (undo,) = plan.undoing
    body = plan.steps[1].opens.body
    assert (undo.node, plan.steps[undo.by].body) == (-body, body)


def test_what_is_written_beside_for_each_is_undone_for_each_item():
    plan = plan_of(step("each", forEach=[1, 2], compensate={"transform": "${ item }"}))
    (undo,) = plan.undoing
    assert plan.steps[undo.node].body == plan.steps[undo.by].body != 0


def test_finally_is_a_body_that_end_opens():
    plan = plan_of(step("a"), **{"finally": [step("x"), step("y", needs=["x"])]})
    assert plan.final == plan.bodies[FINALLY]
    assert (plan.final.opener, plan.final.parent, plan.final.nodes) == (0, 0, 2)
    assert all(plan.steps[node].cleanup and not plan.steps[node].fatal for node in (2, 3, -FINALLY))


def test_finally_reads_how_the_run_ends():
    plan_of(step("a"), **{"finally": [step("x", transform="${ [run.phase, error == null, steps.a.state] }")]})


def test_nothing_else_reads_how_the_run_ends():
    assert "error" in refused(step("a", transform="${ error }"))["spec.steps[0].transform"]


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        (
            {"steps": [step("a", compensate={**UNDO, "steps": [step("b", compensate=UNDO)]})]},
            "spec.steps[0].compensate",
        ),
        ({"steps": [step("a")], "finally": [step("b", compensate=UNDO)]}, "spec.finally[0].compensate"),
        (
            {"steps": [step("a", compensate={"steps": [step("b", compensate=UNDO)]})]},
            "spec.steps[0].compensate.steps[0].compensate",
        ),
        ({"steps": [step("a", compensate={})]}, "spec.steps[0].compensate"),
        ({"steps": [step("a")], "finally": [step("b", needs=["a"])]}, "spec.finally[0].needs[0]"),
    ],
)
def test_what_is_wrong_with_a_cleanup_is_told_with_its_path(spec, path):
    steps = spec.pop("steps")
    assert path in refused(*steps, **spec)


def test_what_needs_a_step_has_a_higher_rank_than_it_and_what_is_inside_of_it():
    plan = plan_of(
        step("c", needs=["b"], compensate=UNDO),
        step("b", needs=["a"], steps=[step("inner", compensate=UNDO)], compensate=UNDO),
        step("a", compensate=UNDO),
    )
    ranks = {plan.steps[undo.by].name: undo.rank for undo in plan.undoing}
    assert sorted(ranks, key=ranks.__getitem__) == ["a.compensate", "inner.compensate", "b.compensate", "c.compensate"]


# -- what END does -----------------------------------------------------------------------------------------------------

RUN = UUID(int=1)
PLAN = plan_of(step("a", compensate=UNDO), **{"finally": [step("x")]})
BARE = plan_of(step("a", compensate=UNDO))
WHY = {"type": "Fail", "message": "no room"}


def look(outcome=Phase.FAILED, undo=None, state=None, final=None, target=0):
    key = None if undo is None else StepKey(RUN, 0, undo)
    error = None if outcome is Phase.SUCCEEDED else WHY
    return Cleanup(
        outcome, None, error, Block(FINALLY, 1, target=target, base=1), key, state, {"message": "stuck"}, final
    )


def test_what_is_to_be_undone_comes_before_finally():
    match clean_up(PLAN, look(undo=PLAN.undoing[0].by, target=3)):
        case Open(block=block, scopes=scopes, undo=undo):
            assert (block.target, block.opened, dict(scopes), undo.step) == (4, 0, {}, PLAN.undoing[0].by)
        case other:
            pytest.fail(str(other))


def test_finally_is_opened_when_nothing_is_to_be_undone():
    match clean_up(PLAN, look(outcome=Phase.SUCCEEDED)):
        case Open(block=block, scopes=scopes, undo=None):
            assert (block.opened, list(scopes)) == (1, [0])
        case other:
            pytest.fail(str(other))


@given(
    outcome=st.sampled_from([Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELLED]),
    stuck=st.booleans(),
    final=st.sampled_from([None, State.SUCCEEDED, State.FAILED]),
)
def test_a_cleanup_makes_no_end_better_and_says_what_went_wrong(outcome, stuck, final):
    stuck = stuck and outcome is not Phase.SUCCEEDED
    plan = PLAN if final is not None else BARE
    undo, state = (plan.undoing[0].by, State.FAILED) if stuck else (None, None)
    end = None if final is None else Result(final, error={"type": "Fail", "message": "late"})
    found = clean_up(plan, look(outcome, undo, state, end))
    assert isinstance(found, Clean)
    bad = stuck or final is State.FAILED
    assert found.phase is (Phase.FAILED if bad else outcome)
    if stuck:
        assert found.error["type"] == "CompensationFailed"
        assert "a could not be undone: stuck" in found.error["message"]
        assert "no room" in found.error["message"]
    elif outcome is Phase.FAILED:
        assert found.error == WHY
    elif bad:
        assert found.error["message"] == "late"
