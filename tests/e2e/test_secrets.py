"""Secrets of a real API server, read with a pool's rights: who may, when they change, and that nobody sees them."""

import asyncio
import base64
import json
import re
import secrets
import shlex
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from textwrap import dedent
from threading import Thread
from typing import Any
from unittest.mock import ANY

import pytest
import yaml
from kubernetes import client, config
from tests.support.leaks import digest
from tests.support.operator import Process, Shop, eventually, shop, started
from tests.support.scan import Findings, resources, tables, tap, tapped
from tests.support.stack import fresh_namespace

from leat_engine.store import migrate
from leat_stack import Endpoints
from leat_stack.daemons import free_ports

LEAKS = Path(__file__).parents[1] / "support" / "leaks.py"
HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "secrets.md"
CANARY = "canary-" + secrets.token_hex(8)
"""No secret: where it is not found, nobody has looked."""


@dataclass
class Cluster:
    """Two namespaces with a pool's runner that may read Secrets in the first one."""

    kubernetes: Endpoints
    api: Any
    dsn: str
    vhost: str
    shop: Shop
    other: Shop
    operator: Process
    runner: Process
    files: Path
    account: str

    def secret(self, namespace: str, name: str, values: dict[str, str], *, label: bool = True) -> None:
        """Create or replace a Secret."""
        core = client.CoreV1Api(self.api)
        labels = {"leat.dev/secret": "true"} if label else {}
        data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
        body = {"metadata": {"name": name, "labels": labels}, "data": data}
        if any(one.metadata.name == name for one in core.list_namespaced_secret(namespace).items):
            core.replace_namespaced_secret(name, namespace, body)
        else:
            core.create_namespaced_secret(namespace, body)

    def kubectl(self, command: str) -> None:
        """Do what an error says."""
        words = shlex.split(command)
        assert words[0] == "kubectl"
        argv = [self.kubernetes.kubectl, "--kubeconfig", self.kubernetes.kubeconfig, *words[1:]]
        subprocess.run(argv, check=True, capture_output=True)


@contextmanager
def a_kubeconfig(endpoints: Endpoints, api: Any, namespace: str, account: str, folder: Path) -> Iterator[Path]:
    """A kubeconfig of a new service account."""
    core = client.CoreV1Api(api)
    core.create_namespaced_service_account(namespace, {"metadata": {"name": account}})
    asked = {"spec": {"audiences": [], "expirationSeconds": 3600}}
    token = core.create_namespaced_service_account_token(account, namespace, asked).status.token
    content = yaml.safe_load(Path(endpoints.kubeconfig).read_text())
    content["users"] = [{"name": "leat", "user": {"token": token}}]
    path = folder / "runner.kubeconfig"
    path.write_text(yaml.safe_dump(content))
    yield path


@pytest.fixture(scope="module")
def cluster(kubernetes, postgres_dsn, rabbitmq, amqp_url, tmp_path_factory):
    asyncio.run(migrate(postgres_dsn))
    folder = tmp_path_factory.mktemp("secrets")
    connect: Any = config.new_client_from_config
    with (
        connect(kubernetes.kubeconfig) as api,
        fresh_namespace(kubernetes) as home,
        fresh_namespace(kubernetes) as one,
        fresh_namespace(kubernetes) as two,
        a_kubeconfig(kubernetes, api, home, "runner", folder) as kubeconfig,
        shop(kubernetes.kubeconfig, one) as user,
        shop(kubernetes.kubeconfig, two) as stranger,
    ):
        rights = client.RbacAuthorizationV1Api(api)
        rule = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}
        rights.create_namespaced_role(one, {"metadata": {"name": "leat-secrets"}, "rules": [rule]})
        rights.create_namespaced_role_binding(one, {
            "metadata": {"name": "leat-secrets"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "leat-secrets"},
            "subjects": [{"kind": "ServiceAccount", "name": "runner", "namespace": home}],
        })  # fmt: skip
        vhost = tap(rabbitmq, amqp_url)
        environment = {
            "LEAT_DATABASE_URL": postgres_dsn, "LEAT_AMQP_URL": amqp_url, "LEAT_NAMESPACE": home,
            "LEAT_LOG_LEVEL": "DEBUG",
        }  # fmt: skip
        operating = {"KUBECONFIG": kubernetes.kubeconfig, "LEAT_WATCH_NAMESPACES": f"{one},{two}"}
        working = {
            "KUBECONFIG": str(kubeconfig), "LEAT_SECRETS_DIR": str(folder / "files"), "LEAT_HEARTBEAT": "0.3",
            "LEAT_SECRET_ENV_TOKEN": ENV, "LEAT_FUNCTIONS": str(LEAKS),
        }  # fmt: skip
        with (
            started("leat_operator", {**environment, **operating}, folder) as operator,
            started("leat_runner", {**environment, **working}, folder) as runner,
        ):
            eventually(lambda: operator.ready, "the operator is ready", 60)
            eventually(lambda: "runner_registered" in runner.log.read_text(), "the runner is registered", 60)
            yield Cluster(
                kubernetes,
                api,
                postgres_dsn,
                vhost,
                user,
                stranger,
                operator,
                runner,
                folder / "files",
                f"{home}:runner",
            )


