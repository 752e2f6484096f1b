"""Laws of the decider, for random graphs, random ends and random orders of arrival."""

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from leat_engine.commit import learn
from leat_engine.decide import Decision, Finished, decide, failed
from leat_engine.job import END
from leat_engine.plan import Plan, compile_plan
from leat_engine.result import Phase, Result, State, StepError
from leat_engine.spec import parse_spec
from leat_engine.spec.kinds import load_models
from leat_engine.view import RunView, unhandled

NOW = datetime(2026, 1, 1, tzinfo=UTC)
models = cache(load_models)

ON = st.sampled_from([None, ["Succeeded"], ["Failed"], ["Finished"], ["Succeeded", "Failed"], ["Skipped", "Succeeded"]])


@st.composite
def graphs(draw: st.DrawFn) -> tuple[dict, frozenset[str]]:
    """A workflow of up to twelve steps, and the names of those that fail when they run."""
    names = [f"s{index}" for index in range(draw(st.integers(1, 12)))]
    steps = []
    for index, name in enumerate(names):
        before = draw(st.lists(st.sampled_from(names[:index]), unique=True, max_size=4)) if index else []
        needs = [need if on is None else {"step": need, "on": on} for need in before for on in [draw(ON)]]
        step: dict = {"name": name, "needs": needs}
        step["when"] = draw(st.sampled_from(["${ true }", "${ true }", "${ true }", "${ false }"]))
        if draw(st.booleans()):
            step["function"] = {"name": "work"}
        else:
            step["transform"] = {"from": name}
        steps.append(step)
    failing = draw(st.frozensets(st.sampled_from(names), max_size=3))
    return {"steps": steps, "output": {"done": True}}, failing


@dataclass
class Played:
    """One run, played to its end by one runner that takes everything."""

    view: RunView
    started: list[int] = field(default_factory=list)
    ends: list[Decision] = field(default_factory=list)

    def play(self, failing: frozenset[str], rng: random.Random, batch: int) -> None:
        view = self.view
        running = set(view.plan.roots)
        view.live.update(running)
        self.started += view.plan.roots
        while running:
            done = rng.sample(sorted(running), min(len(running), rng.randint(1, batch)))
            running.difference_update(done)
            decision = decide(view, [self._end_of(node, failing) for node in done], lambda _node: True, NOW)
            assert not view.results.keys() & {new.step for new in decision.next}, "a step ends once"
            learn(decision, stopping=None)
            begun = [new.step for new in decision.next if new.state is State.CLAIMED and not new.missing]
            assert not (view.stopping and begun), "nothing new starts in a run that is failing"
            self.started += begun
            running.update(begun)
            view.live.update(begun)
            if view.stopping and not running:  # the store makes the END of a stopped run live
                decision = decide(view, [Finished(END, 1, Result(State.SUCCEEDED))], lambda _node: True, NOW)
            if decision.end is not None:
                self.ends.append(decision)

    def _end_of(self, node: int, failing: frozenset[str]) -> Finished:
        name = self.view.plan.steps[node].name
        if name in failing and self.view.plan.steps[node].kind == "function":
            return Finished(node, 1, failed(StepError("Boom", "as it should")))
        return Finished(node, 1, Result(State.SUCCEEDED, {"from": name}))


def plan_of(spec: dict) -> Plan:
    return compile_plan(parse_spec(spec), models(), "r")


def played(plan: Plan, failing: frozenset[str], seed: int, batch: int) -> Played:
    view = RunView(UUID(int=1), plan, "default", "x", {}, complete=True)
    play = Played(view)
    play.play(failing, random.Random(seed), batch)
    return play


@settings(max_examples=80, deadline=None)
@given(graphs(), st.integers(0, 2**32), st.integers(1, 4))
def test_every_run_ends_exactly_once(graph, seed, batch):
    spec, failing = graph
    play = played(plan_of(spec), failing, seed, batch)
    assert len(play.ends) == 1
    assert play.ends[0].end is not None
    assert play.ends[0].end.phase.done


@settings(max_examples=80, deadline=None)
@given(graphs(), st.integers(0, 2**32), st.integers(1, 4))
def test_no_step_starts_before_its_needs_are_done_nor_twice(graph, seed, batch):
    spec, failing = graph
    plan = plan_of(spec)
    play = played(plan, failing, seed, batch)
    assert len(play.started) == len(set(play.started))
    for index, node in enumerate(play.started):
        for edge in plan.steps[node].needs:
            need = play.view.results[edge.step]
            assert need.state in edge.on
            assert edge.step not in play.started[index:]


@settings(max_examples=60, deadline=None)
@given(graphs(), st.integers(0, 2**32), st.integers(0, 2**32))
def test_the_order_of_arrival_does_not_change_the_end(graph, one, other):
    spec, failing = graph
    plan = plan_of(spec)
    first, second = played(plan, failing, one, 1), played(plan, failing, other, 4)
    assert first.ends[0].end.phase == second.ends[0].end.phase
    if first.ends[0].end.phase is Phase.SUCCEEDED:
        assert first.view.results == second.view.results
        assert set(first.started) == set(second.started)


@settings(max_examples=60, deadline=None)
@given(graphs(), st.integers(0, 2**32))
def test_a_run_succeeds_only_when_every_failure_was_taken_by_a_step_that_ran(graph, seed):
    spec, failing = graph
    play = played(plan_of(spec), failing, seed, 2)
    lost = unhandled(play.view.plan, play.view.results)
    assert (play.ends[0].end.phase is Phase.FAILED) == bool(lost)


@settings(max_examples=60, deadline=None)
@given(graphs(), st.integers(0, 2**32))
def test_a_succeeded_run_leaves_no_step_without_an_end(graph, seed):
    spec, failing = graph
    play = played(plan_of(spec), failing, seed, 3)
    if play.ends[0].end.phase is Phase.SUCCEEDED:
        assert set(play.view.results) == set(range(len(play.view.plan.steps)))


@settings(max_examples=60, deadline=None)
@given(graphs(), st.integers(0, 2**32))
def test_deciding_changes_nothing_by_itself_so_a_replayed_decision_is_the_same(graph, seed):
    spec, _failing = graph
    plan = plan_of(spec)
    view = RunView(UUID(int=1), plan, "default", "x", {}, complete=True)
    done = [Finished(node, 1, Result(State.SUCCEEDED)) for node in plan.roots]
    random.Random(seed).shuffle(done)
    first = decide(view, done, lambda _node: True, NOW)
    second = decide(view, done, lambda _node: True, NOW)
    assert (first.next, first.end, first.stop) == (second.next, second.end, second.stop)
    assert view.results == {}
