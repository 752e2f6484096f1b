"""What becomes of what is sent to a run, and how votes decide."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leat_engine import limits
from leat_engine.errors import Rejected
from leat_engine.job import StepKey
from leat_engine.plan import compile_plan
from leat_engine.spec import parse_signal, parse_spec
from leat_engine.spec.kinds import load_models
from leat_engine.waits import GROUPS, SCHEMA, USERS, Fate, Signal, Waiting, count, judge, may_vote, oversized

RUN = UUID("0190a6c0-0000-7000-8000-000000000001")
NUMBER = {SCHEMA: {"type": "object", "required": ["amount"], "properties": {"amount": {"type": "number"}}}}


def waiting(name, *, step=1, scope=0, approval=False, **rule):
    return Waiting(StepKey(RUN, scope, step), name, approval, rule)


def vote(name="", *, approve=True, by="ann", groups=(), comment=""):
    return Signal("id", name, approve=approve, by=by, groups=tuple(groups), comment=comment)


def test_a_payload_is_kept_for_a_step_that_does_not_wait_yet():
    delivery = judge(Signal("1", "paid", {"amount": 1}), [], 0)
    assert (delivery.fate, delivery.key) == (Fate.DELIVERED, None)
    assert "kept" in delivery.message


def test_a_payload_that_no_waiting_step_takes_is_refused_with_the_field():
    delivery = judge(Signal("1", "paid", {"amount": "much"}), [waiting("paid", **NUMBER)], 0)
    assert delivery.fate is Fate.REFUSED
    assert delivery.message == 'payload.amount: "much" is not of type "number"'


def test_a_payload_is_taken_when_one_of_the_waiting_steps_takes_it():
    steps = [waiting("paid", **NUMBER), waiting("paid", step=2)]
    assert judge(Signal("1", "paid", "much"), steps, 0).fate is Fate.DELIVERED


def test_a_run_keeps_so_many_signals_and_no_more():
    assert judge(Signal("1", "paid"), [], limits.SIGNALS_UNREAD - 1).fate is Fate.DELIVERED
    assert judge(Signal("1", "paid"), [], limits.SIGNALS_UNREAD).fate is Fate.REFUSED


def test_what_is_too_large_is_refused_with_its_size_and_the_limit():
    assert oversized(Signal("1", "paid", "x" * limits.SIGNAL_BYTES)) == (
        f"the payload is {limits.SIGNAL_BYTES + 2} bytes of JSON; a signal takes {limits.SIGNAL_BYTES}"
    )
    assert "comment" in str(oversized(vote(comment="x" * 3000)))
    assert oversized(Signal("1", "paid", "x")) is None


def test_a_vote_without_a_name_goes_to_the_only_step_that_waits_for_one():
    delivery = judge(vote(), [waiting("paid"), waiting("review", step=2, approval=True)], 0)
    assert (delivery.fate, delivery.key, delivery.name) == (Fate.DELIVERED, StepKey(RUN, 0, 2), "review")


def test_a_vote_for_what_nobody_waits_for_is_refused_with_what_is_waited_for():
    delivery = judge(vote("reveiw"), [waiting("review", approval=True), waiting("paid")], 0)
    assert delivery.fate is Fate.REFUSED
    assert delivery.message == "no step of the run waits for approval 'reveiw' now; it waits for: review"


def test_a_vote_that_could_be_for_several_steps_is_refused_with_what_to_do():
    named = judge(vote(), [waiting("a", approval=True), waiting("b", step=2, approval=True)], 0)
    assert named.message == "2 steps wait for an approval (a, b): name the one that is meant"
    same = judge(vote("a"), [waiting("a", approval=True), waiting("a", scope=7, approval=True)], 0)
    assert same.message == "2 steps wait for approval 'a': give each a `name` of its own"
    assert {named.fate, same.fate} == {Fate.REFUSED}


def test_only_those_who_may_decide_are_heard_and_nobody_without_a_known_identity():
    rule = {USERS: ["ann"], GROUPS: ["fraud", "risk"]}
    assert may_vote(vote(by="ann"), rule)
    assert may_vote(vote(by="bob", groups=["risk"]), rule)
    assert not may_vote(vote(by="bob", groups=["sales"]), rule)
    assert not may_vote(vote(by="", groups=["risk"]), rule)
    assert may_vote(vote(by=""), {})
    refused = judge(vote("review", by="bob"), [waiting("review", approval=True, **rule)], 0)
    assert refused.message == "bob may not decide about 'review': ann, members of fraud, members of risk may"


votes = st.lists(
    st.builds(
        lambda by, approve: vote(by=by, approve=approve),
        st.sampled_from("abcde"),
        st.sampled_from([True] * 4 + [False]),
    ),
    max_size=12,
)


@given(votes, st.integers(1, 6))
def test_each_person_counts_once_and_the_first_rejection_before_enough_approvals_decides(given_votes, minimum):
    tally = count(given_votes, minimum)
    people: list[str] = []
    for each in given_votes:
        if len(people) >= minimum:
            break
        if not each.approve:
            assert tally.rejected is each
            assert not tally.approved
            return
        if each.by not in people:
            people.append(each.by)
    assert tally.rejected is None
    assert tally.by == tuple(people)
    assert tally.approved is (len(people) >= minimum)


@given(votes, votes, st.integers(1, 6))
def test_what_comes_after_the_decision_changes_nothing(before, after, minimum):
    tally = count(before, minimum)
    if tally.approved or tally.rejected:
        assert count([*before, *after], minimum) == tally


# -- what users write ---------------------------------------------------------------------------------------------


def reasons(**step):
    with pytest.raises(Rejected) as caught:
        compile_plan(parse_spec({"steps": [{"name": "a", **step}]}), load_models(), "r")
    return {reason.path: reason.message for reason in caught.value.reasons}


def test_a_schema_that_is_none_is_found_before_the_run():
    found = reasons(signal={"name": "paid", "schema": {"type": "nonsense"}})
    assert "is no valid JSON Schema" in found["spec.steps[0].signal.schema"]


def test_a_schema_holds_no_expressions():
    spec = {"steps": [{"name": "a", "signal": {"name": "paid", "schema": {"const": "${ inputs.nothing }"}}}]}
    compile_plan(parse_spec(spec), load_models(), "r")


def test_mistakes_in_waits_are_named_with_what_is_expected():
    assert reasons(signal={})["spec.steps[0].signal.name"] == "is required and missing"
    assert (
        "expected 'fail' or 'continue'"
        in reasons(signal={"name": "a", "onTimeout": "wait"})["spec.steps[0].signal.onTimeout"]
    )
    assert "spec.steps[0].approval.groups" in reasons(approval={"groups": []})
    assert "spec.steps[0].approval.minimum" in reasons(approval={"minimum": 0})


def document(**spec):
    return {
        "apiVersion": "leat.dev/v1alpha1",
        "kind": "WorkflowSignal",
        "metadata": {"name": "s"},
        "spec": {"run": "order-1", **spec},
    }


def test_a_workflow_signal_is_a_payload_under_a_name_or_a_vote_by_somebody():
    assert parse_signal(document(name="paid", payload={"amount": 1})).spec.payload == {"amount": 1}
    assert parse_signal(document(approve=False, by="ann")).spec.approve is False
    for wrong in ({}, {"approve": True}, {"approve": True, "by": "ann", "payload": 1}):
        with pytest.raises(Rejected, match="expected `name`"):
            parse_signal(document(**wrong))
