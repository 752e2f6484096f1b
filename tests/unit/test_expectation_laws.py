"""Laws of tests: what came of a run is what may be expected of it, anything else is not; and of coverage."""

import copy
import json

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.graphs import a_graph
from tests.support.rehearsal import rehearsed

from leat_cli.rehearsal.score import spent
from leat_cli.testing.coverage import branches, taken
from leat_cli.testing.expect import differences
from leat_cli.testing.files import Expect
from leat_engine.job import dumps
from leat_engine.result import State
from leat_engine.spec.duration import parse_duration

seeds = st.integers(0, 2**32)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def found(expect, score):
    return [each.path for each in differences(Expect.model_validate(expect), score, dumps)]


def everything(score):
    """All that can be expected of a run, as it came."""
    done = [course for course in score.courses.values() if course.state is not None]
    expect = {
        "phase": score.label,
        "output": score.output,
        "path": score.path,
        "ran": [course.address for course in done if course.ran],
        "skipped": [course.address for course in done if course.state in (State.SKIPPED, State.OMITTED)],
        "failed": [course.address for course in done if course.state is State.FAILED],
        "attempts": {course.address: course.attempts for course in done if "[" in course.address},
        "outputs": {course.address: course.output for course in done},
        "duration": spent(score.seconds),
    }
    return expect if score.error is None else {**expect, "error": dict(score.error)}


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_what_came_of_a_run_is_as_expected(seed):
    score = rehearsed(a_graph(seed).spec)
    assert found(everything(score), score) == []


@settings(max_examples=60, deadline=None)
@given(seeds, st.sampled_from(["phase", "output", "path", "ran", "duration", "outputs"]))
def test_anything_else_is_not(seed, word):
    score = rehearsed(a_graph(seed).spec)
    expect = copy.deepcopy(everything(score))
    first = next(iter(score.courses))
    match word:
        case "phase":
            expect["phase"] = "Cancelled"
        case "output":
            expect["output"] = {"another": 1}
        case "path":
            expect["path"] = [*score.path, "nothing"]
        case "ran":
            expect["ran"] = ["nothing"]
        case "duration":
            expect["duration"] = spent(score.seconds + 1)
        case "outputs":
            expect["outputs"] = {first: ["another"]}
    assert {path.split(".")[0].split("[")[0] for path in found(expect, score)} == {word}


@settings(max_examples=200, deadline=None)
@given(values, values)
def test_outputs_are_equal_as_json_or_there_is_a_difference(one, other):
    score = rehearsed({"steps": [{"name": "t", "transform": 1}]})
    score.output = other
    assert (found({"output": one}, score) == []) == (dumps_sorted(one) == dumps_sorted(other))


def dumps_sorted(value):
    return json.dumps(value, sort_keys=True)


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_only_branches_that_there_are_are_taken(seed):
    score = rehearsed(a_graph(seed).spec)
    every = branches(score.plan)
    assert len(every) == len(set(every))
    assert set(taken(score)) <= set(every)
    if score.label == "Succeeded":
        begun = [course for course in score.courses.values() if course.ran or course.state is State.CANCELLED]
        ran = {course.node.name for course in begun}  # what a time limit has cut off had begun
        assert {branch.step for branch in taken(score) if branch.message == "never runs"} == ran


@given(st.floats(0, 3e7))
def test_a_time_is_read_as_it_is_written(seconds):
    assert abs(parse_duration(spent(seconds)) - seconds) < 0.001
