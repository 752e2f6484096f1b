"""A `forEach`, by laws: whatever ends when, every item is begun once, and never too many at a time."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.load import plan_of

from leat_engine import limits
from leat_engine.errors import ExpressionError
from leat_engine.result import Result, State
from leat_engine.unfold import Broken, Gather, Look, Open, begin, gathered, go_on, items
from leat_engine.view import RunView

EACH = {"name": "each", "forEach": "${ inputs.o }", "transform": "${ item }"}
NOW = datetime(2026, 11, 24, tzinfo=UTC)


def a_view(size, parallel, tolerate):
    each = {"name": "each", "forEach": list(range(size)), "maxParallel": parallel, "tolerate": tolerate}
    plan = plan_of({"steps": [{**each, "function": {"name": "add"}}]})
    return RunView(UUID(int=1), plan, "test", "run", {})


class Play:
    """The store's part: which scopes are under way, how many ends the step waits for, and how it looked last."""

    def __init__(self, view, draw, failing):
        self.view, self.node, self.draw, self.failing = view, view.plan.steps[1], draw, failing
        self.begun, self.under_way, self.ends = [], set(), {}
        self.most = 0

    def run(self, parallel):
        step = begin(self.view, self.node, NOW)
        while isinstance(step, Open):
            block = step.block
            assert [names["item"] for names in step.scopes.values()] == list(step.scopes)
            self.begun += step.scopes
            self.under_way |= step.scopes.keys()
            assert len(self.under_way) <= parallel
            assert not step.scopes or max(step.scopes) < block.settled + limits.WINDOW
            assert len(self.ends) < block.target <= block.opened, "it waits for ends that will come"
            while len(self.ends) < block.target:
                self._end(self.draw(st.sampled_from(sorted(self.under_way))))
            for _ in range(self.draw(st.integers(0, len(self.under_way)))):  # more of them ended in the same commit
                self._end(min(self.under_way))
            seen = {index: end for index, end in self.ends.items() if index >= block.settled}
            step = go_on(self.view, self.node, Look(block, seen, False, NOW))
        return step

    def _end(self, index):
        self.under_way.remove(index)
        self.ends[index] = Result(State.FAILED if index in self.failing else State.SUCCEEDED)


@settings(deadline=None)
@given(st.data(), st.integers(1, 60), st.integers(1, 20), st.integers(0, 5))
def test_every_item_is_begun_once_within_bounds_and_failures_are_counted(data, size, parallel, tolerate):
    failing = data.draw(st.sets(st.integers(0, size - 1), max_size=8))
    play = Play(a_view(size, parallel, tolerate), data.draw, failing)
    end = play.run(parallel)
    assert not play.under_way
    assert play.begun == list(range(len(play.begun)))
    failed = len(failing & set(play.begun))
    if failed > tolerate:
        assert end == Broken(failed)
    else:
        assert end == Gather()
        assert len(play.begun) == size


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=3), st.integers(-9, 9)
    ),
    st.randoms(),
)
def test_whoever_looks_again_finds_the_items_of_an_object_at_the_same_places(value, random):
    shuffled = list(value.items())
    random.shuffle(shuffled)
    found = []
    for each in (value, dict(shuffled)):
        view = RunView(UUID(int=1), plan_of({"inputs": {"o": {}}, "steps": [EACH]}), "test", "run", {"o": each})
        written, listed = items(view, view.plan.steps[1], NOW)
        found.append(listed)
        assert gathered(written, {i: item["value"] for i, item in enumerate(listed)}, len(listed)) == value
    assert found[0] == found[1] == [{"key": key, "value": value[key]} for key in sorted(value)]


@pytest.mark.parametrize(
    ("value", "said"), [(None, "null"), (5, "a number"), ("abc", "a text"), (False, "true or false")]
)
def test_what_has_no_items_is_an_error_that_shows_no_value(value, said):
    view = RunView(UUID(int=1), plan_of({"inputs": {"o": {}}, "steps": [EACH]}), "test", "run", {"o": value})
    with pytest.raises(ExpressionError, match=f"forEach: found {said}, expected a list or an object"):
        items(view, view.plan.steps[1], NOW)
