"""Runs that go on from others, and runs that are put before others, on a real API server."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from kubernetes.client.exceptions import ApiException
from tests.support.cli import leat
from tests.support.console import tried
from tests.support.operator import eventually, shop
from tests.support.samples import FOLDER
from tests.support.serving import read_through

from leat_engine.store import Store, migrate

pytestmark = pytest.mark.usefixtures("server")

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "rerun.md"
RESERVE = {"name": "reserve", "transform": "reserved for ${ inputs.id }"}
CHARGE = {"name": "charge", "needs": ["reserve"], "transform": "${ inputs.ok ? 'paid' : ['paid'][5] }"}
SEND = {"name": "send", "transform": "${ steps.reserve.output }, ${ steps.charge.output }"}
INPUTS = {"id": {"type": "string"}, "ok": {"type": "boolean", "default": False}}


@pytest.fixture(scope="module")
def server(kubernetes, postgres_dsn, amqp_url, tmp_path_factory):
    """An operator that serves the read API, and a runner."""
    asyncio.run(migrate(postgres_dsn))
    environment = {"LEAT_DATABASE_URL": postgres_dsn, "LEAT_AMQP_URL": amqp_url}
    with read_through(kubernetes, environment, tmp_path_factory.mktemp("rerun")) as kubectl:
        yield kubectl


@pytest.fixture
def user(kubeconfig, namespace):
    with shop(kubeconfig, namespace) as user:
        user.workflow("order", RESERVE, CHARGE, SEND, inputs=INPUTS, output="${ steps.send.output }")
        yield user


@pytest.fixture
def failed(user):
    """A run that has failed."""
    user.run("order-1", "order", inputs={"id": "A-17"})
    user.until("order-1", "Failed")
    return "order-1"


@pytest.fixture
def ask(kubeconfig, namespace):
    return lambda *arguments: leat(*arguments, "-n", namespace, env={"KUBECONFIG": kubeconfig})


def test_the_sample_is_gone_on_with_as_it_says(user, ask):
    workflow, _ = yaml.safe_load_all((FOLDER / "rerun.yaml").read_text())
    spec = workflow["spec"]
    user.workflow("rerun", *spec["steps"], inputs=spec["inputs"], output=spec["output"])
    user.run("rerun", "rerun")
    user.until("rerun", "Failed")
    again = ask("rerun", "rerun", "--set", "limit=100", "--wait")
    assert (again.code, "Succeeded" in again.out) == (0, True)


def test_a_run_goes_on_from_a_failed_one_by_its_revision_and_shows_what_it_kept(user, failed, ask):
    user.patch("order", {"spec": {"output": "changed"}}, "workflows")
    user.run("order-2", "order", rerun={"of": failed}, inputs={"ok": True})
    status = user.until("order-2", "Succeeded")
    assert (status["output"], status["rerunOf"], status["progress"]) == ("reserved for A-17, paid", failed, "3/3")
    assert status["revision"] == user.status(failed)["revision"]
    tree = ask("tree", "order-2").out
    assert "rerun of order-1" in tree.splitlines()[0]
    assert [line.split()[1] for line in tree.splitlines() if "kept" in line] == ["reserve"]
    assert ask("get", "run", "order-2", "-o", "json").json["rerunOf"] == failed


def test_the_old_resource_may_be_gone(user, failed):
    user.delete(failed)
    eventually(lambda: user.get(failed) is None, "it is gone")
    user.run("order-2", "order", rerun={"of": failed, "from": ["reserve"]}, inputs={"ok": True, "id": "B-1"})
    assert user.until("order-2", "Succeeded")["output"] == "reserved for B-1, paid"


@pytest.mark.parametrize(
    ("workflow", "spec", "message"),
    [
        ("order", {"rerun": {"of": "nobody"}}, "spec.rerun.of: the store knows no run nobody of namespace"),
        (
            "order",
            {"rerun": {"of": "order-1", "from": "chrage"}},
            "spec.rerun.from: there is no step 'chrage'",
        ),
        ("order", {"rerun": {"of": "order-1"}, "inputs": {"ok": 5}}, "spec.inputs.ok: "),
        ("refund", {"rerun": {"of": "order-1"}}, "spec.workflow.name: found 'refund', but run order-1 is of 'order'"),
    ],
)
def test_what_cannot_go_on_fails_at_once_and_says_why(user, failed, workflow, spec, message):
    user.run("order-2", workflow, **spec)
    status = user.until("order-2", "Failed")
    assert message in status["message"]
    assert status["reason"] == "Rejected"
    assert user.status(failed)["reason"] == "Expression"


def test_what_a_run_goes_on_from_cannot_be_changed(user, failed):
    user.run("order-2", "order", rerun={"of": failed})
    for change in ({"of": "other"}, None):
        with pytest.raises(ApiException, match="the spec of a run is immutable"):
            user.patch("order-2", {"spec": {"rerun": change}})


def test_the_command_waits_for_the_new_run_and_refuses_one_that_has_not_ended(user, failed, ask):
    done = ask("rerun", failed, "--set", "ok=true", "--wait")
    assert (done.code, done.out.splitlines()[-1].endswith("Succeeded")) == (0, True), done.err
    assert ask("rerun", failed, "--wait").code == 1
    user.workflow("slow", {"name": "long", "wait": {"duration": "1h"}})
    user.run("slow-1", "slow")
    refused = ask("rerun", "slow-1")
    assert refused.code == 2
    assert "expected one that has ended" in refused.err
    wrong = ask("rerun", failed, "--set", "ok=maybe")
    assert (wrong.code, "--set ok: found 'maybe', expected JSON of type boolean" in wrong.err) == (2, True)


def test_failed_runs_are_redriven_once_however_often_and_by_how_many_it_is_said(user, failed, ask):
    for number in (2, 3):
        user.run(f"order-{number}", "order", inputs={"id": "A-17"})
        user.until(f"order-{number}", "Failed")
    said = ("redrive", "--workflow", "order", "--since", "1h", "--set", "ok=true")
    planned = ask(*said, "--dry-run", "-o", "json")
    assert [(each["run"], each["state"]) for each in planned.json] == [
        (failed, "planned"), ("order-2", "planned"), ("order-3", "planned")]  # fmt: skip
    assert len(user.runs()) == 3
    first = ask(*said, "--limit", "2", "-o", "json")
    assert [each["state"] for each in first.json] == ["created", "created", "left"]
    assert "2 created, 1 left for another time (--limit 2)" in first.err
    assert [each["state"] for each in ask(*said, "-o", "json").json] == ["there", "there", "created"]
    names = [each["rerun"] for each in planned.json]
    for name in names:
        assert user.until(name, "Succeeded")["output"] == "reserved for A-17, paid"
    assert ask(*said).err == "3 there already\n"
    assert len(user.runs()) == 6
    other = ask("redrive", "--workflow", "order", "--since", "1h", "--reason", "RunnerLost")
    assert (other.code, other.err) == (0, "found no failed run of order that is meant\n")


@pytest.mark.usefixtures("failed")
def test_two_who_redrive_at_once_make_one_successor_of_each(user, ask):
    for number in range(2, 7):
        user.run(f"order-{number}", "order", inputs={"id": "A-17"})
    for number in range(2, 7):
        user.until(f"order-{number}", "Failed")
    with ThreadPoolExecutor(2) as both:
        said = ("redrive", "--workflow", "order", "--since", "1h", "--set", "ok=true", "-o", "json")
        one, other = both.map(lambda _: ask(*said), range(2))
    pairs = list(zip(one.json, other.json, strict=True))
    assert [a["rerun"] for a, _ in pairs] == [b["rerun"] for _, b in pairs]
    assert [sorted((a["state"], b["state"])) for a, b in pairs] == [["created", "there"]] * 6
    assert len(user.runs()) == 12


def test_a_run_that_brings_its_own_workflow_is_run_again_with_it(user, ask):
    inline = {"steps": [RESERVE, CHARGE, SEND], "inputs": INPUTS, "output": "${ steps.send.output }"}
    body = {"kind": "WorkflowRun", "metadata": {"name": "own"}, "spec": {"inline": inline, "inputs": {"id": "C-3"}}}
    user.apply(body)
    user.until("own", "Failed")
    done = ask("rerun", "own", "--set", "ok=true", "--from", "charge", "--wait", "-o", "json")
    assert (done.code, done.json["phase"], done.json["rerunOf"]) == (0, "Succeeded", "own")
    assert user.status(done.json["name"])["output"] == "reserved for C-3, paid"


def test_runs_are_selected_by_why_they_failed(failed, ask):
    assert ask("runs", "--reason", "Expression", "-o", "name").out == f"workflowrun.leat.dev/{failed}\n"
    assert ask("runs", "--poisoned", "-o", "name").out == ""


def test_a_changed_priority_is_the_runs(user, postgres_dsn, namespace):
    user.workflow("elsewhere", {"name": "one", "pool": "nobody", "transform": 1, "when": True},
                  {"name": "two", "pool": "nobody", "wait": {"duration": "1h"}})  # fmt: skip
    user.run("later", "elsewhere", priority=2)
    user.until("later", "Pending")
    user.patch("later", {"spec": {"priority": 9}})

    async def asked():
        store = await Store.connect(postgres_dsn, size=1)
        try:
            run = await store.find_run(namespace, "later")
            return run is not None and run.priority == 9
        finally:
            await store.close()

    eventually(lambda: asyncio.run(asked()), "the store has the priority")


def test_the_page_says_what_happens(kubernetes, namespace, tmp_path):
    config = yaml.safe_load(Path(kubernetes.kubeconfig).read_text())
    config["contexts"][0]["context"]["namespace"] = namespace
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    environment = {"KUBECONFIG": str(tmp_path / "kubeconfig"), "PATH": str(Path(kubernetes.kubectl).parent)}
    assert tried(PAGE.read_text(), tmp_path, environment) == 8
