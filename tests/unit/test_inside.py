"""What is shown of the scopes of a step."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leat_cli.forest import outline
from leat_cli.snapshot import ScopeSnapshot, ScopesSnapshot, StepSnapshot
from leat_engine.inside import NotThere, ShownScope, chosen, segments, states_of
from leat_engine.plan import compile_plan
from leat_engine.records import Block
from leat_engine.result import State
from leat_engine.spec import parse_spec
from leat_engine.spec.kinds import load_models

ENDS = [None, State.SUCCEEDED, State.FAILED, State.SKIPPED, State.CANCELLED]
EACH = compile_plan(
    parse_spec({"steps": [{"name": "each", "forEach": [1], "transform": 1}]}), load_models(), "r"
).steps[1]


@given(st.lists(st.sampled_from(ENDS), max_size=60), st.integers(1, 30))
def test_what_failed_is_shown_before_what_is_under_way_and_that_before_the_rest(states, most):
    scopes = [ShownScope(100 + index, index, state) for index, state in enumerate(states)]
    shown = chosen(scopes, most)
    assert len(shown) == min(most, len(scopes))
    assert [scope.index for scope in shown] == sorted(scope.index for scope in shown)
    left = {scope.state for scope in scopes if scope not in shown}
    if State.FAILED in left:
        assert {scope.state for scope in shown} == {State.FAILED}
    if None in left:
        assert {scope.state for scope in shown} <= {State.FAILED, None}


@given(st.lists(st.sampled_from(ENDS), max_size=60), st.data())
def test_every_item_is_counted_once(states, data):
    settled = next((index for index, state in enumerate(states) if state is None), len(states))
    settled = data.draw(st.integers(0, settled))
    failed = sum(state is State.FAILED for state in states[:settled])
    size = len(states) + data.draw(st.integers(0, 10))
    block = Block(1, size, opened=len(states), settled=settled, failed=failed)
    counted = states_of(EACH, block, Counter(states[settled:]))
    assert sum(counted.values()) == size
    assert counted.get("Failed", 0) == sum(state is State.FAILED for state in states)
    assert counted.get("Running", 0) == sum(state is None for state in states)


def test_a_path_is_names_and_indexes():
    assert list(segments("each[4]/ask")) == [("each", 4), ("ask", None)]


@pytest.mark.parametrize(
    "path", ["", "each[]", "each[-1]", "each[4", "/each", "each[4]/", "each.4", "each[1234567890]"]
)
def test_what_is_no_path_is_refused_with_what_is_expected(path):
    with pytest.raises(NotThere, match="expected the name of a step, or STEP"):
        list(segments(path))


def test_what_was_under_way_when_the_run_ended_was_stopped():
    shown = (ScopeSnapshot(0, "item 0", "Succeeded", ()), ScopeSnapshot(1, "item 1", "Running", ()))
    ended = ScopesSnapshot({"Succeeded": 1, "Running": 2, "Pending": 97}, shown).ended()
    assert (ended.states, [scope.state for scope in ended.shown]) == (
        {"Succeeded": 1, "Cancelled": 99},
        ["Succeeded", "Cancelled"],
    )
    assert ended.rest == {"Cancelled": 98}


def test_an_outline_names_cases_and_leaves_out_what_says_nothing():
    def step(name, *shown, **states):
        scopes = ScopesSnapshot(states, shown) if shown else None
        return StepSnapshot(name, "", "Succeeded", scopes=scopes)

    case = ScopeSnapshot(0, "case 2", "Succeeded", (step("yes"),))
    group = ScopeSnapshot(0, "", "Succeeded", (step("inner"),))
    item = ScopeSnapshot(7, "item 7", "Failed", (step("each"),))
    lines = outline(
        [
            step("choose", case, Succeeded=1),
            step("group", group, Succeeded=1),
            step("each", item, Failed=1, Succeeded=99_979, Pending=20),
        ]
    )
    assert [place.guide + place.step.name for place in lines] == [
        "├─ choose",
        "│  ┆ case 2",
        "│  ┆ ┆ └─ yes",
        "├─ group",
        "│  ┆ └─ inner",
        "└─ each",
        "   ┆ item 7",
        "   ┆ … and 99,999 more: 99,979 Succeeded, 20 Pending",
    ]
