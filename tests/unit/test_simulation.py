"""Laws of simulated runs, and what is wrong with a file of durations."""

from dataclasses import replace

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.cli import invoked
from tests.support.load import plan_of
from tests.unit.test_estimate import HTTP, fixed, graphs, longest, steps

from leat_cli.drawing.gantt import Stroke, gantt
from leat_cli.problems import Invalid
from leat_cli.simulation.given import Given, given_by, missing
from leat_cli.simulation.outcome import chain, outcome_of
from leat_cli.simulation.world import Limit, Scenario, executions, simulate
from leat_engine.durations import Expected, Fixed, LogNormal, known_paths

BODIES = {
    "inputs": {"list": {"type": "array"}},
    "steps": [
        {"name": "each", "forEach": "${ inputs.list }", **HTTP},
        {"name": "poll", "repeat": {"until": "${ last == 1 }", "max": 9, "delay": "10s"}, **HTTP},
        {
            "name": "choose",
            "switch": [
                {"when": "${ 1 > 2 }", "steps": [{"name": "a", **HTTP}]},
                {"default": True, "steps": [{"name": "b", **HTTP}]},
            ],
        },
    ],
}


def scenario(spec, expected, *, slots=None, together=1, bound=None, counts=None):
    return Scenario(plan_of(spec), Given(expected, slots or {}), bound or {}, counts or {}, together)


def parent_of(child, expected, **step):
    """A run of one step, which starts a run of ``child``."""
    plan = plan_of({"steps": [{"name": "pay", "workflow": {"name": "child"}, **step}]})
    given = Given(expected, {})
    (node,) = (each.id for each in plan.steps if each.kind == "workflow")
    inner = Scenario(plan_of(child), given, {}, {}, around=known_paths(plan)[node], workflow="child")
    return Scenario(plan, given, {}, {}, children={node: inner})


def seconds(*arguments, **more):
    trial = simulate(scenario(*arguments, **more), 1)
    return [course.seconds for course in trial.courses], trial


@settings(deadline=None)
@given(graphs())
def test_without_limits_a_run_takes_as_long_as_its_longest_path(drawn):
    needs, times = drawn
    (found,), trial = seconds(steps(**needs), fixed(**times))
    assert found == pytest.approx(longest(needs, times))
    spent = [bar.end - (bar.cause.end if bar.cause else 0) for bar in chain(trial.courses[0].last)]
    assert sum(spent) == pytest.approx(found)


@settings(deadline=None)
@given(graphs(), st.integers(1, 4), st.integers(1, 3))
def test_no_more_steps_run_at_once_than_the_pool_has_slots(drawn, slots, together):
    needs, times = drawn
    found, trial = seconds(steps(**needs), fixed(**times), slots={"default": slots}, together=together)
    for bar in trial.bars:
        busy = [each for each in trial.bars if each.begun <= bar.begun < each.end]
        assert len(busy) <= slots
    assert max(found) >= sum(times.values()) * together / slots - 1e-6


@settings(deadline=None)
@given(st.integers(0, 5), st.floats(0, 1))
def test_the_same_seed_is_the_same_course(seed, fails):
    spec = {"steps": [{"name": "a", **HTTP, "retry": {"max": 3}}]}
    what = scenario(spec, {"a": Expected(took=LogNormal(1, 5), fails=fails)})
    first, second = simulate(what, seed), simulate(what, seed)
    assert [course.seconds for course in first.courses] == [course.seconds for course in second.courses]


def test_a_mutex_lets_one_after_the_other_and_the_path_says_that_they_waited():
    spec = {"steps": [{"name": "a", **HTTP, "concurrency": {"key": "bank", "limit": 1}}]}
    found, trial = seconds(spec, fixed(a=5), together=4)
    assert sorted(found) == [5, 10, 15, 20]
    outcome = outcome_of([trial])
    (waits,) = outcome.waits
    assert (waits.limit, waits.asked, waits.delayed, waits.seconds.most) == (Limit("concurrency", "bank"), 4, 0.75, 15)
    assert outcome.path[0].waiting == pytest.approx((0 + 5 / 10 + 10 / 15 + 15 / 20) / 4)