# -- nowhere to see ---------------------------------------------------------------------------------------------------

ENV = "env" + secrets.token_hex(12)
FILE = f'fi/le+"{secrets.token_urlsafe(9)}" ö\\x&=%<' + secrets.token_hex(6)
KUBE = "kube" + secrets.token_urlsafe(18)
NUMBER = str(secrets.randbelow(10**15) + 10**15)
LINES = "\n".join(["-----BEGIN THING-----", *(secrets.token_urlsafe(40) for _ in range(4)), "-----END THING-----", ""])
SECRETS = {"env": ENV, "file": FILE, "kube": KUBE, "number": NUMBER, "lines": LINES}


class Echo(BaseHTTPRequestHandler):
    """Answers with what it was asked, as other sides do."""

    seen: list[str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        said = {"path": self.path, "headers": dict(self.headers), "body": body}
        self.seen.append(json.dumps(said, ensure_ascii=False))
        answer = json.dumps(said).encode() + b"."  # with the dot it is no JSON, so a text holds it
        self.send_response(500 if self.path.startswith("/fail") else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("X-Echo", base64.b64encode(self.headers["Authorization"].encode()).decode())
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the signature of the standard library
        """Say nothing."""


@pytest.fixture(scope="module")
def echo() -> Iterator[tuple[str, list[str]]]:
    handler = type("Handler", (Echo,), {"seen": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield f"http://127.0.0.1:{server.server_port}", handler.seen
        server.shutdown()


def read(name: str) -> str:
    return f"${{ secret('{name}', 'token') }}"


ALL = {name: read(name) for name in SECRETS}
HEADERS = {"Authorization": f"Bearer {ALL['kube']}", "X-Basic": "Basic ${ bytes('shop:' + secret('env', 'token')) }"}
PRINT = """
echo "$CANARY"
for value in "$ENV" "$FILE" "$KUBE" "$LINES"; do
    echo "out $value"; echo "err $value" >&2; printf %s "user:$value" | base64 -w0; echo; printf %s "$value" | base64
done
printf '{"sha": "%s", "text": "%s", "number": %s}' "$(printf %s "$KUBE" | sha256sum | cut -c1-64)" "$KUBE" "$NUMBER" \
    > "$LEAT_OUTPUT"
"""
DIE = """
for i in $(seq 300); do printf %s "$(cat)$KUBE$FILE" >&2; done
exit 3
"""


def leaking_steps(url: str, dead: str) -> list[dict[str, Any]]:
    """One step after the other, whatever the one before it came to."""
    request = {"method": "POST", "headers": HEADERS, "query": {"key": ALL["file"], "k": [ALL["env"]]}, "body": ALL}
    env = {name.upper(): value for name, value in ALL.items()}
    bodies: list[dict[str, Any]] = [
        {"http": {**request, "url": f"{url}/echo"}},
        {"http": {**request, "url": f"{url}/fail"}, "retry": {"max": 1, "backoff": {"initial": "10ms"}}},
        {"http": {**request, "url": dead}},
        {"http": {**request, "url": url, "headers": {"A": "${ {'a': secret('file', 'token')} }"}}},
        {"http": {**request, "url": url, "headers": {"A": read("lines")}}},
        {"http": {**request, "url": url, "headers": {"A": "${ inputs[secret('kube', 'token')] }"}}},
        {"http": {**request, "url": url, "headers": {"A": "${ string(int(secret('file', 'token'))) }"}}},
        {"script": {"run": PRINT, "env": {**env, "CANARY": CANARY}}},
        {"script": {"run": DIE, "env": env, "stdin": ALL["file"]}, "retry": {"max": 1, "backoff": {"initial": "10ms"}}},
        {"script": {"shell": "python", "run": "import sys; raise SystemExit(sys.stdin.read())", "stdin": ALL}},
        {"script": {"run": "set -x; : $KUBE; nothing-such", "env": env}},
        {
            "script": {
                "run": "echo $UPPER | tee $LEAT_OUTPUT",
                "env": {"UPPER": "${ secret('kube', 'token').upperAscii() }"},
            }
        },
    ]
    bodies += [
        {"function": {"name": name, "with": {"token": token}}}
        for name in ("give", "scream", "refuse", "shorten", "whisper")
        for token in (ALL["file"], ALL["kube"])
    ]
    bodies += [{"function": {"name": "give", "with": {"token": {"a": ALL["kube"]}, "tokn": ALL["env"]}}}]
    steps = []
    for number, body in enumerate(bodies):
        needs = [{"step": f"s{number - 1}", "on": ["Finished"]}] if number else []
        steps.append({"name": f"s{number}", "needs": needs, **body})
    return [*steps, {"name": "last", "needs": [{"step": f"s{len(bodies) - 1}", "on": ["Finished"]}], "transform": 1}]


def test_no_secret_is_anywhere_to_see(cluster, echo, rabbitmq):
    url, seen = echo
    (port,) = free_ports(1)
    space = cluster.shop.namespace
    cluster.secret(space, "kube", {"token": KUBE})
    for name in ("file", "number", "lines"):
        folder = cluster.files / space / name
        folder.mkdir(parents=True)
        (folder / "token").write_text(SECRETS[name])
    steps = leaking_steps(url, f"http://127.0.0.1:{port}/")
    output = {f"s{number}": f"${{ steps.s{number}.output }}" for number in (0, 7, 11, 12, 13)}
    errors = {f"e{number}": f"${{ steps.s{number}.error }}" for number in range(len(steps) - 1)}
    cluster.shop.workflow("leak", *steps, output={**output, **errors, "canary": CANARY})
    cluster.shop.run("leak", "leak")
    status = cluster.shop.until("leak", "Succeeded", 60)
    # A second one fails, and a third one succeeds with a small output: errors and outputs are in the status.
    cluster.shop.workflow("loud", {"name": "scream", "function": {"name": "scream", "with": {"token": ALL["kube"]}}})
    cluster.shop.workflow(
        "small", {**steps[12], "needs": []}, output={"given": "${ steps.s12.output }", "canary": CANARY}
    )
    cluster.shop.run("loud", "loud")
    cluster.shop.run("small", "small")
    loud, small = cluster.shop.until("loud", "Failed"), cluster.shop.until("small", "Succeeded")

    findings = Findings(
        {"operator log": cluster.operator.log.read_text(), "runner log": cluster.runner.log.read_text()}
    )
    for table, rows in asyncio.run(tables(cluster.dsn)).items():
        findings.add(f"table {table}", rows)
    findings.texts |= resources(cluster.kubernetes.kubeconfig, [space])
    findings.add("messages", tapped(rabbitmq, cluster.vhost))
    for name, process in (("operator", cluster.operator), ("runner", cluster.runner)):
        with urllib.request.urlopen(f"http://127.0.0.1:{process.port}/metrics", timeout=5) as answer:
            findings.add(f"metrics of the {name}", [answer.read().decode()])
    findings.add("trace headers", [json.loads(one)["headers"].get("traceparent", "none") for one in seen])
    values = (*SECRETS.values(), KUBE.upper())
    assert {value: findings.places_of(value) for value in values} == {value: [] for value in values}

    # It was there to be seen: the values arrived, and the places hold what is no secret.
    assert all(KUBE in one and ENV in one for one in seen)
    assert len(seen) == 3
    assert json.loads(json.loads(seen[0])["body"]) == {**SECRETS}
    given = {"sha": digest(FILE), "plain": "***", "***": 1, "list": [ANY, "<***>"]}
    assert small["output"] == {"given": given, "canary": CANARY}
    assert digest(FILE) in findings.texts["table leat.step"]
    assert digest(KUBE) in findings.texts["table leat.step"]
    assert "***" in loud["message"]
    assert status["phase"] == "Succeeded"
    places = {place.removesuffix(": raw form") for place in findings.places_of(CANARY) if place.endswith(": raw form")}
    assert places >= {"runner log", "table leat.run", "table leat.revision", f"workflowruns of {space}"}
    assert findings.texts["messages"]
    assert "canary says ***" in findings.texts["runner log"]
    assert "leat_" in findings.texts["metrics of the runner"]
    assert all(found.startswith("00-") for found in findings.texts["trace headers"].splitlines())


# -- rotation ---------------------------------------------------------------------------------------------------------


def fingerprint(name: str) -> dict[str, Any]:
    """A step whose output tells which value it saw."""
    return {"name": "see", "function": {"name": "whisper", "with": {"token": f"${{ secret('{name}', 'token') }}"}}}


def seen_by(user: Shop, workflow: str) -> str:
    name = f"{workflow}-{secrets.token_hex(4)}"
    user.run(name, workflow)
    output: str = user.until(name, "Succeeded")["output"]
    return output


def test_a_secret_that_was_replaced_is_seen_without_a_restart(cluster):
    cluster.secret(cluster.shop.namespace, "rotated", {"token": "the first value"})
    cluster.shop.workflow("rotation", fingerprint("rotated"), output="${ steps.see.output }")
    assert seen_by(cluster.shop, "rotation") == digest("the first value")
    cluster.secret(cluster.shop.namespace, "rotated", {"token": "the second value"})
    eventually(lambda: seen_by(cluster.shop, "rotation") == digest("the second value"), "the new value is seen")
    folder = cluster.files / cluster.shop.namespace / "rotated"
    folder.mkdir(parents=True)
    (folder / "token").write_text("a file\n")
    assert seen_by(cluster.shop, "rotation") == digest("a file")
    (folder / "token").write_text("another file\n")
    assert seen_by(cluster.shop, "rotation") == digest("another file")


def test_an_attempt_that_failed_for_an_old_value_succeeds_with_the_new_one(cluster):
    space = cluster.shop.namespace
    cluster.secret(space, "late", {"token": "old"})
    body = '[ "$T" = new-value ] || exit 1'
    retry = {"max": 100, "backoff": {"initial": "200ms", "factor": 1, "jitter": "none"}}
    step = {"name": "try", "script": {"run": body, "env": {"T": "${ secret('late', 'token') }"}}, "retry": retry}
    cluster.shop.workflow("late", step)
    cluster.shop.run("late", "late")
    eventually(lambda: "step_retry" in cluster.runner.log.read_text(), "it has failed")
    cluster.secret(space, "late", {"token": "new-value"})
    cluster.shop.until("late", "Succeeded")


# -- rights -----------------------------------------------------------------------------------------------------------


def failure_of(user: Shop, name: str) -> dict[str, Any]:
    user.workflow(name, fingerprint(name), output="${ steps.see.output }")
    user.run(name, name)
    failed: dict[str, Any] = user.until(name, "Failed")["failures"][0]
    return failed


def test_a_secret_without_the_label_is_not_read_until_somebody_does_what_the_error_says(cluster):
    cluster.secret(cluster.shop.namespace, "private", {"token": "geheim"}, label=False)
    failed = failure_of(cluster.shop, "private")
    assert failed["reason"] == "SecretNotReadable"
    cluster.kubectl(failed["message"].partition("If they may: ")[2])
    eventually(lambda: _succeeds(cluster.shop, "private", "geheim"), "it is readable")


def test_the_secrets_of_another_namespace_are_not_there(cluster):
    cluster.secret(cluster.other.namespace, "theirs", {"token": "geheim"})
    failed = failure_of(cluster.shop, "theirs")
    assert failed["reason"] == "SecretNotFound"
    assert f"Secret 'theirs' in namespace '{cluster.shop.namespace}'" in failed["message"]


def test_a_pool_that_may_not_read_says_what_to_grant_and_may_read_afterwards(cluster):
    cluster.secret(cluster.other.namespace, "ungranted", {"token": "geheim"})
    failed = failure_of(cluster.other, "ungranted")
    assert failed["reason"] == "Forbidden"
    home, _, account = cluster.account.partition(":")
    assert f"the service account {account} in {home} needs a Role and a RoleBinding there" in failed["message"]
    commands = failed["message"].partition("there. ")[2]
    for command in commands.split(" && "):
        cluster.kubectl(command)
    eventually(lambda: _succeeds(cluster.other, "ungranted", "geheim"), "it is readable")
    cluster.secret(cluster.other.namespace, "another", {"token": "geheim"})
    assert failure_of(cluster.other, "another")["reason"] == "Forbidden"


def test_the_rights_that_the_page_shows_are_enough(cluster):
    (shown,) = [
        block for block in re.findall(r"```yaml\n(.*?)```", HOW_TO.read_text(), re.DOTALL) if "RoleBinding" in block
    ]
    home, _, account = cluster.account.partition(":")
    said = dedent(shown).replace("leat-pool-default", account).replace("leat-system", home)
    command = [cluster.kubernetes.kubectl, "--kubeconfig", cluster.kubernetes.kubeconfig, "apply", "-f", "-"]
    manifest = said.replace("namespace: shop", f"namespace: {cluster.other.namespace}")
    subprocess.run(command, input=manifest, check=True, capture_output=True, text=True)
    cluster.secret(cluster.other.namespace, "pay", {"token": "geheim"})
    cluster.other.workflow("granted", fingerprint("pay"), output="${ steps.see.output }")
    eventually(lambda: _succeeds(cluster.other, "granted", "geheim"), "it is readable")


def test_a_key_that_is_not_there_is_told_with_those_that_are(cluster):
    cluster.secret(cluster.shop.namespace, "keys", {"user": "x", "password": "y"})
    assert "it has: password, user" in failure_of(cluster.shop, "keys")["message"]


def _succeeds(user: Shop, workflow: str, value: str) -> bool:
    name = f"{workflow}-{secrets.token_hex(4)}"
    user.run(name, workflow)
    eventually(lambda: user.status(name).get("phase") in {"Succeeded", "Failed"}, f"{name} ends")
    return user.status(name).get("output") == digest(value)
