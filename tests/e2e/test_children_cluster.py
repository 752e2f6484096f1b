"""Child runs on a real API server: the operator keeps the Workflows that runners find, and people see the children."""

import asyncio
from pathlib import Path

import pytest
import yaml
from tests.support.cli import leat
from tests.support.console import tried
from tests.support.operator import eventually, shop
from tests.support.serving import read_through

from leat_engine.store import migrate

pytestmark = pytest.mark.usefixtures("server")

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "child-runs.md"
NAP = {"name": "nap", "wait": {"duration": "1h"}}
GREET = {"name": "greet", "transform": "hello ${ inputs.who }"}
INPUTS = {"who": {"type": "string"}}


@pytest.fixture(scope="module")
def server(kubernetes, postgres_dsn, amqp_url, tmp_path_factory):
    """An operator that serves the read API, and a runner."""
    asyncio.run(migrate(postgres_dsn))
    environment = {"LEAT_DATABASE_URL": postgres_dsn, "LEAT_AMQP_URL": amqp_url}
    with read_through(kubernetes, environment, tmp_path_factory.mktemp("children")) as kubectl:
        yield kubectl


@pytest.fixture
def user(kubeconfig, namespace):
    with shop(kubeconfig, namespace) as user:
        user.workflow("hello", GREET, inputs=INPUTS, output="${ steps.greet.output }")
        user.workflow("slow", NAP)
        yield user


@pytest.fixture
def ask(kubeconfig, namespace):
    return lambda *arguments: leat(*arguments, "-n", namespace, env={"KUBECONFIG": kubeconfig})


def call(name, **inputs):
    return {"name": "call", "workflow": {"name": name, "inputs": inputs}}


def test_the_page_about_child_runs_does_what_it_says(kubernetes, namespace, tmp_path):
    config = yaml.safe_load(Path(kubernetes.kubeconfig).read_text())
    config["contexts"][0]["context"]["namespace"] = namespace
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    environment = {"KUBECONFIG": str(tmp_path / "kubeconfig"), "PATH": str(Path(kubernetes.kubectl).parent)}
    assert tried(PAGE.read_text(), tmp_path, environment) == 4


def test_people_see_children_below_their_step_and_the_parent_of_a_child(user, ask):
    user.workflow("parent", call("slow"))
    user.run("parent-1", "parent")

    def child():
        (step,) = ask("tree", "parent-1", "-o", "json").json["steps"] or [{}]
        return (step.get("children") or [None])[0]

    found = eventually(child, "it has a child", 30)
    assert (found["workflow"], found["phase"], found["progress"]) == ("slow", "Running", "0/1")
    assert f"» {found['name']}" in ask("tree", "parent-1").out
    eventually(
        lambda: user.status("parent-1").get("message") == f"step call is waiting: waits for run {found['name']}",
        "the status says for what it waits",
    )
    described = ask("describe", found["name"])
    assert described.code == 0, described.err
    assert "Parent:     parent-1\n" in described.out
    assert "child of parent-1" in ask("tree", found["name"]).out
    user.patch("parent-1", {"spec": {"cancel": True}})
    user.until("parent-1", "Cancelled")
    eventually(lambda: child()["phase"] == "Cancelled", "the child is cancelled, too")


def test_a_child_is_of_the_newest_revision_and_a_workflow_that_is_gone_is_not_found(user):
    user.workflow("parent", call("hello", who="Ada"), output="${ steps.call.output }")
    user.run("first", "parent")
    assert user.until("first", "Succeeded", 30)["output"] == "hello Ada"
    changed = user.patch("hello", {"spec": {"output": "changed"}}, "workflows")["metadata"]["generation"]
    eventually(lambda: user.status("hello", "workflows").get("observedGeneration") == changed, "it is taken in")
    user.run("second", "parent")
    assert user.until("second", "Succeeded")["output"] == "changed"
    user.delete("hello", "workflows")
    user.run("third", "parent")
    eventually(
        lambda: "waits for Workflow hello, which is not there" in user.status("third").get("message", ""),
        "it says what it waits for",
    )