def test_keys_of_inputs_are_told_apart_and_those_of_results_are_not():
    keyed = {"name": "a", **HTTP, "concurrency": {"key": "${ inputs.bank }", "limit": 1}}
    spec = {"inputs": {"bank": {"type": "string"}}, "steps": [keyed]}
    _, trial = seconds(spec, fixed(a=5), bound={"inputs": {"bank": "B"}, "run": {}})
    assert set(trial.waits) == {Limit("concurrency", "B")}


def test_a_rate_lets_a_burst_go_and_then_one_after_the_other():
    spec = {"steps": [{"name": "a", **HTTP, "rateLimit": {"rate": 1, "per": "10s", "burst": 2}}]}
    found, _ = seconds(spec, fixed(a=1), together=4)
    assert sorted(found) == pytest.approx([1, 1, 11, 21])


def test_runs_of_a_workflow_with_a_limit_of_its_own_go_one_after_the_other():
    spec = {"concurrency": {"limit": 1}, "steps": [{"name": "a", **HTTP}]}
    assert sorted(seconds(spec, fixed(a=3), together=3)[0]) == [3, 6, 9]


def test_an_attempt_that_fails_is_followed_by_another_one_and_at_last_by_the_end_of_the_run():
    backoff = {"max": 2, "backoff": {"initial": "10s", "factor": 1, "jitter": "none"}}
    spec = {"steps": [{"name": "a", **HTTP, "retry": backoff}, {"name": "b", "needs": ["a"], **HTTP}]}
    (found,), trial = seconds(spec, {"a": Expected(took=Fixed(1), fails=1.0), "b": Expected(took=Fixed(100))})
    assert (found, trial.courses[0].failed) == (23, True)


def test_a_failure_that_a_step_handles_is_none_of_the_run():
    mend = {"name": "mend", "needs": [{"step": "a", "on": ["Failed"]}], **HTTP}
    spec = {"steps": [{"name": "a", **HTTP}, mend]}
    (found,), trial = seconds(spec, {"a": Expected(took=Fixed(1), fails=1.0), "mend": Expected(took=Fixed(2))})
    assert (found, trial.courses[0].failed) == (3, False)


def test_an_attempt_ends_with_its_timeout_and_a_run_with_its_own():
    spec = {"timeout": "4s", "steps": [{"name": "a", **HTTP, "timeout": "3s"}]}
    (found,), trial = seconds(spec, fixed(a=100))
    assert (found, trial.courses[0].failed) == (3, True)
    (found,), trial = seconds({**spec, "steps": [{"name": "a", **HTTP}]}, fixed(a=100))
    assert (found, trial.courses[0].failed) == (4, True)


def test_bodies_take_their_items_iterations_and_cases():
    expected = fixed(**{"each[]": 3, "poll[]": 1, "choose[0]/a": 90, "choose[1]/b": 7})
    expected |= {"each": Expected(times=4), "poll": Expected(times=3), "choose": Expected(cases={0: 0.0, 1: 1.0})}
    (found,), trial = seconds(BODIES, expected, counts={1: 2})
    ends = {}
    for bar in trial.bars:
        ends.setdefault(bar.path, []).append(bar.end)
    assert ends == {"each[]": [3, 3], "poll[]": [1, 12, 23], "choose[1]/b": [7]}
    assert found == 23
    assert executions(scenario(BODIES, expected, counts={1: 2})) == 3 + 2 + 3 + 1


def test_items_beyond_the_tolerated_failures_do_not_begin():
    spec = {"steps": [{"name": "each", "forEach": [1, 2, 3, 4, 5], "maxParallel": 1, "tolerate": 1, **HTTP}]}
    (found,), trial = seconds(spec, {"each[]": Expected(took=Fixed(2), fails=1.0)})
    assert (found, trial.courses[0].failed, len(trial.bars)) == (4, True, 2)


def took(seconds):
    return Expected(took=Fixed(seconds))


