"""The webhook and the read API, as people meet them through the API server."""

import asyncio
from contextlib import ExitStack
from datetime import UTC, datetime
from uuid import UUID

import pytest
from tests.support.operator import eventually, shop, started
from tests.support.samples import FOLDER
from tests.support.serving import READ, Kubectl, asked, serving, until_ready
from tests.support.stack import fresh_namespace

from leat_engine.errors import Rejected
from leat_engine.job import StepKey
from leat_engine.lines import NewLine
from leat_engine.plan import compile_plan
from leat_engine.spec import parse_workflow
from leat_engine.spec.kinds import load_models
from leat_engine.store import Store, migrate
from leat_operator.serving.answers import Answer

CARD = "4711-0815"


def resource(kind, name, spec):
    return {"apiVersion": "leat.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def workflow(name, *steps, **spec):
    return resource("Workflow", name, {"steps": list(steps), **spec})


def run(name, of, **inputs):
    return resource("WorkflowRun", name, {"workflow": {"name": of}, "inputs": inputs})


BAD = workflow(
    "bad",
    {"name": "one", "http": {"method": "GET", "url": "https://shop.example/${ inputs.nobody }"}},
    {"name": "two", "needs": ["nowhere"], "transform": "x"},
    {"name": "three", "transform": "${ 1 + }"},
)
GOOD = workflow(
    "good",
    {"name": "greet", "transform": "hello ${ inputs.who }"},
    {"name": "pay", "transform": {"with": "${ inputs.card }", "for": "${ steps.greet.output }"}},
    {"name": "refuse", "fail": {"message": "card ${ inputs.card } refused"}},
    inputs={"who": {"type": "string"}, "card": {"type": "string", "sensitive": True, "default": CARD}},
)


@pytest.fixture(scope="module")
def environment(kubernetes, postgres_dsn, amqp_url):
    asyncio.run(migrate(postgres_dsn))
    return {
        "KUBECONFIG": kubernetes.operator_kubeconfig,
        "LEAT_DATABASE_URL": postgres_dsn,
        "LEAT_AMQP_URL": amqp_url,
        "LEAT_NAMESPACE": "leat-system",
        "LEAT_FUNCTIONS": str(FOLDER / "functions.py"),
    }


@pytest.fixture(scope="module")
def kubectl(kubernetes, environment, tmp_path_factory):
    """kubectl, where an operator is asked by the API server, and a runner works."""
    folder = tmp_path_factory.mktemp("serving")
    with ExitStack() as stack:
        server = stack.enter_context(serving(environment, folder))
        kubectl = stack.enter_context(asked(kubernetes, server.port))
        stack.enter_context(started("leat_runner", environment, folder))
        until_ready(server, kubectl)
        yield kubectl


@pytest.fixture
def user(kubernetes, namespace):
    with shop(kubernetes.kubeconfig, namespace) as resources:
        yield resources


def test_a_dry_run_of_a_bad_workflow_says_every_reason(kubectl, namespace):
    with pytest.raises(Rejected) as found:
        compile_plan(parse_workflow(BAD).spec, load_models(), "revision")
    answer = kubectl.apply(namespace, BAD, dry=True)
    assert answer.returncode != 0
    assert len(found.value.reasons) == 3
    for reason in found.value.reasons:
        assert f"* {reason}" in answer.stderr


def test_a_dry_run_of_a_good_workflow_passes_and_leaves_nothing(kubectl, namespace, user):
    answer = kubectl.apply(namespace, GOOD, dry=True)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert user.get("good", "workflows") is None


def test_what_is_odd_is_a_warning(kubectl, namespace):
    odd = workflow(
        "odd", {"name": "a", "transform": "x"}, {"name": "b", "needs": ["a"], "transform": "${ steps.a.error.message }"}
    )
    answer = kubectl.apply(namespace, odd)
    assert answer.returncode == 0
    assert "Warning: spec.steps[1]: reads steps.a.error, which is always null here" in answer.stderr


def test_a_run_may_come_before_its_workflow(kubectl, namespace):
    answer = kubectl.apply(namespace, run("early", "good", who="world"))
    assert answer.returncode == 0
    assert "Warning: spec.workflow.name: Workflow good is not there yet" in answer.stderr


def test_a_run_with_wrong_inputs_is_refused_until_its_workflow_takes_them(kubectl, namespace):
    assert kubectl.apply(namespace, GOOD).returncode == 0
    answer = kubectl.apply(namespace, run("wrong", "good", who=3, what="else"))
    assert answer.returncode != 0
    assert "* spec.inputs.who: " in answer.stderr
    assert "* spec.inputs.what: " in answer.stderr
    assert kubectl.apply(namespace, run("right", "good", who="world")).returncode == 0
    more = {**GOOD, "spec": {**GOOD["spec"], "inputs": {**GOOD["spec"]["inputs"], "what": {"type": "string"}}}}
    both = kubectl.apply(namespace, more, run("more", "good", who="world", what="else"))
    assert both.returncode == 0, both.stderr


def finished(kubectl, namespace, user, name="run"):
    applied = kubectl.apply(namespace, GOOD, run(name, "good", who="world"))
    assert applied.returncode == 0, applied.stderr
    user.until(name, "Failed", 30)


def test_steps_are_read_through_the_api_server_and_show_nothing_sensitive(kubectl, namespace, user):
    finished(kubectl, namespace, user)
    answer = kubectl.read(f"namespaces/{namespace}/workflowruns/run/steps")
    assert (answer["kind"], answer["run"]["phase"], answer["run"]["progress"]) == ("RunSteps", "Failed", "3/3")
    steps = {step["name"]: step for step in answer["steps"]}
    assert list(steps) == ["greet", "pay", "refuse"]
    assert steps["pay"]["needs"] == ["greet"]
    assert steps["pay"]["output"] == {"for": "hello world", "with": "[redacted]"}
    assert steps["refuse"]["state"] == "Failed"
    assert steps["refuse"]["error"]["message"] == "card [redacted] refused"
    assert CARD not in str(answer)


def said(kubectl, namespace, query=""):
    return kubectl.read(f"namespaces/{namespace}/workflowruns/run/log{query}")


async def test_what_steps_said_is_read_line_by_line_and_shows_nothing_sensitive(kubectl, namespace, user, environment):
    finished(kubectl, namespace, user)
    run_id = UUID(kubectl.read(f"namespaces/{namespace}/workflowruns/run/steps")["run"]["id"])
    store = await Store.connect(environment["LEAT_DATABASE_URL"], size=1)
    try:
        at = datetime.now(UTC)
        texts = [(1, 1, "hello"), (2, 1, f"paying by {CARD}"), (2, 2, "paid")]
        runner = await store.register("narrator", "nobodys", 1)
        lines = [NewLine(runner, StepKey(run_id, 0, node), tried, at, "stdout", text) for node, tried, text in texts]
        await store.logs.write(lines)
        await store.retire(runner)
    finally:
        await store.close()
    answer = said(kubectl, namespace)
    assert [(line["step"], line["attempt"], line["text"]) for line in answer["lines"]] == [
        ("greet", 1, "hello"),
        ("pay", 1, "paying by [redacted]"),
        ("pay", 2, "paid"),
    ]
    assert answer["finished"]
    first = said(kubectl, namespace, "?limit=1")
    assert (len(first["lines"]), first["finished"]) == (1, False)
    rest = said(kubectl, namespace, f"?after={first['after']}")
    assert [line["text"] for line in rest["lines"]] == ["paying by [redacted]", "paid"]
    assert said(kubectl, namespace, f"?after={rest['after']}")["lines"] == []
    assert [line["text"] for line in said(kubectl, namespace, "?step=pay&attempt=2")["lines"]] == ["paid"]
    wrong = kubectl("get", "--raw", f"{READ}/namespaces/{namespace}/workflowruns/run/log?step=pays")
    assert "NotFound" in wrong.stderr
    assert "pays" in wrong.stderr


def test_a_pool_that_is_wrong_is_refused_and_one_elsewhere_is_warned_of(kubectl, namespace):
    wrong = resource("RunnerPool", "wrong", {"replicas": {"min": 3, "max": 1}})
    answer = kubectl.apply(namespace, wrong, dry=True)
    assert answer.returncode != 0
    fine = kubectl.apply(namespace, resource("RunnerPool", "fine", {"replicas": {"min": 0, "max": 1}}), dry=True)
    assert fine.returncode == 0, fine.stderr
    assert "only RunnerPools of namespace leat-system get runners" in fine.stderr


def test_a_step_that_no_runner_of_its_pool_can_run_is_warned_of(kubectl, namespace):
    body = workflow("unable", {"name": "a", "function": {"name": "nobody.has.this"}})

    def warned():
        return "pool 'default' cannot run it" in kubectl.apply(namespace, body, dry=True).stderr

    eventually(warned, "the pool has announced what it can do")


def test_steps_of_a_deleted_run_are_still_there(kubectl, namespace, user):
    finished(kubectl, namespace, user)
    user.delete("run")
    assert kubectl.read(f"namespaces/{namespace}/workflowruns/run/steps")["run"]["phase"] == "Failed"


def test_a_name_that_is_used_again_means_the_newer_run(kubectl, namespace, user):
    finished(kubectl, namespace, user)
    first = kubectl.read(f"namespaces/{namespace}/workflowruns/run/steps")["run"]["id"]
    user.delete("run")
    finished(kubectl, namespace, user)
    assert kubectl.read(f"namespaces/{namespace}/workflowruns/run/steps")["run"]["id"] != first


def test_a_long_run_is_read_page_by_page(kubectl, namespace, user):
    names = [f"s{number}" for number in range(250)]
    kubectl.apply(namespace, workflow("long", *({"name": name, "transform": "x"} for name in names)))
    user.run("long", "long")
    user.until("long", "Succeeded", 30)
    found, query = [], "?limit=100"
    for _ in range(3):
        answer = kubectl.read(f"namespaces/{namespace}/workflowruns/long/steps{query}")
        found += [step["name"] for step in answer["steps"]]
        query = f"?limit=100&continue={answer['metadata'].get('continue')}"
    assert found == names
    assert "continue" not in answer["metadata"]
    wrong = kubectl("get", "--raw", f"{READ}/namespaces/{namespace}/workflowruns/long/steps?limit=ten")
    assert "limit: found 'ten', expected a whole number from 0" in wrong.stderr


EACH = workflow(
    "each",
    {
        "name": "charge",
        "forEach": "${ inputs.cards }",
        "tolerate": "all",
        "steps": [
            {"name": "show", "transform": "${ item }"},
            {"name": "refuse", "when": "${ index == 26 }", "fail": {"message": "card ${ item } refused"}},
        ],
    },
    inputs={"cards": {"type": "array", "sensitive": True, "default": [f"{CARD}-{number}" for number in range(30)]}},
)


def test_what_is_inside_of_steps_is_read_and_shows_nothing_sensitive(kubectl, namespace, user):
    assert kubectl.apply(namespace, EACH, run("each", "each")).returncode == 0
    user.until("each", "Succeeded", 30)
    path = f"namespaces/{namespace}/workflowruns/each/steps"
    whole = kubectl.read(path)
    (step,) = whole["steps"]
    assert step["scopes"]["states"] == {"Succeeded": 29, "Failed": 1}
    shown = {scope["index"]: scope for scope in step["scopes"]["shown"]}
    assert (len(shown), shown[26]["state"], shown[26]["label"]) == (20, "Failed", "item 26")
    (one,) = [each for each in kubectl.read(f"{path}?scope=charge%5B26%5D")["steps"] if each["name"] == "refuse"]
    assert one["error"]["message"] == "card [redacted] refused"
    page = kubectl.read(f"{path}?scope=charge&continue=25&limit=3")
    assert [scope["index"] for scope in page["steps"][0]["scopes"]["shown"]] == [25, 26, 27]
    assert page["metadata"]["continue"] == "28"
    assert CARD not in str([whole, one, page])
    wrong = kubectl("get", "--raw", f"{READ}/{path}?scope=charge%5B30%5D")
    assert "found charge[30], but step 'charge' has opened 30 so far" in wrong.stderr


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("workflowruns/nobody/steps", "WorkflowRun nobody is not there"),
        ("workflowruns/nobody/else", "Not Found"),
    ],
)
def test_what_is_not_there_is_named(kubectl, namespace, path, message):
    answer = kubectl("get", "--raw", f"{READ}/namespaces/{namespace}/{path}")
    assert answer.returncode != 0
    assert message in answer.stderr


