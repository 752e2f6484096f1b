"""A Workflow tells how many of its runs are active and how the last one ended, for few writes."""

import subprocess

import pytest
from tests.support.operator import eventually, started

GREET = {"name": "greet", "transform": "hello"}
NO = {"name": "no", "when": "${ inputs.bad }", "fail": {"message": "no"}}
RUNS = 30


@pytest.fixture
def environment(environment):
    return environment | {"LEAT_STANDING_INTERVAL": "0.3"}


def stands(user):
    status = user.status("hello", "workflows")
    return status.get("active"), status.get("lastRun", {}).get("name"), status.get("lastRun", {}).get("phase")


def test_a_workflow_stands_as_its_runs_do_also_after_a_restart(environment, user, kubernetes, namespace, tmp_path):
    with started("leat_runner", environment, tmp_path):
        with started("leat_operator", environment, tmp_path) as operator:
            user.workflow("hello", GREET, NO, inputs={"bad": {"type": "boolean", "default": False}})
            user.run("paused", "hello", suspend=True)
            user.run("other", "hello", suspend=True)
            eventually(lambda: stands(user) == (2, None, None), "both are active", 40)
            before = user.status("hello", "workflows")
            user.run("good", "hello")
            eventually(lambda: stands(user) == (2, "good", "Succeeded"), "the last one ended well")
            user.run("bad", "hello", inputs={"bad": True})
            eventually(lambda: stands(user) == (2, "bad", "Failed"), "the last one failed")
            user.delete("other")
            eventually(lambda: stands(user) == (1, "bad", "Failed"), "a deleted one is not active")
            after = user.status("hello", "workflows")
            assert after["conditions"] == before["conditions"]
            writes = operator.metric("leat_operator_api_writes_total", resource="workflows/status")
            for number in range(RUNS):
                user.run(f"many-{number}", "hello")
            for number in range(RUNS):
                user.until(f"many-{number}", "Succeeded", 60)
            spent = operator.metric("leat_operator_api_writes_total", resource="workflows/status") - writes
            assert spent < RUNS
        user.delete("paused")
        with started("leat_operator", environment, tmp_path):
            eventually(lambda: stands(user)[0] == 0, "the next operator counts anew", 40)
            assert stands(user)[2] == "Succeeded"
            user.patch("hello", {"spec": {"description": "changed"}}, "workflows")
            seen = lambda: user.status("hello", "workflows")["observedGeneration"] == 2  # noqa: E731
            eventually(seen, "the change is observed")
            assert stands(user)[2] == "Succeeded"
    shown = [kubernetes.kubectl, "--kubeconfig", kubernetes.kubeconfig, "-n", namespace, "get", "wfl"]
    header, row = subprocess.run(shown, check=True, capture_output=True, text=True).stdout.splitlines()
    assert header.split() == ["NAME", "READY", "ACTIVE", "LAST", "REVISION", "AGE"]
    assert row.split()[:4] == ["hello", "True", "0", "Succeeded"]
