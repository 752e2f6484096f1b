"""The kubectl plugin with the read API: what a user sees of runs, and does to them, with Kubernetes rights alone."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
import yaml
from tests.support.cli import LEAT, leat
from tests.support.console import tried
from tests.support.operator import eventually, shop
from tests.support.samples import FOLDER
from tests.support.serving import read_through

from leat_cli.cluster import ApiServer
from leat_cli.source import Place
from leat_engine.job import StepKey
from leat_engine.lines import NewLine
from leat_engine.store import Store, migrate

pytestmark = pytest.mark.usefixtures("server")

GREET = {"name": "greet", "transform": {"text": "hello ${ inputs.who }"}}
STEPS = (
    GREET,
    {"name": "nap", "needs": ["greet"], "wait": {"duration": "1ms"}},
    {
        "name": "shout",
        "script": {"shell": "bash", "run": "echo loud > $LEAT_OUTPUT", "env": {"X": "${ steps.greet.output.text }"}},
    },
    {"name": "end", "needs": ["nap", "shout"], "transform": "${ steps.shout.output }"},
)
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "kubectl-leat.md"
LONG = {"name": "long", "wait": {"duration": "1h"}}


@pytest.fixture(scope="module")
def server(kubernetes, postgres_dsn, amqp_url, tmp_path_factory):
    """An operator that serves the read API, and a runner."""
    asyncio.run(migrate(postgres_dsn))
    environment = {
        "LEAT_DATABASE_URL": postgres_dsn,
        "LEAT_AMQP_URL": amqp_url,
        "LEAT_FUNCTIONS": str(FOLDER / "functions.py"),
    }
    with read_through(kubernetes, environment, tmp_path_factory.mktemp("read")) as kubectl:
        yield kubectl


@pytest.fixture
def user(kubeconfig, namespace):
    with shop(kubeconfig, namespace) as user:
        user.workflow("hello", *STEPS, inputs={"who": {"type": "string"}})
        user.workflow("slow", GREET, LONG, inputs={"who": {"type": "string"}})
        yield user


@pytest.fixture
def ask(kubeconfig, namespace):
    return lambda *arguments: leat(*arguments, "-n", namespace, env={"KUBECONFIG": kubeconfig})


@pytest.fixture
def hello(user):
    """A run that has succeeded."""
    user.run("hello-1", "hello", inputs={"who": "Ada"})
    user.until("hello-1", "Succeeded", 30)
    return "hello-1"


@pytest.fixture
def slow(user):
    """A run that waits for an hour."""
    user.run("slow-1", "slow", inputs={"who": "Ada"})
    user.until("slow-1", "Running", 30)
    return "slow-1"


def test_the_tree_shows_every_step_below_what_it_needs(ask, hello):
    done = ask("tree", hello)
    assert (done.code, done.err) == (0, "")
    head, headers, *rows = done.out.splitlines()
    assert head.startswith("hello-1  ✓ Succeeded  4/4")
    assert headers.split() == ["STEP", "STATE", "TOOK", "TRIES", "RUNNER"]
    assert [row.split("✓")[0].rstrip() for row in rows] == [
        "└─ greet",
        "   ├─ nap",
        "   └─ shout",
        "      └─ end",
    ]
    assert "needs nap, too" in rows[-1]


def test_the_tree_for_programs_has_every_step_and_who_did_it(ask, hello):
    steps = {step["name"]: step for step in ask("tree", hello, "-o", "json").json["steps"]}
    assert list(steps) == ["greet", "nap", "shout", "end"]
    assert steps["end"]["needs"] == ["nap", "shout"]
    assert steps["shout"]["runner"]
    assert steps["shout"]["output"] == "loud"


def test_a_step_that_is_not_there_is_answered_with_those_that_are(ask, hello):
    done = ask("logs", hello, "--step", "nobody")
    assert (done.code, done.out) == (2, "")
    assert done.err == "found --step 'nobody', expected a step of run hello-1: greet, nap, shout, end\n"


def test_describe_needs_no_database_any_more(ask, hello):
    done = ask("describe", hello)
    assert (done.code, done.err) == (0, "")
    assert 'output: {"text": "hello Ada"}' in done.out


def test_watching_shows_steps_as_they_end(ask, user):
    user.run("hello-2", "hello", inputs={"who": "Ada"})
    done = ask("watch", "hello-2", "-o", "json")
    assert done.code == 0
    assert "hello-2/end: Succeeded" in done.err
    assert set(done.json["steps"]) == {"greet", "nap", "shout", "end"}


def test_a_tree_that_is_watched_ends_with_its_run(ask, slow):
    done = []
    watching = threading.Thread(target=lambda: done.append(ask("tree", slow, "-w")))
    watching.start()
    assert ask("cancel", slow).out == f"workflowrun.leat.dev/{slow} is being cancelled\n"
    watching.join(60)
    (end,) = done
    assert end.code == 1
    assert "⊘ Cancelled" in end.out


def test_a_run_is_suspended_resumed_and_cancelled_and_each_may_be_said_twice(ask, slow):
    for _ in range(2):
        suspended = ask("suspend", slow, "--wait")
        assert (suspended.code, suspended.out.splitlines()[-1]) == (0, f"workflowrun.leat.dev/{slow} Suspended")
    for _ in range(2):
        resumed = ask("resume", slow, "--wait")
        assert (resumed.code, resumed.out.splitlines()[-1]) == (0, f"workflowrun.leat.dev/{slow} Running")
    assert ask("cancel", slow, "--wait").out.splitlines()[-1] == f"workflowrun.leat.dev/{slow} Cancelled"
    again = ask("cancel", slow)
    assert (again.code, again.out) == (0, f"workflowrun.leat.dev/{slow} has ended: Cancelled\n")
    late = ask("suspend", slow)
    assert (late.code, late.err) == (
        2,
        f"workflowrun.leat.dev/{slow} has ended: Cancelled; there is nothing to suspend\n",
    )


def test_runs_are_cancelled_by_label_or_all_and_the_others_are_let_be(ask, user, slow):
    labelled = {"metadata": {"name": "slow-2", "labels": {"shop": "north"}}, "kind": "WorkflowRun"}
    user.apply({**labelled, "spec": {"workflow": {"name": "slow"}, "inputs": {"who": "Bo"}}})
    user.until("slow-2", "Running", 30)
    assert ask("cancel", "-l", "shop=north", "--wait").out.splitlines()[-1].endswith("slow-2 Cancelled")
    assert user.status(slow)["phase"] == "Running"
    refused = ask("cancel", "--all")
    assert (refused.code, "add --yes" in refused.err) == (2, True)
    assert ask("cancel", "--all", "--yes", "--wait").code == 0
    assert user.status(slow)["phase"] == "Cancelled"
    nothing = ask("cancel", "--all")
    assert (nothing.code, "found nothing to cancel" in nothing.err) == (0, True)


def test_one_name_that_is_wrong_does_not_keep_the_others(ask, user, slow):
    done = ask("cancel", "nobody", slow)
    assert (done.code, "found no run 'nobody'" in done.err) == (2, True)
    user.until(slow, "Cancelled")
    assert ask("cancel").code == 2


def test_runs_are_listed_by_phase_and_label_and_by_name_for_kubectl(ask, hello, slow):
    assert ask("runs", "--phase", "running", "-o", "name").out == f"workflowrun.leat.dev/{slow}\n"
    both = ask("runs", "--phase", "Running", "--phase", "Succeeded", "-o", "json").json
    assert {run["name"] for run in both} == {hello, slow}
    nothing = ask("runs", "-l", "shop=south")
    assert (nothing.code, nothing.out, "found nothing" in nothing.err) == (0, "", True)


def test_runs_that_are_watched_are_printed_when_they_change(user, kubeconfig, namespace, slow, request):
    # A child inherits that an interrupt is ignored, as it is where tests run in the background.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    argv = [*LEAT, "runs", "-w", "-o", "name", "-n", namespace]
    environment = {**os.environ, "KUBECONFIG": kubeconfig}
    with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watching:
        assert watching.stdout
        assert watching.stdout.readline() == f"workflowrun.leat.dev/{slow}\n"
        user.run("hello-3", "hello", inputs={"who": "Ada"})
        assert watching.stdout.readline() == "workflowrun.leat.dev/hello-3\n"
        watching.send_signal(signal.SIGINT)
        assert watching.wait(30) == 130


async def test_a_watch_that_the_api_server_ends_is_at_its_end(kubeconfig, namespace, slow):
    server = ApiServer.connect(Place(kubeconfig=kubeconfig))
    path = f"/apis/leat.dev/v1alpha1/namespaces/{namespace}/workflowruns"
    async with server.watch(path, {"timeoutSeconds": 1}, 30) as events:
        found = [event["object"]["metadata"]["name"] async for event in events]
    await server.close()
    assert found == [slow]


def test_top_shows_pools_and_the_runs_that_have_not_ended(ask, hello, slow):
    def busy():
        board = ask("top", "-o", "json").json
        return board if board["pools"] else None

    board = eventually(busy, "the runner is seen")
    assert [run["name"] for run in board["runs"]] == [slow]
    (pool,) = [pool for pool in board["pools"] if pool["name"] == "default"]
    assert pool["runners"] == 1
    shown = ask("top", "--once")
    assert shown.code == 0
    assert shown.out.startswith("POOL")
    assert slow in shown.out
    assert hello not in shown.out


@pytest.fixture
def stranger(server, kubernetes, namespace, tmp_path):
    """A kubeconfig of somebody who may read and change runs, but not what the read API knows of them."""
    kubectl = server
    kubectl.done("create", "serviceaccount", "stranger", "-n", namespace)
    kubectl.done(
        "create",
        "role",
        "reader",
        "--verb=get,list",
        "--resource=workflowruns.leat.dev,workflows.leat.dev",
        "-n",
        namespace,
    )
    kubectl.done(
        "create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={namespace}:stranger", "-n", namespace
    )
    config = yaml.safe_load(Path(kubernetes.kubeconfig).read_text())
    config["users"][0]["user"] = {"token": kubectl.done("create", "token", "stranger", "-n", namespace).strip()}
    path = tmp_path / "stranger.yaml"
    path.write_text(yaml.safe_dump(config))
    return str(path)


def test_without_the_right_the_status_is_shown_and_the_right_is_named(stranger, namespace, hello, slow):
    done = leat("tree", hello, "-n", namespace, "--kubeconfig", stranger)
    assert (done.code, done.out.startswith("hello-1  ✓ Succeeded  4/4")) == (0, True)
    assert "apiGroups [read.leat.dev], resources [workflowruns/steps], verbs [get]" in done.err
    refused = leat("cancel", slow, "-n", namespace, "--kubeconfig", stranger)
    assert refused.code == 3
    assert 'cannot patch resource "workflowruns"' in refused.err
    top = leat("top", "--once", "-n", namespace, "--kubeconfig", stranger)
    assert (top.code, slow in top.out) == (0, True)
    assert "resources [pools], verbs [list]" in top.err
    assert leat("logs", hello, "-s", "greet", "-n", namespace, "--kubeconfig", stranger).code == 3
    logs = leat("logs", hello, "-n", namespace, "--kubeconfig", stranger)
    assert (logs.code, logs.out) == (3, "")


@pytest.fixture
def complete(kubernetes, kubeconfig):
    """What kubectl's own completion offers after `kubectl leat`."""
    path = os.pathsep.join([str(Path(sys.executable).parent), str(Path(kubernetes.kubectl).parent), os.environ["PATH"]])

    def complete(*words):
        argv = [kubernetes.kubectl, "__complete", "leat", *words]
        environment = {**os.environ, "KUBECONFIG": kubeconfig, "PATH": path}
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True)
        return [line.split("\t")[0] for line in done.stdout.splitlines()]

    return complete


