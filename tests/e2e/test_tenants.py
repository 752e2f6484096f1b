"""Somebody with rights in one namespace tries to reach runs of another, through a real API server and operator."""

import asyncio
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml
from tests.support.cli import leat
from tests.support.operator import eventually, shop
from tests.support.serving import READ, read_through
from tests.support.stack import fresh_namespace

from leat_engine.store import migrate

pytestmark = pytest.mark.usefixtures("server")

HIDDEN = "the output of theirs"
PAY = {"name": "pay", "transform": HIDDEN}
WAITS = {"name": "wait", "signal": {"name": "go", "timeout": "1h"}}
ROLE = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "Role",
    "metadata": {"name": "tenant"},
    "rules": [
        {
            "apiGroups": ["leat.dev"],
            "resources": ["workflows", "workflowruns", "workflowsignals", "runnerpools"],
            "verbs": ["*"],
        },
        {"apiGroups": ["leat.dev"], "resources": ["runquotas"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["read.leat.dev"], "resources": ["*"], "verbs": ["*"]},
    ],
}
"""More than `admin` of a namespace: only what its namespace bounds keeps them from others."""


@pytest.fixture(scope="module")
def server(kubernetes, postgres_dsn, amqp_url, tmp_path_factory):
    """An operator that serves the read API, and a runner."""
    asyncio.run(migrate(postgres_dsn))
    environment = {"LEAT_DATABASE_URL": postgres_dsn, "LEAT_AMQP_URL": amqp_url}
    with read_through(kubernetes, environment, tmp_path_factory.mktemp("tenants")) as kubectl:
        yield kubectl


@pytest.fixture
def theirs(kubernetes, kubeconfig):
    """Another tenant, with a run that has ended and one that waits."""
    with ExitStack() as stack:
        user = stack.enter_context(shop(kubeconfig, stack.enter_context(fresh_namespace(kubernetes))))
        user.workflow("order", PAY, output="${ steps.pay.output }")
        user.workflow("slow", WAITS)
        user.run("order-1", "order")
        assert user.until("order-1", "Succeeded", 40)["output"] == HIDDEN
        user.run("slow-1", "slow")
        user.until("slow-1", "Running")
        yield user


