"""Every sample by `kubectl apply`, against a real API server, operator and runners, to the end it states."""

import json
import subprocess
from contextlib import ExitStack

import pytest
import yaml
from tests.support.samples import FOLDER, Sample, samples, serving

END = "90s"

pytestmark = pytest.mark.usefixtures("leat")


@pytest.fixture
def kubectl(kubernetes, namespace):
    def call(*arguments: str, text: str | None = None, fails: bool = False) -> str:
        command = [kubernetes.kubectl, "--kubeconfig", kubernetes.kubeconfig, "--namespace", namespace, *arguments]
        done = subprocess.run(command, check=False, input=text, capture_output=True, text=True, timeout=120)
        assert fails or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return call


@pytest.mark.parametrize("sample", samples(), ids=lambda sample: sample.file.stem)
def test_a_sample_applied_by_kubectl_reaches_the_end_it_states(sample: Sample, kubectl):
    name = sample.run["metadata"]["name"]
    with ExitStack() as stack:
        if sample.served is not None:
            sample.run["spec"]["inputs"] = {"url": stack.enter_context(serving(sample.served))}
        kubectl("apply", "-f", "-", text=yaml.safe_dump_all(sample.documents))
        wanted = "True" if sample.phase == "Succeeded" else "False"
        kubectl("wait", f"workflowrun/{name}", f"--for=condition=Succeeded={wanted}", f"--timeout={END}")
    status = json.loads(kubectl("get", "workflowrun", name, "-o", "json"))["status"]
    assert status["phase"] == sample.phase
    assert status.get("output") == sample.output
    assert status["observedGeneration"] == 1


def test_an_invalid_workflow_says_why_in_its_own_status_and_in_that_of_its_run(kubectl):
    kubectl("apply", "-f", str(FOLDER / "invalid.yaml"))
    kubectl("wait", "workflowrun/invalid", "--for=condition=Succeeded=False", f"--timeout={END}")
    run = json.loads(kubectl("get", "workflowrun", "invalid", "-o", "json"))["status"]
    workflow = json.loads(kubectl("get", "workflow", "invalid", "-o", "json"))["status"]
    (ready,) = [each for each in workflow["conditions"] if each["type"] == "Ready"]
    assert ready["status"] == "False"
    for path in ("spec.steps[2].needs", "spec.steps[3].transform"):
        assert path in ready["message"]
        assert path in run["message"]


def test_people_see_the_runs_of_a_namespace_as_a_table(kubectl):
    kubectl("apply", "-f", str(FOLDER / "hello.yaml"))
    kubectl("wait", "workflowrun/hello", "--for=condition=Succeeded", f"--timeout={END}")
    header, row = kubectl("get", "wfr").splitlines()
    assert header.split() == ["NAME", "WORKFLOW", "PHASE", "PROGRESS", "ETA", "AGE"]
    assert row.split()[:4] == ["hello", "hello", "Succeeded", "1/1"]
