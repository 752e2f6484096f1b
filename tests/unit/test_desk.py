from typing import Any
from uuid import UUID

import pytest

from leat_engine.job import END
from leat_engine.plan import compile_plan
from leat_engine.result import Result, State
from leat_engine.spec import parse_spec
from leat_engine.spec.kinds import load_models
from leat_engine.view import RunView
from leat_runner.desk import Desk
from leat_runner.slots import Slots

SPEC: dict[str, Any] = {
    "steps": [
        {"name": "make", "transform": [1, 2]},
        {"name": "each", "forEach": "${ steps.make.output }", "transform": "${ item }"},
    ]
}
PLAN = compile_plan(parse_spec(SPEC), load_models(), "r")
LIST = {2: ([1, 2], [1, 2])}


@pytest.fixture
def desk() -> Desk:
    return Desk(Slots(2, 2), {})


def view(**fields: Any) -> RunView:
    return RunView(UUID(int=1), PLAN, "shop", "order", {}, **fields)


def left(desk: Desk, **fields: Any) -> RunView:
    """A run that was here, and has nothing here any more."""
    gone = view(**fields)
    desk.views[gone.run_id] = gone
    desk.leave(gone)
    return gone


def test_a_run_that_is_left_is_not_known_any_more(desk):
    left(desk, items=dict(LIST))
    assert not desk.views


def test_the_lists_of_a_run_that_comes_back_need_not_be_read_again(desk):
    made = {1: Result(State.SUCCEEDED, [1, 2])}
    left(desk, items=dict(LIST), results=made)
    back = view()
    desk.recollect(back)
    assert (back.items, back.results) == (LIST, made)


def test_what_was_known_before_a_migration_is_forgotten(desk):
    left(desk, items=dict(LIST))
    migrated = view(epoch=1)
    desk.recollect(migrated)
    assert not migrated.items


@pytest.mark.parametrize(
    "known",
    [
        {"results": {1: Result(State.SUCCEEDED, [1, 2])}},
        {"items": dict(LIST), "results": {END: Result(State.SUCCEEDED)}},
    ],
    ids=["without lists", "that has ended"],
)
def test_of_a_run_nothing_is_remembered(desk, known):
    gone = left(desk, **known)
    back = view()
    desk.recollect(back)
    assert (back.items, back.results) == ({}, {})
    assert not gone.scopes  # it knew itself, and would wait for the garbage collector
    assert gone.root is gone
