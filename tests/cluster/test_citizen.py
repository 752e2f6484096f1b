"""What users have of an installation: the webhook, `kubectl leat`, secrets and containers, by pods and their rights."""

import asyncio
import json
import secrets
from hashlib import sha256
from typing import Any

import pytest
import yaml
from tests.support.installation import GRANTED, OPERATOR
from tests.support.ledger import a_run
from tests.support.operator import eventually
from tests.support.people import person
from tests.support.scan import Findings, resources, tables

CANARY = "canary-" + secrets.token_hex(8)
"""No secret: where it is not found, nobody has looked."""
TOKEN, NEXT_TOKEN = "first-" + secrets.token_urlsafe(18), "second-" + secrets.token_urlsafe(18)
RUNNERS = f"leat.dev/pool={GRANTED}"


def a_workflow(name: str, *steps: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """A Workflow for the pool that has been granted something."""
    body = {"pool": GRANTED, "steps": list(steps), **spec}
    return {"apiVersion": "leat.dev/v1alpha1", "kind": "Workflow", "metadata": {"name": name}, "spec": body}


@pytest.fixture(scope="module")
def reader(installation, tmp_path_factory):
    """Somebody with the chart's role of those who look, in the namespace of tests and nowhere else."""
    return person(installation, "reader", tmp_path_factory.mktemp("reader"), f"{installation.fullname}-view")


@pytest.fixture(scope="module")
def stranger(installation, tmp_path_factory):
    """Somebody without rights."""
    return person(installation, "stranger", tmp_path_factory.mktemp("stranger"))


def ended(installation, name, workflow):
    """The status of a new run at its end."""
    installation.create(a_run(name, workflow))
    return installation.ended({name})[0]["status"]


# -- the webhook ------------------------------------------------------------------------------------------------------


def test_a_dry_run_of_a_bad_workflow_tells_every_reason_with_its_place(installation):
    bad = a_workflow(
        "bad",
        {"name": "one", "http": {"url": "http://x/${ inputs.nobody }"}},
        {"name": "two", "needs": ["nowhere"], "transform": 1},
    )
    dry = ("apply", "--dry-run=server", "--filename", "-")

    def refused() -> str | None:
        said = installation.kubectl(*dry, namespace=installation.work, stdin=yaml.safe_dump(bad), check=False)
        return said if "is invalid" in said else None

    reasons = eventually(refused, "the webhook refuses", 60)
    assert "spec.steps[0].http.url: ${ inputs.nobody }: there is no input 'nobody'" in reasons
    assert "spec.steps[1].needs[0]: there is no step 'nowhere'" in reasons
    good = a_workflow("good", {"name": "one", "transform": 1})
    assert "created (server dry run)" in installation.kubectl(
        *dry, namespace=installation.work, stdin=yaml.safe_dump(good)
    )


# -- kubectl leat -----------------------------------------------------------------------------------------------------

SPEAK = 'for number in 1 2 3; do echo "line $number of $NAME"; sleep 0.5; done; echo 42 > "$LEAT_OUTPUT"'


@pytest.fixture(scope="module")
def spoken(installation):
    """A run that speaks and goes on for a while."""
    steps = [
        {"name": name, "needs": needs, "script": {"shell": "bash", "run": SPEAK, "env": {"NAME": name}}}
        for name, needs in (("hum", []), ("sing", ["hum"]))
    ]
    installation.apply(a_workflow("speaker", *steps))
    installation.create(a_run("speaker-1", "speaker"))
    return "speaker-1"


def test_somebody_who_may_look_follows_the_lines_of_a_runner_pod_to_the_end_of_the_run(reader, spoken):
    done = reader.leat("logs", "-f", spoken)
    assert done.returncode == 0, done.stderr
    expected = [f"[{step}] line {number} of {step}" for step in ("hum", "sing") for number in (1, 2, 3)]
    assert done.stdout.splitlines() == expected


def test_somebody_who_may_look_sees_the_steps_and_which_pod_did_them(installation, reader, spoken):
    installation.ended({spoken})
    done = reader.leat("tree", spoken)
    assert (done.returncode, done.stderr) == (0, "")
    for step in ("hum", "sing"):
        assert step in done.stdout
    (pod,) = [one["metadata"]["name"] for one in installation.pods(RUNNERS)]
    path = f"/apis/read.leat.dev/v1alpha1/namespaces/{installation.work}/workflowruns/{spoken}/steps"
    steps = json.loads(reader.kubectl("get", "--raw", path).stdout)["steps"]
    assert [(step["name"], step["state"], pod in step["runner"]) for step in steps] == [
        ("hum", "Succeeded", True),
        ("sing", "Succeeded", True),
    ]


def test_somebody_without_rights_sees_nothing_and_is_told_so(installation, reader, stranger, spoken):
    for command in ("logs", "tree"):
        refused = stranger.leat(command, spoken)
        assert refused.returncode != 0
        assert "line 1" not in refused.stdout
        assert "forbidden" in refused.stderr.lower() or "may not" in refused.stderr
    for what in ("steps", "log"):
        path = f"/apis/read.leat.dev/v1alpha1/namespaces/{installation.work}/workflowruns/{spoken}/{what}"
        assert "Forbidden" in stranger.kubectl("get", "--raw", path).stderr
        assert "Forbidden" in reader.kubectl("get", "--raw", path.replace(installation.work, "default")).stderr
    assert "Forbidden" in reader.kubectl("get", "--raw", "/apis/read.leat.dev/v1alpha1/pools").stderr


def test_the_board_shows_the_pools_to_whoever_runs_the_installation(installation, tmp_path):
    ann = person(installation, "ann", tmp_path, f"{installation.fullname}-view")
    role = f"{installation.fullname}-pools"
    subject = f"--serviceaccount={installation.work}:ann"
    installation.kubectl("create", "clusterrolebinding", role, f"--clusterrole={role}", subject)
    try:
        done = ann.leat("top", "--once")
    finally:
        installation.kubectl("delete", "clusterrolebinding", role)
    assert done.returncode == 0, done.stderr
    assert GRANTED in done.stdout


def test_who_administers_a_namespace_looks_at_its_quotas_and_sets_none(installation, tmp_path):
    eve = person(installation, "eve", tmp_path, "admin")
    assert eve.kubectl("auth", "can-i", "list", "runquotas.leat.dev").stdout.strip() == "yes"
    for verb in ("create", "update", "patch", "delete"):
        assert eve.kubectl("auth", "can-i", verb, "runquotas.leat.dev").stdout.strip() == "no", verb


# -- secrets ----------------------------------------------------------------------------------------------------------


def keep(installation, name, value, *, label=True):
    """Create or replace a Secret."""
    labels = {"leat.dev/secret": "true"} if label else {}
    metadata = {"name": name, "labels": labels}
    installation.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"token": value}})


