"""RunQuotas against a real API server, operator and runners."""

import subprocess
from pathlib import Path

import pytest
import yaml
from tests.support.console import tried
from tests.support.operator import eventually, started

PAGE = Path(__file__).parents[2] / "docs" / "operations" / "tenants.md"
WAIT = {"name": "nap", "wait": {"duration": "1h"}}


def quota(user, name="tenant", **spec):
    return user.apply({"kind": "RunQuota", "metadata": {"name": name}, "spec": spec})


def shown(user, name="tenant"):
    return user.status(name, "runquotas")


def until(user, name="tenant", **wanted):
    """The status of a quota, when it has these figures."""
    return eventually(lambda: wanted.items() <= shown(user, name).items(), f"{name} shows {wanted}", 30, 0.1)


def phases(user):
    return sorted((run.get("status") or {}).get("phase", "") for run in user.runs())


def in_force(user, name="tenant"):
    """Wait until the operator has put the quota."""
    eventually(lambda: shown(user, name), "the quota is in force", 30, 0.1)


@pytest.mark.usefixtures("leat")
def test_runs_over_a_quota_wait_as_pending_and_begin_when_there_is_room(user):
    quota(user, activeRuns=1)
    in_force(user)
    user.workflow("nap", WAIT)
    user.run("first", "nap")
    user.until("first", "Running")
    user.run("second", "nap")
    status = user.until("second", "Pending")
    eventually(lambda: user.status("second")["conditions"][0]["reason"] == "QuotaExceeded", "it says why")
    status = user.status("second")
    assert status["message"] == "Waits for the quota of the namespace. activeRuns: 1 of 1 used"
    assert "startedAt" not in status
    user.patch("first", {"spec": {"cancel": True}})
    user.until("first", "Cancelled")
    user.until("second", "Running")
    until(user, runs="1/1", used={"activeRuns": 1}, hard={"activeRuns": 1}, waiting={"runs": 0, "steps": 0})


@pytest.mark.usefixtures("leat")
def test_a_quota_that_is_raised_lowered_or_deleted_acts_within_seconds(user):
    quota(user, activeRuns=1)
    in_force(user)
    user.workflow("nap", WAIT)
    for number in range(4):
        user.run(f"nap-{number}", "nap")
    eventually(lambda: phases(user) == ["Pending", "Pending", "Pending", "Running"], "one runs", 20, 0.1)
    user.patch("tenant", {"spec": {"activeRuns": 3}}, "runquotas")
    eventually(lambda: phases(user) == ["Pending", "Running", "Running", "Running"], "three run", 20, 0.1)
    quota(user, "stricter", activeRuns=2)
    eventually(lambda: shown(user, "stricter").get("runs") == "3/2", "what runs goes on", 20, 0.1)
    assert shown(user)["runs"] == "3/3"
    user.patch("nap-0", {"spec": {"cancel": True}})
    user.until("nap-0", "Cancelled")
    user.run("late", "nap")
    user.until("late", "Pending")
    user.delete("stricter", "runquotas")
    user.delete("tenant", "runquotas")
    eventually(lambda: phases(user) == ["Cancelled", *["Running"] * 4], "all run", 20, 0.1)


@pytest.mark.usefixtures("leat")
def test_steps_over_a_quota_wait_and_say_for_what(user):
    quota(user, steps=0)
    in_force(user)
    user.workflow("add", {"name": "add", "script": {"shell": "bash", "run": "true"}})
    said = "step add is waiting: quota of the namespace, steps: 0 of 0 used"
    names = (f"add-{number}" for number in range(100))

    def one_waits():  # runners know of it with their next heartbeat
        name = next(names)
        user.run(name, "add")
        try:
            status = eventually(lambda: _told(user.status(name)), "it is told how the run is", 30, 0.1)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {user.status(name)}") from None
        return name if status["message"] == said else None

    waiting = eventually(one_waits, "a step waits", 30)
    assert user.status(waiting)["phase"] == "Running"
    user.patch("tenant", {"spec": {"steps": 1}}, "runquotas")
    user.until(waiting, "Succeeded")


def _told(status):
    """A status that says more than that the run was accepted."""
    return status if status.get("phase") == "Succeeded" or "waiting" in status.get("message", "") else None


@pytest.mark.usefixtures("leat")
def test_kubectl_shows_quotas_as_a_table_and_the_api_server_answers_a_mistake(user, kubernetes):
    quota(user, activeRuns=5, startsPerMinute=60)
    until(user, runs="0/5", starts="0/60")

    def kubectl(*arguments, text=None):
        command = [kubernetes.kubectl, "--kubeconfig", kubernetes.kubeconfig, "--namespace", user.namespace, *arguments]
        return subprocess.run(command, check=False, input=text, capture_output=True, text=True, timeout=60)

    header, row = kubectl("get", "wfq").stdout.splitlines()
    assert header.split() == ["NAME", "RUNS", "STARTS", "STEPS", "WAITING", "READY", "AGE"]
    assert row.split()[:5] == ["tenant", "0/5", "0/60", "0", "True"]
    wrong = '{"apiVersion": "leat.dev/v1alpha1", "kind": "RunQuota", "metadata": {"name": "x"}, "spec": {"steps": -1}}'
    refused = kubectl("apply", "-f", "-", text=wrong)
    assert refused.returncode != 0
    assert "spec.steps" in refused.stderr


def test_a_quota_holds_while_no_operator_is_there_and_a_deletion_that_nobody_saw_is_found(environment, tmp_path, user):
    with started("leat_runner", environment, tmp_path):
        with started("leat_operator", environment, tmp_path) as operator:
            eventually(lambda: operator.ready, "the operator is ready", 40)
            quota(user, activeRuns=1)
            in_force(user)
            user.workflow("nap", WAIT)
            for number in range(2):
                user.run(f"nap-{number}", "nap")
            eventually(lambda: phases(user) == ["Pending", "Running"], "one waits", 20, 0.1)
            operator.end()
        user.delete("tenant", "runquotas")
        with started("leat_operator", environment, tmp_path):
            eventually(lambda: phases(user) == ["Running", "Running"], "both run", 40, 0.1)


@pytest.mark.usefixtures("leat")
def test_the_page_says_what_happens(kubernetes, namespace, tmp_path):
    config = yaml.safe_load(Path(kubernetes.kubeconfig).read_text())
    config["contexts"][0]["context"]["namespace"] = namespace
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    environment = {"KUBECONFIG": str(tmp_path / "kubeconfig"), "PATH": str(Path(kubernetes.kubectl).parent)}
    assert tried(PAGE.read_text(), tmp_path, environment) == 11