@pytest.fixture
def us(kubernetes, namespace, tmp_path):
    """Our kubeconfig: it has rights in our namespace only."""

    def kubectl(*arguments, given=""):
        line = [kubernetes.kubectl, "--kubeconfig", kubernetes.kubeconfig, "--namespace", namespace, *arguments]
        done = subprocess.run(line, check=False, input=given, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    kubectl("create", "serviceaccount", "us")
    kubectl("apply", "-f", "-", given=yaml.safe_dump(ROLE))
    kubectl("create", "rolebinding", "us", "--role=tenant", f"--serviceaccount={namespace}:us")
    content = yaml.safe_load(kubectl("config", "view", "--raw", "--minify", "--flatten", "--output", "yaml"))
    token = kubectl("create", "token", "us").strip()
    content["users"] = [{"name": one["name"], "user": {"token": token}} for one in content["users"]]
    path = tmp_path / "us.kubeconfig"
    path.write_text(yaml.safe_dump(content))
    return Path(path)


@pytest.fixture
def ours(us, namespace):
    """Our namespace, as we handle it."""
    with shop(str(us), namespace) as user:
        yield user


@pytest.fixture
def kubectl(kubernetes, us):
    def call(*arguments, given=""):
        line = [kubernetes.kubectl, "--kubeconfig", str(us), *arguments]
        return subprocess.run(line, check=False, input=given, capture_output=True, text=True, timeout=60)

    return call


def test_a_rerun_of_another_namespaces_run_is_refused_as_if_there_were_none(ours, theirs):
    ours.workflow("order", PAY, output="${ steps.pay.output }")
    ours.run("spy", "order", rerun={"of": "order-1"})
    status = ours.until("spy", "Failed", 40)
    assert f"the store knows no run order-1 of namespace {ours.namespace}" in status["message"]
    ours.run("spy-2", "order", rerun={"of": f"{theirs.namespace}/order-1"})
    assert "the store knows no run" in ours.until("spy-2", "Failed")["message"]


def test_a_workflow_of_another_namespace_is_not_found(ours, theirs):
    ours.run("spy", "slow")
    status = eventually(lambda: ours.status("spy") or None, "it is told", 40)
    assert (status["phase"], status["conditions"][0]["reason"]) == ("Pending", "WorkflowNotFound")
    ours.run("spy-2", f"{theirs.namespace}/slow")
    assert "spec.workflow.name" in ours.until("spy-2", "Failed")["message"]


def test_a_signal_does_not_reach_another_namespaces_run(ours, theirs):
    for name, run in (("one", "slow-1"), ("two", f"{theirs.namespace}/slow-1")):
        spec = {"run": run, "name": "go"}
        ours.apply({"kind": "WorkflowSignal", "metadata": {"name": name}, "spec": spec})
        told = eventually(lambda name=name: ours.status(name, "workflowsignals") or None, "it is told", 40)
        assert (told["phase"], told["message"]) == ("Pending", f"there is no run {run!r} yet")
    assert theirs.status("slow-1")["phase"] == "Running"


def test_the_read_api_tells_nothing_of_another_namespace(ours, theirs, kubectl):
    ours.workflow("order", PAY)
    ours.run("own", "order")
    ours.until("own", "Succeeded", 40)
    own = kubectl("get", "--raw", f"{READ}/namespaces/{ours.namespace}/workflowruns/own/steps")
    assert own.returncode == 0, own.stderr
    for path in ("steps", "log"):
        spied = kubectl("get", "--raw", f"{READ}/namespaces/{theirs.namespace}/workflowruns/order-1/{path}")
        assert spied.returncode != 0
        assert HIDDEN not in spied.stdout + spied.stderr
        assert "forbidden" in spied.stderr.lower()
    through_ours = kubectl("get", "--raw", f"{READ}/namespaces/{ours.namespace}/workflowruns/order-1/steps")
    assert through_ours.returncode != 0
    assert HIDDEN not in through_ours.stdout + through_ours.stderr


@pytest.mark.parametrize("command", [("tree", "order-1"), ("logs", "order-1"), ("get", "run", "order-1"), ("runs",)])
def test_the_command_line_shows_nothing_of_another_namespace(theirs, us, command):
    done = leat(*command, "-n", theirs.namespace, env={"KUBECONFIG": str(us)})
    assert done.code != 0
    assert HIDDEN not in done.out + done.err


@pytest.mark.parametrize("command", [("cancel", "slow-1"), ("suspend", "slow-1"), ("signal", "slow-1", "go")])
def test_the_command_line_steers_nothing_of_another_namespace(theirs, us, command):
    assert leat(*command, "-n", theirs.namespace, env={"KUBECONFIG": str(us)}).code != 0
    assert theirs.status("slow-1")["phase"] == "Running"


def test_a_pool_of_a_tenants_own_namespace_is_told_where_pools_are_made(ours):
    ours.apply({"kind": "RunnerPool", "metadata": {"name": "mine"}, "spec": {}})
    told = eventually(lambda: ours.status("mine", "runnerpools") or None, "the pool is told", 40)
    reasons = {each["reason"] for each in told["conditions"]}
    assert reasons == {"NotInInstallation"}


def test_a_tenant_reads_its_quota_and_does_not_change_it(kubeconfig, theirs, kubectl, namespace):
    with shop(kubeconfig, namespace) as administrator:
        administrator.apply({"kind": "RunQuota", "metadata": {"name": "tenant"}, "spec": {"activeRuns": 1}})
    assert kubectl("get", "runquotas", "-n", namespace).returncode == 0
    for arguments in (
        ("delete", "runquota", "tenant", "-n", namespace),
        ("patch", "runquota", "tenant", "-n", namespace, "--type=merge", "-p", '{"spec":{"activeRuns":9}}'),
        ("get", "runquotas", "-n", theirs.namespace),
    ):
        refused = kubectl(*arguments)
        assert refused.returncode != 0
        assert "forbidden" in refused.stderr.lower()