def test_a_run_that_can_never_begin_says_where_to_look(kubectl, namespace):
    kubectl.apply(namespace, run("early", "nobody"))
    answer = kubectl("get", "--raw", f"{READ}/namespaces/{namespace}/workflowruns/early/steps")
    assert "has not begun, or can never begin: see its status" in answer.stderr


def test_pools_are_listed_with_their_runners(kubectl):
    pools = eventually(lambda: kubectl.read("pools")["items"], "the runner has registered")
    (default,) = (pool for pool in pools if pool["name"] == "default")
    assert default["runners"] == len(default["members"]) == 1
    assert default["slots"] > 0
    assert {"http", "function"} <= set(default["kinds"])
    assert "add-up" in default["functions"]
    assert kubectl.done("get", "pools.read.leat.dev", "-o", "name") == "poolload.read.leat.dev/default\n"


def test_the_read_api_stands_in_discovery_and_disturbs_nothing(kubectl):
    listed = kubectl("api-resources", "--cached=false")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "read.leat.dev/v1alpha1" in listed.stdout
    assert kubectl("get", "workflowruns", "-A").returncode == 0


def grant(kubectl, namespace, user, role="leat-read"):
    kubectl.done("create", "rolebinding", user, "-n", namespace, f"--clusterrole={role}", f"--user={user}")


def test_rights_are_given_by_namespace_and_by_nothing_else(kubectl, kubernetes, namespace, user):
    ann, bob = Kubectl(kubernetes, "ann"), Kubectl(kubernetes, "bob")
    with fresh_namespace(kubernetes) as other, shop(kubernetes.kubeconfig, other) as others:
        for space, resources, who in ((namespace, user, "ann"), (other, others, "bob")):
            finished(kubectl, space, resources)
            grant(kubectl, space, who)
        here, there = (f"namespaces/{space}/workflowruns/run/steps" for space in (namespace, other))
        assert ann.read(here)["run"]["phase"] == "Failed"
        assert bob.read(there)["run"]["phase"] == "Failed"
        for who, path in ((ann, there), (bob, here), (ann, "pools")):
            answer = who("get", "--raw", f"{READ}/{path}")
            assert "forbidden" in answer.stderr.lower(), answer.stderr


def test_errors_are_status_objects():
    assert Answer(429, "too many", retry_after=1).status() == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "too many",
        "reason": "TooManyRequests",
        "details": {"retryAfterSeconds": 1},
        "code": 429,
    }
