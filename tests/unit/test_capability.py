"""Whether known pools can run a plan."""

from datetime import UTC, datetime

import pytest
from tests.support.load import plan_of

from leat_engine.capability import incapable
from leat_engine.pools import Announced

AT = datetime(2030, 1, 31, tzinfo=UTC)


def pools(*functions, name="default", kinds=("function", "http", "wait")):
    return {name: Announced(name, "", frozenset(kinds), frozenset(functions), 200, AT)}


def reasons(step, known):
    return [str(reason) for reason in incapable(plan_of({"steps": [{"name": "a", **step}]}), known)]


CALL = {"function": {"name": "charge", "with": {"card": "${ run.name }"}}}


def test_a_plan_whose_pools_have_all_of_it_is_capable():
    assert reasons(CALL, pools("charge", "refund")) == []
    assert reasons({"wait": {"duration": "1s"}}, pools()) == []


def test_a_function_that_the_pool_lacks_is_named_with_the_nearest_one():
    (reason,) = reasons({"function": {"name": "chrage"}}, pools("charge", "refund"))
    assert reason.startswith("spec.steps[0].function.name: pool 'default' cannot run it: there is no function 'chrage'")
    assert reason.endswith("did you mean 'charge'?")


def test_a_pool_without_functions_says_where_they_come_from():
    (reason,) = reasons(CALL, pools())
    assert reason.endswith("there is no function 'charge'; its runners load none, see `functions` of the RunnerPool")


def test_a_kind_that_the_pool_lacks_is_named_with_those_that_it_has():
    assert reasons({"script": {"run": "true"}}, pools()) == [
        "spec.steps[0].script: pool 'default' cannot run it: there is no kind 'script'; there is function, http, wait"
    ]


def test_a_function_whose_name_is_computed_is_left_to_the_runner():
    assert reasons({"function": {"name": "${ run.name }"}}, pools("charge")) == []


@pytest.mark.parametrize("known", [{}, pools(name="gpu")])
def test_a_pool_that_nobody_announced_is_no_reason(known):
    assert reasons(CALL, known) == []


def test_a_step_is_judged_by_its_own_pool():
    assert reasons({**CALL, "pool": "gpu"}, pools("charge")) == []
    assert len(reasons({**CALL, "pool": "gpu"}, pools("train", name="gpu"))) == 1


def test_steps_without_effects_need_no_pool():
    assert reasons({"transform": 1}, pools(kinds=())) == []
