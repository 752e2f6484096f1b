"""WorkflowSignals on a real API server: the operator delivers them, and believes what the API server has checked."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
import yaml
from kubernetes.client.exceptions import ApiException
from tests.support.cli import leat as command
from tests.support.operator import eventually

from leat_engine.waits import Delivery, Fate
from leat_operator.cluster import Cluster
from leat_operator.inbox import Inbox
from leat_operator.objects import SIGNALS, Ref
from leat_operator.signals import Deliverer, Patience, Ways, signal_status

if TYPE_CHECKING:
    from leat_engine.queue.port import Queue
    from leat_engine.store import Store
    from leat_operator.patch import Patcher

CONFIG = Path(__file__).parents[2] / "config"
POLICY = CONFIG / "cluster" / "signal-identity.yaml"
DELIVERED, REJECTED = "Delivered", "Rejected"
ROLE = "leat-test-signals"


@pytest.fixture
def kubectl(kubernetes, namespace):
    def call(*arguments, text=""):
        line = [kubernetes.kubectl, "--kubeconfig", kubernetes.kubeconfig, "--namespace", namespace, *arguments]
        done = subprocess.run(line, check=False, input=text, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return call


@pytest.fixture
def person(kubectl, namespace, tmp_path):
    """Somebody who may send signals, by the name that the API server knows them by, and their kubeconfig."""

    def make(name):
        kubectl("create", "serviceaccount", name)
        role = ["--verb=get,list,create", "--resource=workflowsignals.leat.dev,workflowruns.leat.dev"]
        kubectl("create", "role", f"{ROLE}-{name}", *role)
        kubectl("create", "rolebinding", name, f"--role={ROLE}-{name}", f"--serviceaccount={namespace}:{name}")
        content = yaml.safe_load(kubectl("config", "view", "--raw", "--minify", "--flatten", "--output", "yaml"))
        token = kubectl("create", "token", name).strip()
        content["users"] = [{"name": one["name"], "user": {"token": token}} for one in content["users"]]
        path = tmp_path / f"{name}.kubeconfig"
        path.write_text(yaml.safe_dump(content))
        return f"system:serviceaccount:{namespace}:{name}", str(path)

    return make


def _absent(user):
    """Whether a signal that names a wrong sender is taken, as there is no policy."""
    return not _enforced(user)


def _enforced(user):
    """Whether the API server refuses a signal that names a wrong sender."""
    body = signal("nobody", name="probe", by="somebody else")
    body["apiVersion"] = "leat.dev/v1alpha1"
    try:
        user.api.create_namespaced_custom_object(
            "leat.dev", "v1alpha1", user.namespace, "workflowsignals", body, dry_run="All"
        )
    except ApiException as error:
        return "expected your own name" in error.body
    return False


@pytest.fixture
def policy(kubectl, user):
    kubectl("apply", "-f", str(POLICY))
    eventually(lambda: _enforced(user), "the policy holds")
    yield
    kubectl("delete", "-f", str(POLICY))
    eventually(lambda: _absent(user), "the policy is gone")


def signal(run, **spec):
    return {"kind": "WorkflowSignal", "metadata": {"generateName": "s-"}, "spec": {"run": run, **spec}}


def told(user, name, phase):
    """The message of a signal that came to this phase."""

    def look():
        status = user.status(name, "workflowsignals")
        return status if status.get("phase") == phase else None

    try:
        return eventually(look, f"signal {name} is {phase}")["message"]
    except AssertionError as error:
        raise AssertionError(f"{error}; it is {user.status(name, 'workflowsignals')}") from None


def send(user, run, phase=DELIVERED, **spec):
    return told(user, user.apply(signal(run, **spec))["metadata"]["name"], phase)


def waiting(user, name, text):
    eventually(lambda: text in user.status(name).get("message", ""), f"{name} says {text!r}")


@pytest.mark.usefixtures("leat")
def test_a_signal_comes_before_its_run_or_while_it_waits(user):
    user.workflow("order", {"name": "pay", "signal": {"name": "paid"}}, output="${ steps.pay.output.payload.amount }")
    early = user.apply(signal("early", name="paid", payload={"amount": 1}))["metadata"]["name"]
    assert "no run 'early' yet" in told(user, early, "Pending")
    user.run("early", "order")
    assert "paid" in told(user, early, DELIVERED)
    user.run("late", "order")
    waiting(user, "late", "waits for signal 'paid'")
    send(user, "late", name="paid", payload={"amount": 2})
    assert [user.until(name, "Succeeded")["output"] for name in ("early", "late")] == [1, 2]
    assert send(user, "late", REJECTED, name="paid") == "the run has ended: Succeeded"


@pytest.mark.usefixtures("leat")
def test_without_the_policy_no_approval_is_taken_and_no_sender_is_named(user):
    user.workflow("free", {"name": "review", "approval": {}})
    user.run("free", "free")
    waiting(user, "free", "waits for approval 'review'")
    assert "signal-identity.yaml" in send(user, "free", REJECTED, approve=True, by="admin")
    user.patch("free", {"spec": {"cancel": True}})
    user.until("free", "Cancelled")
    user.workflow("named", {"name": "tell", "signal": {"name": "told"}}, output={"by": "${ steps.tell.output.by }"})
    user.run("named", "named")
    send(user, "named", name="told", by="somebody else")
    assert user.until("named", "Succeeded")["output"] == {"by": ""}


@pytest.mark.usefixtures("leat", "policy")
def test_who_approves_is_who_the_api_server_says(user, person):
    ann, config = person("ann")
    _, other = person("bob")
    user.workflow("guarded", {"name": "review", "approval": {"users": [ann]}}, output="${ steps.review.output }")
    user.run("guarded", "guarded")
    waiting(user, "guarded", "waits for approval 'review'")
    with pytest.raises(ApiException, match="expected your own name"):
        user.apply(signal("guarded", approve=True, by=ann))
    namespace = ("--namespace", user.namespace)
    refused = command("approve", "guarded", *namespace, "--kubeconfig", other)
    assert (refused.code, "may not decide about 'review'" in refused.err) == (1, True)
    done = command("approve", "guarded", "review", "-m", "fine", *namespace, "--kubeconfig", config)
    assert (done.code, done.out) == (0, f"delivered: 'review' was approved by {ann}\n"), done.err
    output = user.until("guarded", "Succeeded")["output"]
    assert output == {"approved": True, "by": [ann], "comments": [{"by": ann, "comment": "fine"}]}


@pytest.mark.usefixtures("leat", "policy")
def test_a_group_is_one_that_the_api_server_knows_and_a_signal_never_changes(user, person):
    _, config = person("ann")
    group = f"system:serviceaccounts:{user.namespace}"
    user.workflow("grouped", {"name": "review", "approval": {"groups": [group]}})
    user.run("grouped", "grouped")
    waiting(user, "grouped", "waits for approval 'review'")
    with pytest.raises(ApiException, match="expected groups that you are a member of"):
        user.apply(signal("grouped", approve=True, by="admin", groups=[group]))
    done = command("reject", "grouped", "--namespace", user.namespace, "--kubeconfig", config)
    assert done.code == 0, done.err
    assert user.until("grouped", "Failed")["failures"][0]["reason"] == "Rejected"
    found = user.api.list_namespaced_custom_object("leat.dev", "v1alpha1", user.namespace, "workflowsignals")["items"]
    (sent,) = found
    assert [owner["name"] for owner in sent["metadata"]["ownerReferences"]] == ["grouped"]
    with pytest.raises(ApiException, match="immutable"):
        user.patch(sent["metadata"]["name"], {"spec": {"comment": "another"}}, "workflowsignals")


def test_the_api_server_answers_what_is_no_signal(user):
    for wrong in ({}, {"approve": True}):
        with pytest.raises(ApiException, match="expected `name`"):
            user.apply(signal("order", **wrong))


async def test_signals_that_are_over_and_old_are_deleted_and_no_others(user, kubeconfig, monkeypatch, namespace):
    monkeypatch.setenv("KUBECONFIG", kubeconfig)
    names = [
        user.apply(signal("order", name=name))["metadata"]["name"] for name in ("taken", "refused", "pending", "new")
    ]
    async with Cluster() as cluster:
        for name, fate in zip(names, (Fate.DELIVERED, Fate.REFUSED, Fate.EARLY), strict=False):
            ref = Ref.of(SIGNALS, user.get(name, "workflowsignals"))
            await cluster.patch_status(ref, signal_status(Delivery(fate, "said"), 1, datetime.now(UTC)))
        ways = Ways(cast("Store", None), cast("Queue", None), cluster, cast("Patcher", None))
        assert await Deliverer(Inbox(), ways, Patience(300, 3600, 600), [namespace]).tidy() == 0
        assert await Deliverer(Inbox(), ways, Patience(300, -60, 600), [namespace]).tidy() == 2
    assert [user.get(name, "workflowsignals") is None for name in names] == [True, True, False, False]
