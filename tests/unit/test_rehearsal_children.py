"""Child runs in runs that are played: their steps have answers too, and what becomes of them goes up."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from leat_cli.testing import NotPlayed, approve, error, output, reject, run, signal
from leat_engine.errors import Rejected
from leat_engine.limits import CHILD_DEPTH
from leat_engine.result import State


def call(name="call", **more):
    return {"name": name, "http": {"url": "http://x"}, **more}


def starts(name, workflow, inputs=None, **more):
    return {"name": name, "workflow": {"name": workflow, "inputs": inputs or {}}, **more}


def workflow(name, **spec):
    return {"apiVersion": "leat.dev/v1alpha1", "kind": "Workflow", "metadata": {"name": name}, "spec": spec}


PAY = workflow(
    "pay",
    inputs={"amount": {"type": "integer"}},
    steps=[call("charge", retry={"max": 0}), {"name": "twice", "transform": "${ steps.charge.output * 2 }"}],
    output="${ steps.twice.output + inputs.amount }",
)
ORDER = workflow(
    "order",
    steps=[starts("pay", "pay", {"amount": 5}), call("ship", needs=["pay"])],
    output="${ steps.pay.output }",
)


@pytest.fixture
def written(tmp_path):
    """Write Workflows into a file; its path."""

    def write(*documents, name="flow.yaml"):
        path = tmp_path / name
        path.write_text(yaml.safe_dump_all(documents))
        return path

    return write


def test_a_child_is_played_and_its_output_is_that_of_the_step(written):
    result = run(written(PAY, ORDER), fakes={"pay/charge": output(20, takes=3), "ship": output(takes=2)})
    assert (result.phase, result.output, result.seconds) == ("Succeeded", 45, 5)
    assert result.path == ["pay", "ship"]
    assert result.step("pay/charge").fields["url"] == "http://x"
    assert result.step("pay/twice").output == 40


def test_a_step_with_an_answer_starts_nothing(written):
    result = run(written(PAY, ORDER), fakes={"pay": output(1), "pay/charge": output(20), "ship": output()})
    assert result.output == 1
    with pytest.raises(KeyError, match="never reached"):
        result.step("pay/charge")


def test_a_failure_of_a_child_is_that_of_the_step(written):
    result = run(written(PAY, ORDER), fakes={"pay/charge": error("HttpStatus", status=402)})
    assert (result.phase, result.error["type"], result.error["step"]) == ("Failed", "ChildFailed", "pay")
    found = result.step("pay").error
    assert (found["type"], found["details"]["phase"]) == ("ChildFailed", "Failed")
    assert result.step("pay/charge").state is State.FAILED


def test_a_retry_starts_another_child_and_a_list_of_answers_goes_on(written):
    retry = {"max": 2, "backoff": {"initial": "1m", "jitter": "none"}}
    order = workflow("order", steps=[starts("pay", "pay", {"amount": 0}, retry=retry)], output="${ steps.pay.output }")
    result = run(written(PAY, order), fakes={"pay/charge": [error("X"), output(4)]})
    assert (result.output, result.seconds, result.step("pay").attempts) == (8, 60, 2)


def test_each_item_has_a_child_of_its_own(written):
    each = starts("pay", "pay", {"amount": "${ item }"}, forEach=[1, 2, 3])
    order = workflow("order", steps=[each], output="${ steps.pay.output }")
    fakes = {"pay/charge": output(0), "pay[1]/charge": output(50)}
    result = run(written(PAY, order), fakes=fakes)
    assert result.output == [1, 102, 3]
    assert result.step("pay[2]/charge").output == 0


def test_a_step_of_a_child_without_an_answer_is_named(written):
    with pytest.raises(NotPlayed, match=r"step pay/charge of kind http .* `pay/charge: \{output"):
        run(written(PAY, ORDER))


def test_a_workflow_of_another_file_is_given(written):
    other, file = written(PAY, name="pay.yaml"), written(ORDER)
    with pytest.raises(NotPlayed, match=r"step pay starts a run of Workflow pay: .* name the file of pay"):
        run(file, fakes={"ship": output()})
    fakes = {"pay/charge": output(1), "ship": output()}
    assert run(file, fakes=fakes, workflows=[other]).output == 7


def test_addresses_that_lead_nowhere_are_refused(written):
    with pytest.raises(Rejected) as caught:
        run(written(PAY, ORDER), fakes={"pay/refund": output(), "ship/x": output(), "pay/twice": output(1)})
    told = str(caught.value)
    assert "fakes.pay/refund: there is no step 'refund'" in told
    assert "fakes.ship/x: there is no step 'x'" in told
    assert "fakes.pay/twice: is a transform" in told
    with pytest.raises(Rejected, match="which is not at hand: name its file in `workflows`"):
        run(written(ORDER), fakes={"pay/charge": output()})


def test_inputs_that_a_child_does_not_take_fail_the_step(written):
    order = workflow("order", steps=[starts("pay", "pay", {"amount": "${ 'much' }"})])
    result = run(written(PAY, order), fakes={"pay/charge": output(1)})
    assert (result.phase, result.step("pay").error["type"]) == ("Failed", "Invalid")


def test_a_child_has_no_more_time_than_its_step(written):
    order = workflow("order", steps=[starts("pay", "pay", {"amount": 0}, timeout="10s", retry={"max": 0})])
    result = run(written(PAY, order), fakes={"pay/charge": output(1, takes=99)})
    assert (result.phase, result.seconds) == ("Failed", 10)
    assert result.step("pay/charge").state is State.CANCELLED


def test_a_child_ends_with_its_parent(written):
    order = workflow(
        "order",
        steps=[starts("pay", "pay", {"amount": 0}), call("fails")],
    )
    fakes = {"pay/charge": output(1, takes=99), "fails": error("X", takes=5, retriable=False)}
    result = run(written(PAY, order), fakes=fakes)
    assert (result.phase, result.seconds) == ("Failed", 5)
    assert result.step("pay/charge").state is State.CANCELLED


def test_nobody_waits_for_a_detached_child_and_it_goes_on(written):
    step = {"name": "pay", "workflow": {"name": "pay", "inputs": {"amount": 0}, "mode": "detach"}}
    result = run(written(PAY, workflow("order", steps=[step])), fakes={"pay/charge": output(1, takes=60)})
    assert (result.phase, result.seconds) == ("Succeeded", 0)
    assert result.step("pay/charge").state is State.SUCCEEDED


def test_runs_below_runs_are_as_deep_as_they_may_be(written):
    loop = workflow("loop", steps=[starts("again", "loop", retry={"max": 0})])
    result = run(written(loop))
    assert result.phase == "Failed"
    deepest = result.step("/".join(["again"] * (CHILD_DEPTH + 1)))
    assert (deepest.error["type"], deepest.error["reason"]) == ("ChildLimit", "TooDeep")


def test_what_waits_for_ever_in_a_child_is_told(written):
    ask = workflow("ask", steps=[{"name": "who", "approval": {}}])
    result = run(written(ask, workflow("order", steps=[starts("asks", "ask")])))
    assert result.phase == "Running"
    answered = run(
        written(ask, workflow("order", steps=[starts("asks", "ask")])), fakes={"asks/who": output({"by": ["ada"]})}
    )
    assert answered.phase == "Succeeded"


@pytest.mark.parametrize("after", [None, 7])
def test_somebody_answers_in_a_child(written, after):
    ask = workflow("ask", steps=[{"name": "who", "approval": {}}, {"name": "news", "signal": {"name": "news"}}])
    told = [approve("asks/who", by="ada", after=after), signal("asks/news", 5, after=after)]
    result = run(written(ask, workflow("order", steps=[starts("asks", "ask")])), told=told)
    assert (result.phase, result.seconds) == ("Succeeded", after or 0)
    assert result.step("asks/who").output["by"] == ["ada"]


def test_limits_are_shared_by_a_run_and_its_children(written):
    door = {"key": "door"}
    pack = workflow("pack", steps=[call("wrap", concurrency=door)])
    each = {"name": "pack", "forEach": [1, 2, 3], "workflow": {"name": "pack"}}
    fakes = {"pack/wrap": output(takes=10), "own": output(takes=10)}
    result = run(written(pack, workflow("order", steps=[each, call("own", concurrency=door)])), fakes=fakes)
    assert (result.phase, result.seconds) == ("Succeeded", 40)


def test_runs_of_one_workflow_wait_for_each_other(written):
    pack = workflow("pack", concurrency={"key": "packers"}, steps=[call("wrap"), call("label", needs=["wrap"])])
    each = {"name": "pack", "forEach": [1, 2, 3], "workflow": {"name": "pack"}}
    fakes = {"pack/wrap": output(takes=3), "pack/label": output(takes=2)}
    result = run(written(pack, workflow("order", steps=[each])), fakes=fakes)
    assert (result.phase, result.seconds) == ("Succeeded", 15)


def test_a_child_that_needs_what_its_parent_holds_waits_for_ever_and_that_is_told(written):
    door = {"key": "door"}
    pack = workflow("pack", steps=[call("wrap", concurrency=door)])
    order = workflow("order", steps=[{"name": "pack", "workflow": {"name": "pack"}, "concurrency": door}])
    result = run(written(pack, order), fakes={"pack/wrap": output()})
    assert result.phase == "Running"
    assert result.step("pack/wrap").note == "waits for concurrency door (position 1)"


@settings(max_examples=40, deadline=None)
@given(
    items=st.integers(1, 6),
    limit=st.integers(1, 3),
    takes=st.integers(1, 9),
    fails=st.sets(st.integers(0, 5)),
)
def test_every_child_ends_and_each_failure_goes_up(tmp_path_factory, items, limit, takes, fails):
    pack = workflow("pack", concurrency={"key": "packers", "limit": limit}, steps=[call("wrap", retry={"max": 0})])
    each = {
        "name": "pack", "forEach": list(range(items)), "tolerate": "100%", "workflow": {"name": "pack"},
        "retry": {"max": 0},
    }  # fmt: skip
    path = tmp_path_factory.mktemp("flow") / "flow.yaml"
    path.write_text(yaml.safe_dump_all([pack, workflow("order", steps=[each])]))
    fakes = {f"pack[{index}]/wrap": error("X", takes=takes) for index in fails if index < items}
    result = run(path, fakes={"pack/wrap": output(takes=takes), **fakes})
    assert (result.phase, result.seconds) == ("Succeeded", takes * -(-items // limit))
    states = [result.step(f"pack[{index}]").state for index in range(items)]
    assert states == [State.FAILED if index in fails else State.SUCCEEDED for index in range(items)]


def test_what_is_told_to_nobody_is_told(written):
    with pytest.raises(NotPlayed, match="nobody waited"):
        run(written(PAY, ORDER), fakes={"pay/charge": output(1), "ship": output()}, told=[reject("pay")])
