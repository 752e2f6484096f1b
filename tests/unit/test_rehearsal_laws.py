"""Laws of runs that are played in memory: they end as the model of the random graphs says, always the same way."""

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.graphs import INNER, a_graph
from tests.support.rehearsal import rehearsed

from leat_engine.result import State


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32))
def test_a_played_run_ends_as_the_model_says(seed):
    graph = a_graph(seed)
    score = rehearsed(graph.spec)
    assert (score.label, score.problems) == (graph.phase, [])
    if graph.phase == "Succeeded":
        assert score.output == graph.outputs
        assert all(course.state is not None for course in score.courses.values()), "every step has an end"
    ran = [course for course in score.courses.values() if course.node.kind == "function" and course.ran]
    called = {course.node.name.removesuffix(INNER) for course in ran if not course.node.cleanup}
    assert called == graph.effects if graph.phase == "Succeeded" else called <= graph.effects
    if graph.undoes:
        assert [course.node.name for course in ran if course.node.cleanup][-1:] == ["last"]


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32))
def test_what_succeeded_is_undone_once_if_the_run_fails_the_last_things_first(seed):
    score = rehearsed(a_graph(seed).spec)
    undone = [course for course in score.courses.values() if course.node.undoes]
    if score.label == "Succeeded":
        assert undone == []
        return
    undoes = {undo.node for undo in score.plan.undoing if undo.node > 0}
    done = [each for each in score.courses.values() if each.node.id in undoes and each.state is State.SUCCEEDED]
    undone = [course for course in undone if course.node.undoes > 0]
    assert sorted((each.scope, each.node.id) for each in done) == sorted((u.scope, u.node.undoes) for u in undone)
    ends = {(each.scope, each.node.id): each.ended for each in done}
    order = [ends[each.scope, each.node.undoes] for each in undone]
    assert order == sorted(order, reverse=True)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32))
def test_a_run_that_is_played_twice_goes_the_same_way(seed):
    spec = a_graph(seed).spec
    one, other = rehearsed(spec), rehearsed(spec)
    assert _ways(one) == _ways(other)
    assert (one.seconds, one.path) == (other.seconds, other.path)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32))
def test_no_step_begins_before_its_needs_are_over(seed):
    score = rehearsed(a_graph(seed).spec)
    here = {(course.scope, course.node.id): course for course in score.courses.values()}
    for course in score.courses.values():
        if course.begun is None or course.state is State.OMITTED:
            continue
        for edge in course.node.needs:
            need = here[course.scope, edge.step]
            assert need.ended is not None
            assert need.ended <= course.begun
            assert need.state in edge.on


def _ways(score):
    return [(c.address, c.state, c.output, c.error, c.attempts, c.begun, c.ended) for c in score.courses.values()]