PAY = {"steps": [{"name": "a", **HTTP}, {"name": "b", "needs": ["a"], **HTTP}, {"name": "c", **HTTP}]}


def test_a_child_takes_as_long_as_its_own_steps_which_are_on_the_critical_path():
    expected = {"pay/a": took(10), "pay/b": took(20), "pay/c": took(25)}
    trial = simulate(parent_of(PAY, expected), 1)
    (course,) = trial.courses
    assert (course.seconds, course.failed) == (30, False)
    assert [bar.path for bar in chain(course.last)] == ["pay/b", "pay/a"]


def test_a_child_that_fails_is_started_again_and_at_last_fails_its_step():
    expected = {"pay/a": Expected(took=Fixed(10), fails=1.0), "pay/b": took(20), "pay/c": took(25)}
    child = {"defaults": {"retry": {"max": 0}}, **PAY}
    retry = {"max": 1, "backoff": {"initial": "5s", "jitter": "none"}}
    (course,) = simulate(parent_of(child, expected, retry=retry), 1).courses
    assert (course.seconds, course.failed) == (25 + 5 + 25, True)


def test_a_child_has_no_more_time_than_its_step():
    expected = {"pay/a": took(10), "pay/b": took(20), "pay/c": took(25)}
    (course,) = simulate(parent_of(PAY, expected, timeout="12s", retry={"max": 0}), 1).courses
    assert (course.seconds, course.failed) == (12, True)


@settings(deadline=None, max_examples=40)
@given(graphs(), st.integers(1, 4))
def test_a_run_that_only_starts_another_takes_as_long_as_that_one(drawn, together):
    needs, seconds_of = drawn
    alone = simulate(scenario(steps(**needs), fixed(**seconds_of), together=together), 3)
    above = parent_of(steps(**needs), fixed(**{f"pay/{name}": each for name, each in seconds_of.items()}))
    below = simulate(replace(above, together=together), 3)
    assert [course.seconds for course in below.courses] == [course.seconds for course in alone.courses]


def test_what_children_take_is_asked_for_and_given_by_their_paths(tmp_path, monkeypatch):
    documents = [
        {"apiVersion": "leat.dev/v1alpha1", "kind": "Workflow", "metadata": {"name": name}, "spec": spec}
        for name, spec in (
            ("pay", {
                "inputs": {"parts": {"type": "array"}},
                "steps": [{"name": "charge", "forEach": "${ inputs.parts }", "maxParallel": 1, **HTTP}],
            }),
            ("order", {"steps": [{"name": "pay", "workflow": {"name": "pay", "inputs": {"parts": [1, 2, 3]}}}]}),
        )
    ]  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flow.yaml").write_text(yaml.safe_dump_all(documents))
    assert "steps:\n  pay/charge[]: 30s\n" in invoked("simulate", "flow.yaml").err
    (tmp_path / "durations.yaml").write_text('steps: {"pay/charge[]": 10s}')
    done = invoked("simulate", "flow.yaml", "--durations", "durations.yaml", "-o", "json").json
    assert (done["seconds"]["p50"], [part["step"] for part in done["criticalPath"]]) == (30, ["pay/charge[]"])
    (tmp_path / "durations.yaml").write_text("steps: {pay: 7s}")
    done = invoked("simulate", "flow.yaml", "--durations", "durations.yaml", "-o", "json").json
    assert done["seconds"]["p50"] == 7


def test_what_is_not_known_is_said_as_a_file_would_have_it():
    lines = missing(scenario(BODIES, {}))
    assert lines == [
        "each: {items: 10}",
        "each[]: 30s",
        "poll: {iterations: 3}",
        "poll[]: 30s",
        "choose[0]/a: 30s",
        "choose[1]/b: 30s",
    ]


