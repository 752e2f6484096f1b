"""`leat run` with child runs: it ends when they have, and tells what they ask."""

import os
import signal
import subprocess

import pytest
from tests.support.cli import LEAT, leat

HEAD = "---\napiVersion: leat.dev/v1alpha1\nkind: Workflow\nmetadata: {{name: {}}}\nspec:\n"


@pytest.fixture
def flows(tmp_path):
    def flows(**specs: str) -> str:
        file = tmp_path / "flows.yaml"
        file.write_text("".join(HEAD.format(name) + spec for name, spec in specs.items()))
        return str(file)

    return flows


def test_a_detached_child_is_waited_for_when_the_run_is_over(flows, tmp_path):
    left = tmp_path / "left"
    child = f'  steps: [{{name: late, script: {{run: "sleep 1; touch {left}"}}}}]\n'
    top = "  steps: [{name: call, workflow: {name: child, mode: detach}}]\n"
    done = leat("run", flows(child=child, top=top))
    assert done.code == 0
    assert left.exists()
    assert "the run is over; its child runs go on: top-call-" in done.err


def test_a_child_cleans_up_after_a_run_that_was_over_its_timeout(flows, tmp_path):
    left = tmp_path / "left"
    child = f"""  steps: [{{name: wait, wait: {{duration: 1h}}}}]
  finally: [{{name: tidy, script: {{run: 'sleep 1; touch {left}'}}}}]
"""
    done = leat("run", flows(child=child, top="  timeout: 6s\n  steps: [{name: call, workflow: {name: child}}]\n"))
    assert (done.code, left.exists()) == (1, True)


def test_an_interrupt_ends_detached_children_too(flows):
    child = "  steps: [{name: wait, wait: {duration: 1h}}]\n"
    top = "  steps: [{name: call, workflow: {name: child, mode: detach}}]\n"
    command = [*LEAT, "run", flows(child=child, top=top)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "500"}) as process:
        try:
            next(line for line in process.stderr if line.startswith("the run is over"))
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 130


def test_what_children_and_steps_of_bodies_ask_is_told(flows):
    asks = "signal: {name: ask, timeout: 500ms, onTimeout: continue}"
    top = """  steps:
    - {name: call, workflow: {name: child}}
    - {name: each, forEach: [1, 2], signal: {name: "ask-${ item }", timeout: 500ms, onTimeout: continue}}
"""
    done = leat("run", flows(child=f"  steps: [{{name: one, {asks}}}]\n", top=top))
    told = {line.split()[4] + " " + line.split()[5] for line in done.err.splitlines() if line.startswith("to answer")}
    assert {"top ask-1", "top ask-2"} < told
    assert any(line.startswith("top-call-") and line.endswith(" ask") for line in told)


def test_not_more_is_told_than_people_read(flows):
    spec = """  steps:
    - name: each
      forEach: ${ range }
      signal: {name: "ask-${ item }", timeout: 1s, onTimeout: continue}
""".replace("${ range }", str(list(range(40))))
    done = leat("run", flows(many=spec))
    assert done.err.count("to answer") == 20
    assert done.err.count("more than 20 steps have asked something") == 1