def test_kubectl_completes_commands_runs_steps_and_namespaces(complete, namespace, hello, slow):
    assert {"runs", "tree", "logs", "cancel", "top"} <= set(complete(""))
    assert complete("tree", "-n", namespace, "") == [hello, slow, ":4"]
    assert complete("cancel", "-n", namespace, hello, "") == [slow, ":4"]
    assert complete("logs", "-n", namespace, hello, "--step", "s") == ["shout", ":4"]
    assert complete("runs", "-n", namespace[:-3]) == [namespace, ":4"]
    assert complete("get", "-n", namespace, "workflows", "h") == ["hello", ":4"]


def test_the_page_about_the_plugin_says_what_happens(kubernetes, namespace, tmp_path):
    config = yaml.safe_load(Path(kubernetes.kubeconfig).read_text())
    config["contexts"][0]["context"]["namespace"] = namespace
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    environment = {"KUBECONFIG": str(tmp_path / "kubeconfig"), "PATH": str(Path(kubernetes.kubectl).parent)}
    assert tried(PAGE.read_text(), tmp_path, environment) == 10


def test_a_completion_is_silent_where_no_cluster_answers(complete):
    assert complete("tree", "--kubeconfig", "/nonexistent", "") == [":4"]


def test_logs_are_followed_to_the_end_and_read_by_step(ask, user, slow, postgres_dsn):
    run_id = UUID(user.status(slow)["runId"])
    ends = []
    following = threading.Thread(target=lambda: ends.append(ask("logs", slow, "-f")))
    following.start()
    asyncio.run(say(postgres_dsn, run_id, 1, "line 1", "line 2"))
    asyncio.run(say(postgres_dsn, run_id, 2, "[bold]hush"))
    ask("cancel", slow, "--wait")
    following.join(60)
    (followed,) = ends
    assert (followed.code, followed.err) == (0, "")
    assert followed.out == "[greet] line 1\n[greet] line 2\n[long] [bold]hush\n"
    assert ask("logs", slow, "-s", "greet").out == "line 1\nline 2\n"
    assert ask("logs", slow, "--tail", "2", "--no-prefix").out == "line 2\n[bold]hush\n"
    assert ask("logs", slow, "-s", "greet", "--attempt", "2").out == ""