def digest(value):
    return sha256(value.encode()).hexdigest()


PRINT = """
echo "$CANARY"; echo "the token is $TOKEN"; echo "the token is $TOKEN" >&2; printf %s "$TOKEN" | base64
SHA=$(printf %s "$TOKEN" | sha256sum | cut -c1-64)
printf '{"sha": "%s", "token": "%s", "canary": "%s"}' "$SHA" "$TOKEN" "$CANARY" > "$LEAT_OUTPUT"
"""


def uses(name: str) -> dict[str, Any]:
    """A step that prints a secret, returns it, and tells by its digest that it had it."""
    env = {"CANARY": CANARY, "TOKEN": f"${{ secret('{name}', 'token') }}"}
    return {"name": "use", "script": {"shell": "bash", "run": PRINT, "env": env}}


@pytest.fixture(scope="module")
def paid(installation):
    """The status of a run that has used the Secret."""
    keep(installation, "pay", TOKEN)
    installation.apply(a_workflow("pay", uses("pay"), output="${ steps.use.output }"))
    return ended(installation, "pay-1", "pay")


def test_a_runner_pod_reads_a_secret_by_the_grant_of_the_chart(paid):
    assert paid["phase"] == "Succeeded", paid
    assert paid["output"] == {"sha": digest(TOKEN), "token": "***", "canary": CANARY}


def test_a_secret_without_the_label_is_refused(installation):
    keep(installation, "private", TOKEN, label=False)
    installation.apply(a_workflow("private", uses("private")))
    status = ended(installation, "private-1", "private")
    assert (status["phase"], status["failures"][0]["reason"]) == ("Failed", "SecretNotReadable")