def test_every_mistake_of_a_file_is_told_with_its_line(tmp_path):
    file = tmp_path / "durations.yaml"
    file.write_text(
        "slots: {defualt: 3}\n"
        "steps:\n"
        "  eech[]: 3s\n"
        "  each: 5s\n"
        "  poll[]: {p90: 3s}\n"
        "  poll: {items: 3}\n"
        "  choose: {cases: [1, 2, 3]}\n"
        "  choose[0]/a: {p50: 5s, p90: 3s}\n"
    )
    with pytest.raises(Invalid) as refused:
        given_by(str(file), plan_of(BODIES), {}, {})
    assert [(problem.line, problem.path, problem.message) for problem in refused.value.problems] == [
        (1, "slots.defualt", "there is no pool 'defualt'; did you mean 'default'?"),
        (3, "steps.eech[]", "there is no step 'eech[]'; did you mean 'each[]'?"),
        (4, "steps.each", "takes as long as the steps of its `forEach`: give their durations (each[])"),
        (5, "steps.poll[].p90", "found no `p50` beside it, expected both: half and nine tenths of all attempts"),
        (6, "steps.poll.items", "belongs to a step with `forEach`; this one is of kind `repeat`"),
        (7, "steps.choose.cases", "found 3 numbers, expected one for each of the 2 cases, not all 0"),
        (8, "steps.choose[0]/a.p90", "found '3s', expected no less than `p50`, which is '5s'"),
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("steps:\n  each[]: 3", "steps.each[]: found 3, expected a duration such as 30s, or an object with p50, p90"),
        (
            "steps:\n  each[]: soon",
            "steps.each[].p50: found 'soon', expected a duration such as 500ms, 30s, 1h30m or 2d",
        ),
        ("steps:\n  each[]: {failz: 5%}", "steps.each[].failz: there is no field 'failz'; did you mean 'fails'?"),
        (
            "steps:\n  each[]: {fails: 0.5}",
            "steps.each[].fails: found 0.5, expected a share from 0% to 100%, such as 5%",
        ),
        ("slots: {default: 0}", "slots.default: found 0, expected greater than or equal to 1"),
        ("stepps: {}", "stepps: there is no field 'stepps'; did you mean 'steps'?"),
        ("---\nsteps: {}\n---\nsteps: {}", "found 2 documents, expected one with durations"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path, text, told):
    file = tmp_path / "durations.yaml"
    file.write_text(text)
    with pytest.raises(Invalid) as refused:
        given_by(str(file), plan_of(BODIES), {}, {})
    assert told in str(refused.value)


def test_a_file_says_more_than_history_and_what_it_leaves_out_stays(tmp_path):
    file = tmp_path / "durations.yaml"
    file.write_text("default: 9s\nsteps:\n  each[]: {fails: 5%}\n  poll[]: {p50: 1s, p90: 4s, skipped: 25%}\n")
    found = given_by(
        str(file), plan_of(BODIES), {"each[]": Expected(took=Fixed(2)), "poll": Expected(times=3)}, {}
    ).expected
    assert found["each[]"] == Expected(took=Fixed(2), fails=0.05)
    assert found["poll[]"] == Expected(took=LogNormal(1, 4), skipped=0.25)
    assert (found["poll"].times, found["choose[0]/a"].took) == (3, Fixed(9))


def test_a_picture_has_a_row_for_each_step_and_says_what_it_leaves_out():
    strokes = [Stroke(f"s{number:03}", number, number + 1, number + 2, critical=number == 0) for number in range(90)]
    drawn = gantt("a & b", strokes)
    assert drawn.count('class="critical"') == 1
    assert drawn.count('class="waits"') == 80
    assert "<title>a &amp; b</title>" in drawn
    assert "10 more steps" in drawn


def test_what_a_run_does_at_its_end_is_done_after_a_failure_too():
    spec = {"steps": [{"name": "a", **HTTP}], "finally": [{"name": "tell", **HTTP}]}
    (found,), trial = seconds(spec, {"a": Expected(took=Fixed(1), fails=1.0), "finally/tell": Expected(took=Fixed(2))})
    assert (found, trial.courses[0].failed) == (3, True)
    assert missing(scenario(spec, {})) == ["a: 30s", "finally/tell: 30s"]