async def say(dsn, run_id, step, *texts):
    """Write lines as a runner does."""
    store = await Store.connect(dsn, size=1)
    key = StepKey(run_id, 0, step)
    runner = await store.register("narrator", "nobodys", 1)
    await store.logs.write([NewLine(runner, key, 1, datetime.now(UTC), "stdout", text) for text in texts])
    await store.close()


@pytest.mark.usefixtures("hello")
def test_history_of_a_cluster_says_how_long_a_run_takes(ask, namespace, tmp_path):
    spec = {"inputs": {"who": {"type": "string"}}, "steps": list(STEPS)}
    document = {"apiVersion": "leat.dev/v1alpha1", "kind": "Workflow", "metadata": {"name": "hello"}, "spec": spec}
    file = tmp_path / "hello.yaml"
    file.write_text(yaml.safe_dump(document))

    def simulated():
        done = ask("simulate", str(file), "--from-history", "-i", "who=Ada", "-o", "json")
        if done.code == 2:
            assert f"no run of 'hello' in namespace {namespace!r} of the cluster has ended lately" in done.err
            return None
        assert done.code == 0, done.err
        return done.json

    found = eventually(simulated, "a run of it was learned from", 90, every=1.0)
    assert found["seconds"]["p50"] > 0
    assert found["criticalPath"][0]["step"] in {"shout", "nap"}