def test_a_pool_without_a_grant_reads_no_secret(installation, paid):
    assert paid["phase"] == "Succeeded"
    installation.apply(a_workflow("poor", uses("pay"), pool="default"))
    status = ended(installation, "poor-1", "poor")
    assert status["phase"] == "Failed"
    assert "service account" in status["failures"][0]["message"]


def test_a_secret_that_was_replaced_is_seen_without_a_restart(installation, paid):
    assert paid["output"]["sha"] == digest(TOKEN)
    before = {pod["metadata"]["name"] for pod in installation.pods(RUNNERS)}
    keep(installation, "pay", NEXT_TOKEN)

    def seen() -> bool:
        status = ended(installation, f"rotated-{secrets.token_hex(3)}", "pay")
        return bool(status["output"]["sha"] == digest(NEXT_TOKEN))

    assert eventually(seen, "the new value is seen", 60)
    assert {pod["metadata"]["name"] for pod in installation.pods(RUNNERS)} == before


@pytest.mark.usefixtures("paid")
def test_the_value_of_a_secret_is_in_no_log_no_resource_no_event_and_no_table(installation):
    findings = Findings()
    for part, selector in (("operator", OPERATOR), ("runner", RUNNERS)):
        text = installation.kubectl("logs", "--selector", selector, "--tail=-1", "--prefix", "--all-containers")
        findings.add(f"log of the {part}", [text])
    spaces = [installation.namespace, installation.work]
    findings.texts |= resources(installation.kubeconfig, spaces)
    for space in spaces:
        kinds = "pods,jobs,configmaps,leases,runnerpools,deployments"
        findings.add(f"objects of {space}", [installation.kubectl("get", kinds, "-o", "json", namespace=space)])
    for table, rows in _rows(installation).items():
        findings.add(f"table {table}", rows)
    assert {value: findings.places_of(value) for value in (TOKEN, NEXT_TOKEN)} == {TOKEN: [], NEXT_TOKEN: []}
    seen = {place.partition(":")[0] for place in findings.places_of(CANARY)}
    assert seen >= {"table leat.log", "table leat.step", f"workflowruns of {installation.work}"}
    assert findings.texts["log of the runner"]
    assert findings.texts["log of the operator"]


def _rows(installation):
    """Every row of the database; of the bundled one by way of its pod."""
    if installation.site.servers:
        return asyncio.run(tables(installation.values["postgres"]["url"]))
    dump = installation.within("app.kubernetes.io/component=dev-postgres", "pg_dump", "--username=leat", "leat")
    return {"leat.log": [dump], "leat.step": [dump]}


# -- containers -------------------------------------------------------------------------------------------------------


def contained(installation, name: str, code: str, **fields: Any) -> dict[str, Any]:
    """A step that runs Python code in a container of the runner's image, as the standard `restricted` wants it."""
    container = {
        "image": installation.image("leat-runner"),
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-u", "-c", code],
        "securityContext": {"runAsNonRoot": True},
    }
    return {"name": name, "container": {**container, **fields}}


def test_a_runner_pod_runs_containers_by_the_grant_of_the_chart_and_their_lines_are_read(installation, reader):
    small = "print('from within'); import os; open(os.environ['LEAT_OUTPUT'], 'w').write('{\"sum\": 3}')"
    large = "import os; open(os.environ['LEAT_OUTPUT'], 'w').write('x' * 50_000)"
    installation.apply(
        a_workflow(
            "boxes",
            contained(installation, "small", small),
            contained(installation, "large", large, outputFrom="file"),
            output={"small": "${ steps.small.output }", "large": "${ size(steps.large.output) }"},
        )
    )
    status = ended(installation, "boxes-1", "boxes")
    assert (status["phase"], status.get("output")) == ("Succeeded", {"small": {"sum": 3}, "large": 50_000}), status
    done = reader.leat("logs", "boxes-1", "--step", "small")
    assert done.stdout.splitlines() == ["from within"]


def test_a_pool_without_a_grant_starts_no_container(installation):
    installation.apply(a_workflow("poorbox", contained(installation, "box", "pass"), pool="default"))
    status = ended(installation, "poorbox-1", "poorbox")
    assert status["phase"] == "Failed"
    assert status["failures"][0]["reason"] == "NoCluster"
