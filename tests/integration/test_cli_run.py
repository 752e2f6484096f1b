"""`leat run` as a process: its streams, its exit codes, and what an interrupt leaves behind."""

import json
import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from tests.support.cli import LEAT, leat

HEAD = "apiVersion: leat.dev/v1alpha1\nkind: Workflow\nmetadata: {name: flow}\nspec:\n"


@pytest.fixture
def flow(tmp_path):
    def flow(spec: str) -> str:
        file = tmp_path / "flow.yaml"
        file.write_text(HEAD + spec)
        return str(file)

    return flow


def test_stdout_holds_the_result_alone(flow, tmp_path):
    (tmp_path / "steps.py").write_text("import leat\n\n@leat.step\ndef speak():\n    print('spoken')\n    return 7\n")
    spec = "  steps: [{name: speak, function: {name: speak}}]\n  output: ${ steps.speak.output }\n"
    done = leat("run", flow(spec), "--functions", str(tmp_path / "steps.py"))
    assert (done.code, done.out) == (0, "7\n")
    assert "spoken" in done.err
    assert done.err.splitlines()[-1] == "flow: Succeeded"


def test_what_a_script_prints_is_shown_beside_the_run(flow):
    done = leat("run", flow('  steps: [{name: talk, script: {run: "echo hello from bash"}}]\n'))
    assert (done.code, done.out) == (0, "")
    assert "hello from bash" in done.err


def test_a_failed_run_exits_with_1_and_says_why(flow):
    spec = "  steps: [{name: stop, fail: {message: out of stock}}, {name: after, needs: [stop], transform: 1}]\n"
    done = leat("run", flow(spec), "-o", "json")
    assert done.code == 1
    assert (done.json["phase"], done.json["steps"]["stop"]["state"]) == ("Failed", "Failed")
    assert done.json["steps"]["after"]["state"] in {"Cancelled", "Skipped"}
    assert "out of stock" in json.dumps(done.json["error"])
    assert "Fail: out of stock" in done.err


def test_a_suspended_run_starts_nothing_and_says_so(flow):
    file = flow("  steps: [{name: go, transform: 1}]\n")
    with Path(file).open("a") as more:
        more.write("---\napiVersion: leat.dev/v1alpha1\nkind: WorkflowRun\nmetadata: {name: flow-1}\n")
        more.write("spec: {workflow: {name: flow}, suspend: true}\n")
    done = leat("run", file, "-o", "json")
    assert (done.code, done.json["phase"], done.json["steps"]["go"]["startedAt"]) == (1, "Suspended", None)
    assert "nobody could resume the run here" in done.err


def test_a_run_that_takes_longer_than_its_timeout_fails(flow):
    done = leat("run", flow("  timeout: 300ms\n  steps: [{name: nap, wait: {duration: 1h}}]\n"), "-o", "json")
    assert (done.code, done.json["phase"], done.json["error"]["type"]) == (1, "Failed", "Timeout")


def test_a_field_that_an_expression_makes_wrong_is_named_by_its_whole_path(flow):
    done = leat("run", flow("  steps: [{name: nap, wait: {duration: \"${ 'soon' }\"}}]\n"), "-o", "json")
    error = done.json["steps"]["nap"]["error"]
    assert error["type"] == "Invalid"
    assert error["message"].startswith("spec.steps[0].wait.duration: found 'soon', expected a duration such as")


def test_a_sensitive_input_is_in_nothing_that_is_printed(flow):
    spec = (
        "  inputs: {card: {type: string, sensitive: true}}\n"
        "  steps:\n    - {name: show, transform: {card: '${ inputs.card }'}}\n"
        "    - {name: stop, needs: [show], fail: {message: 'card ${ inputs.card } expired'}}\n"
    )
    done = leat("run", flow(spec), "-i", "card=4242-4242", "-o", "json")
    assert done.json["steps"]["show"]["output"] == {"card": "[redacted]"}
    assert "4242" not in done.out + done.err


def test_steps_of_several_pools_run_in_one_process(flow):
    spec = "  steps: [{name: a, wait: {duration: 1ms}}, {name: b, pool: gpu, needs: [a], wait: {duration: 1ms}}]\n"
    assert leat("run", flow(spec)).code == 0


def test_functions_that_cannot_be_loaded_are_a_mistake_of_the_user(flow):
    done = leat("run", flow("  steps: [{name: a, transform: 1}]\n"), "--functions", "nowhere.py")
    assert (done.code, done.out) == (2, "")
    assert "nowhere.py" in done.err
    assert "Traceback" not in done.err


def test_runs_beside_each_other_do_not_meet(flow):
    file = flow(
        "  inputs: {number: {type: integer}}\n  steps: [{name: a, transform: 1}]\n  output: ${ inputs.number }\n"
    )
    with ThreadPoolExecutor(3) as pool:
        ends = list(pool.map(lambda n: leat("run", file, "-i", f"number={n}"), range(3)))
    assert [(end.code, end.out) for end in ends] == [(0, f"{n}\n") for n in range(3)]


SLEEP = "  steps: [{name: nap, script: {run: echo started; sleep 1000}}, {name: after, needs: [nap], transform: 1}]\n"

STUBBORN = "  steps:\n    - name: nap\n      script: {run: \"trap '' TERM; echo started; sleep 1000; sleep 1000\"}\n"


@pytest.fixture
def start(flow):
    """Start runs whose scripts say that they have started; what is left of them goes after the test."""
    started = []

    def start(spec: str) -> subprocess.Popen[str]:
        command = [*LEAT, "run", flow(spec), "-o", "json"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        wait_for(process, "started")
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    assert process.stderr is not None
    assert any(text in line for line in process.stderr)


def descendants(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def ends(processes: list[psutil.Process]) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=20)
    return not alive


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_cancels_the_run_and_its_steps(start, number, code):
    process = start(SLEEP)
    children = descendants(process)
    process.send_signal(number)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == code
    found = json.loads(out)
    assert found["phase"] == "Cancelled"
    assert [step["state"] for step in found["steps"].values()] == ["Cancelled", "Cancelled"]
    assert len(children) >= 2  # Postgres and the script
    assert ends(children)


def test_a_second_interrupt_does_not_wait_for_a_step_that_will_not_end(start):
    process = start(STUBBORN)
    children = descendants(process)
    process.send_signal(signal.SIGINT)
    wait_for(process, "cancelling the run")
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert time.monotonic() - began < 4  # the script's own grace is 5 s
    assert ends(children)


def test_a_killed_run_leaves_no_server_behind(start):
    process = start(SLEEP)
    servers = [child for child in descendants(process) if "postgres" in " ".join(child.cmdline())]
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    assert servers
    assert ends(servers)
