"""`leat debug`: a person steps through a run, by commands from stdin."""

import pytest
import yaml
from tests.support.cli import invoked

WORKFLOW = """
apiVersion: leat.dev/v1alpha1
kind: Workflow
metadata: {name: pay}
spec:
  inputs:
    amount: {type: integer, default: 5}
    card: {type: string, sensitive: true, default: "4000-1234"}
  vars: {fee: 2}
  steps:
    - name: charge
      http:
        method: POST
        url: https://pay.example
        headers: {Authorization: "Bearer ${ secret('pay', 'token') }"}
        body: {amount: "${ inputs.amount }", card: "${ inputs.card }"}
    - name: total
      transform: ${ steps.charge.output.sum + vars.fee }
    - name: tell
      forEach: [ada, bob]
      maxParallel: 1
      needs: [total]
      http: {url: "https://mail.example/${ item }"}
    - name: nap
      needs: [tell]
      wait: {duration: 5h}
    - name: ok
      needs: [nap]
      approval: {}
  output: ${ steps.total.output }
"""


@pytest.fixture
def debugged(tmp_path):
    """Runs `leat debug` with these lines on stdin."""
    file = tmp_path / "pay.yaml"
    file.write_text(WORKFLOW)

    def debug(*lines, arguments=()):
        done = invoked("debug", str(file), *arguments, stdin="".join(f"{line}\n" for line in lines))
        assert "4000" not in done.out + done.err, "nothing sensitive is shown"
        return done

    return debug


def test_a_run_is_stepped_through_and_its_steps_give_what_is_said(debugged):
    done = debugged(
        'output {"sum": 10}', "step", "output 1", "", "", "out 2", "s", "s", 'output {"approved": true}', "continue"
    )
    lines = [line.removeprefix("(leat) ") for line in done.out.splitlines()]
    assert lines == [
        "at charge (http)",
        'charge gives {"sum":10}',
        '-> charge Succeeded: {"sum":10}',
        "-> total Succeeded: 12",
        "at tell (forEach)",
        "tell gives 1",
        "at tell[0] (http)",
        "-> tell[0] Succeeded: 1",
        "at tell[1] (http)",
        "tell[1] gives 2",
        "-> tell[1] Succeeded: 2",
        "-> tell Succeeded: [1,2]",
        "at nap (wait)",
        "-> nap goes on after 5h, skipped",
        "-> nap Succeeded: null",
        "at ok (approval)",
        'ok gives {"approved":true}',
        '-> ok Succeeded: {"approved":true}',
        "the run is Succeeded after 5h",
        "12",
    ]
    assert done.code == 0


def test_values_can_be_looked_at(debugged):
    done = debugged(
        "inputs", "print vars.fee", "p inputs.amount * 2", "fields", "print steps.charge.output", "print nothing",
        "print inputs.amount +", "print [1][4]", "where", "graph", "quit",
    )  # fmt: skip
    assert '"card": "[redacted]"' in done.out
    assert "(leat) 2\n(leat) 10\n" in done.out
    assert '"Authorization": "Bearer ***"' in done.out
    assert "there is no step 'charge'" in done.out
    assert "nothing" in done.out
    assert "at charge (http), 0s into the run" in done.out
    assert "└─ charge" in done.out
    assert (done.code, done.out.splitlines()[-1]) == (1, "(leat) the run was left where it was")


def test_a_breakpoint_is_gone_on_to_and_what_was_given_can_be_changed(debugged):
    done = debugged(
        'output charge {"sum": 1}', "continue", "where", "print item", "output total 99", "break tell", "continue",
        arguments=["--break", "charge", "--break", "tell[1]"],
    )  # fmt: skip
    assert done.code == 1, "the input was over before the run"
    assert "at charge (http)\n" in done.out
    assert "at nap" not in done.out


def test_what_later_steps_read_is_changed(debugged):
    done = debugged(
        'output charge {"sum": 1}', "output tell 0", "output ok 1", "continue", "output total 99", *"sccc",
        arguments=["--break", "charge", "--break", "tell"],
    )  # fmt: skip
    assert "total gave 99 from now on" in done.out
    assert (done.code, done.out.splitlines()[-1]) == (0, "99")


def test_a_break_at_a_step_that_is_decided_at_once_stops_behind_it(debugged):
    done = debugged('output charge {"sum": 1}', "c", "where", "q", arguments=["--break", "charge", "--break", "total"])
    assert "behind total (transform)\n(leat) behind total (transform), 0s into the run\n   charge Succeeded" in done.out


def test_a_step_fails_by_hand(debugged):
    done = debugged("fail no money", "step")
    assert "-> charge Failed: Fail: no money" in done.out
    assert "the run is Failed after 0s: Fail: step charge failed: no money" in done.out
    assert done.code == 1


def test_what_cannot_be_is_said(debugged):
    done = debugged("output total 1", "output {", "break chrge", "jump", "help", "quit")
    assert "total is a transform, which has no effects and is evaluated as it stands" in done.out
    assert "found '{', expected JSON" in done.out
    assert "there is no step 'chrge'; did you mean 'charge'?" in done.out
    assert "there is no command 'jump'; `help` lists them" in done.out
    assert "break" in done.out
    assert debugged(arguments=["--break", "nope"]).code == 2


def test_a_run_of_another_workflow_is_stepped_through_too_and_hides_what_is_sensitive_in_it(tmp_path):
    order = {
        "apiVersion": "leat.dev/v1alpha1", "kind": "Workflow", "metadata": {"name": "order"},
        "spec": {
            "steps": [{"name": "pay", "workflow": {"name": "pay", "inputs": {"amount": 7}}}],
            "output": "${ steps.pay.output }",
        },
    }  # fmt: skip
    file = tmp_path / "flow.yaml"
    file.write_text(WORKFLOW + "---\n" + yaml.safe_dump(order))
    lines = [
        "fields",
        "inputs",
        'output {"sum": 1, "card": "4000-1234"}',
        "output pay/tell 1",
        "output pay/ok 2",
        "c",
        "c",
    ]
    done = invoked("debug", str(file), "--break", "pay/charge", stdin="".join(f"{line}\n" for line in lines))
    assert "4000" not in done.out + done.err
    found = [line.removeprefix("(leat) ") for line in done.out.splitlines()]
    assert found[0] == "at pay/charge (http)"
    assert '    "amount": 7,' in found
    assert "-> pay/tell[1] Succeeded: 1" in found
    assert "-> pay Succeeded: 3" in found
    assert found[-2:] == ["the run is Succeeded after 5h", "3"]


def test_real_steps_are_executed(tmp_path):
    file = tmp_path / "x.yaml"
    script = {"run": 'echo hello >&2; echo "$LEAT_ATTEMPT" > "$LEAT_OUTPUT"'}
    spec = {"steps": [{"name": "say", "script": script}], "output": "${ steps.say.output }"}
    file.write_text(
        str({"apiVersion": "leat.dev/v1alpha1", "kind": "Workflow", "metadata": {"name": "x"}, "spec": spec})
    )
    done = invoked("debug", str(file), stdin="step\n")
    assert (done.code, "   say | hello\n" in done.out, done.out.splitlines()[-1]) == (0, True, "1")
