"""Operators that serve, and what the API server must know to ask them."""

import http.client
import json
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tests.support.operator import Process, eventually, started

from leat_stack import Endpoints
from leat_stack.daemons import free_ports

MANIFESTS = Path(__file__).parents[2] / "config" / "serve"
SYSTEM, SECRET = "leat-system", "leat-operator-tls"
READ = "/apis/read.leat.dev/v1alpha1"

Body = dict[str, Any]


@dataclass
class Kubectl:
    """kubectl as an administrator, or as ``user``, whom the administrator impersonates."""

    endpoints: Endpoints
    user: str = ""

    def __call__(self, *arguments: str, given: str = "") -> "subprocess.CompletedProcess[str]":
        argv = [self.endpoints.kubectl, "--kubeconfig", self.endpoints.kubeconfig, *arguments]
        argv += ["--as", self.user] if self.user else []
        return subprocess.run(argv, check=False, capture_output=True, text=True, input=given or None)

    def done(self, *arguments: str, given: str = "") -> str:
        """What it printed; fails when it failed."""
        answer = self(*arguments, given=given)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    def read(self, path: str) -> Body:
        """An answer of the read API."""
        answer: Body = json.loads(self.done("get", "--raw", f"{READ}/{path}"))
        return answer

    def get(self, *what: str) -> Body:
        """An object."""
        answer: Body = json.loads(self.done("get", *what, "-o", "json"))
        return answer

    def apply(self, namespace: str, *bodies: Body, dry: bool = False) -> "subprocess.CompletedProcess[str]":
        """Apply documents."""
        flags = ("--dry-run=server",) if dry else ()
        return self("apply", *flags, "-n", namespace, "-f", "-", given=yaml.safe_dump_all(bodies))


@dataclass
class Server:
    """An operator that serves."""

    process: Process
    port: int

    def call(
        self,
        path: str,
        headers: Mapping[str, str] | None = None,
        *,
        body: bytes | None = None,
        identity: tuple[str, str] | None = None,
    ) -> tuple[int, Body]:
        """Call it directly, not by the API server. ``identity``: files of a client's certificate and key."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if identity is not None:
            context.load_cert_chain(*identity)
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=20, context=context)
        try:
            connection.request("GET" if body is None else "POST", path, body, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    @property
    def certificate(self) -> str:
        """The certificate that it shows, as PEM."""
        return ssl.get_server_certificate(("127.0.0.1", self.port))


@contextmanager
def serving(environment: Mapping[str, str], folder: Path, **settings: object) -> Iterator[Server]:
    """A serving operator. Settings are ``LEAT_*`` variables by their names in lower case."""
    (port,) = free_ports(1)
    own = {f"LEAT_{name.upper()}": str(value) for name, value in settings.items()}
    usual = {"LEAT_SERVE_PORT": str(port), "LEAT_SERVE_HOST": "127.0.0.1", "LEAT_SERVE_REFRESH": "0.3"}
    with started("leat_operator", {**environment, **usual, **own}, folder) as process:
        yield Server(process, port)


@contextmanager
def asked(endpoints: Endpoints, port: int) -> Iterator[Kubectl]:
    """Let the API server ask whoever listens on this port of the machine: the Service is a name, not pods."""
    kubectl = Kubectl(endpoints)
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "leat-operator", "namespace": SYSTEM},
        "spec": {"type": "ExternalName", "externalName": "localhost"},
    }
    documents = [service]
    for file in sorted(MANIFESTS.glob("*.yaml")):
        documents += yaml.safe_load_all(file.read_text())
    for document in documents:
        if document["kind"] == "APIService":
            document["spec"]["service"]["port"] = port
        for hook in document.get("webhooks", ()):
            hook["clientConfig"]["service"]["port"] = port
    given = yaml.safe_dump_all(documents)
    kubectl.done("apply", "--server-side", "--force-conflicts", "-f", "-", given=given)
    try:
        yield kubectl
    finally:
        kubectl.done("delete", "--ignore-not-found", "-f", "-", given=given)


def available(kubectl: Kubectl) -> bool:
    """Whether the API server reaches the read API."""
    conditions = kubectl.get("apiservice", "v1alpha1.read.leat.dev").get("status", {}).get("conditions", [])
    return any(each["type"] == "Available" and each["status"] == "True" for each in conditions)


def trusting(kubectl: Kubectl) -> bool:
    """Whether the API server was given a bundle for the webhook."""
    hooks = kubectl.get("validatingwebhookconfiguration", "leat")["webhooks"]
    return all(hook["clientConfig"].get("caBundle") for hook in hooks)


def until_ready(server: Server, kubectl: Kubectl) -> None:
    """Wait until the API server can ask. It looks again and again, in the end every 30 s; a kubectl costs it a core."""
    eventually(lambda: server.process.ready, "the operator is ready", 60)
    try:
        eventually(lambda: trusting(kubectl) and available(kubectl), "the API server reaches it", 100, 0.3)
    except AssertionError as error:
        found = kubectl.done("get", "apiservice,validatingwebhookconfiguration", "-o", "yaml")
        raise AssertionError(f"{error}\n{found}\n{server.process.log.read_text()[-3000:]}") from error


@contextmanager
def read_through(endpoints: Endpoints, environment: Mapping[str, str], folder: Path) -> Iterator[Kubectl]:
    """The read API of an operator, which has a runner, for whoever asks by way of kubectl."""
    environment = {"KUBECONFIG": endpoints.operator_kubeconfig, "LEAT_NAMESPACE": SYSTEM, **environment}
    with ExitStack() as stack:
        operator = stack.enter_context(serving(environment, folder))
        kubectl = stack.enter_context(asked(endpoints, operator.port))
        stack.enter_context(started("leat_runner", environment, folder))
        until_ready(operator, kubectl)
        yield kubectl