@pytest.mark.usefixtures("hello")
def test_revisions_are_listed_with_what_differs_also_those_without_runs(user, ask):
    user.patch("hello", {"spec": {"inputs": {"greeting": {"default": "hello"}}}}, "workflows")
    newest, first = revisions(ask, "hello", 2)
    assert (newest["active"], newest["finished"], first["finished"]) == (0, 0, 1)
    done = ask("revisions", "hello", "--diff", first["revision"], newest["revision"])
    assert "+  greeting:" in done.out.splitlines(), done.err
    assert first["revision"] in ask("revisions", "hello").out
    nobody = ask("revisions", "hello", "--diff", first["revision"], "0000")
    assert (nobody.code, "found no revision 0000 of workflow 'hello'" in nobody.err) == (2, True)


def test_revisions_are_for_those_who_may_read_them(server, namespace):
    path = f"/apis/read.leat.dev/v1alpha1/namespaces/{namespace}/workflows/hello/revisions"
    assert 'cannot get resource "workflows/revisions"' in server("get", "--raw", path, "--as", "nobody").stderr


def test_a_run_is_migrated_by_its_resource_or_told_every_reason(user, ask, slow):
    user.until(slow, "Running", 30)
    eventually(lambda: user.status(slow)["steps"]["succeeded"] == 1, "greet is over", 30)
    late = {"name": "late", "needs": ["long"], "transform": 1}
    user.patch("slow", {"spec": {"steps": [GREET, {**LONG, "needs": ["greet"]}, late]}}, "workflows")
    longer, first = revisions(ask, "slow", 2)
    user.patch("slow", {"spec": {"steps": [LONG]}}, "workflows")
    shorter, *_ = revisions(ask, "slow", 3)

    refused = ask("migrate", slow, "--to", shorter["revision"])
    assert refused.code == 2
    assert f"{slow}: {shorter['revision']}: spec.steps[0]: step 'greet' has ended Succeeded, and is not" in refused.err
    status = user.status(slow)
    assert (status["revision"], migrated(status)["reason"]) == (first["revision"], "Incompatible")
    unknown = ask("migrate", slow, "--to", "0123456789abcdef")
    assert "Workflow slow has had no revision 0123456789abcdef: `kubectl leat revisions slow`" in unknown.err

    done = ask("migrate", "--workflow", "slow", "--from", first["revision"], "--to", longer["revision"])
    assert (done.code, done.out) == (0, f"workflowrun.leat.dev/{slow} goes on by {longer['revision']}\n"), done.err
    status = user.until(slow, "Running", 30)
    assert (migrated(status)["status"], status["progress"]) == ("True", "1/3")
    assert {each["revision"]: each["active"] for each in revisions(ask, "slow", 3)} == {
        shorter["revision"]: 0,
        longer["revision"]: 1,
        first["revision"]: 0,
    }
    user.patch(slow, {"spec": {"cancel": True}})
    user.until(slow, "Cancelled", 30)


def test_a_new_run_takes_the_revision_that_is_there(user):
    user.run("other-1", "hello", inputs={"who": "Ada"}, revision="0123456789abcdef")
    status = user.until("other-1", "Failed", 30)
    assert "spec.revision: a run begins by the revision that is there" in status["message"]


def revisions(ask, workflow, count):
    """What the read API says of a workflow, once there are so many."""

    found = []

    def look():
        found[:] = ask("revisions", workflow, "-o", "json").json
        return len(found) == count

    try:
        eventually(look, f"{count} revisions of {workflow}", 30)
    except AssertionError as error:
        raise AssertionError(f"{error}: {found}") from error
    return found


def migrated(status):
    return next(condition for condition in status["conditions"] if condition["type"] == "Migrated")
