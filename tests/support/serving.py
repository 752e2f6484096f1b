"""Operators that serve, and what the API server must know to ask them."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client, config
from tests.support.operator import Process, eventually, started

from leat_stack import Endpoints
from leat_stack.daemons import free_ports

MANIFESTS = Path(__file__).parents[2] / "config" / "serve"
SYSTEM = "leat-system"

Body = dict[str, Any]


@dataclass
class Kubectl:
    """kubectl as somebody: ``user`` is impersonated by an administrator."""

    endpoints: Endpoints
    user: str = ""

    def __call__(self, *arguments: str, given: str = "") -> "subprocess.CompletedProcess[str]":
        argv = [self.endpoints.kubectl, "--kubeconfig", self.endpoints.kubeconfig, *arguments]
        if self.user:
            argv += ["--as", self.user]
        return subprocess.run(argv, check=False, capture_output=True, text=True, input=given or None)

    def done(self, *arguments: str, given: str = "") -> str:
        """What it printed; fails when it failed."""
        answer = self(*arguments, given=given)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    def read(self, path: str) -> Body:
        """An answer of the read API."""
        answer: Body = json.loads(self.done("get", "--raw", f"/apis/read.leat.dev/v1alpha1/{path}"))
        return answer

    def apply(self, *bodies: Body, check: bool = True, flags: tuple[str, ...] = ()) -> str:
        """Apply documents; what kubectl said."""
        answer = self("apply", *flags, "-f", "-", given=yaml.safe_dump_all(bodies))
        assert not check or answer.returncode == 0, answer.stderr
        return answer.stdout + answer.stderr


@dataclass
class Server:
    """An operator that serves."""

    process: Process
    port: int


@contextmanager
def serving(environment: dict[str, str], folder: Path, **settings: object) -> Iterator[Server]:
    """A serving operator, listening. Settings are ``LEAT_*`` variables by their names in lower case."""
    (port,) = free_ports(1)
    own = {f"LEAT_{name.upper()}": str(value) for name, value in settings.items()}
    defaults = {"LEAT_SERVE_PORT": str(port), "LEAT_SERVE_HOST": "127.0.0.1", "LEAT_SERVE_REFRESH": "0.3"}
    with started("leat_operator", {**environment, **defaults, **own}, folder) as process:
        eventually(lambda: process.ready, "the operator is ready", 40)
        yield Server(process, port)


@contextmanager
def asked(endpoints: Endpoints, port: int) -> Iterator[None]:
    """Let the API server ask whoever listens on this port of the machine. A Service by name stands for one with pods."""
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
        yield
    finally:
        kubectl.done("delete", "--ignore-not-found", "-f", "-", given=given)


def available(endpoints: Endpoints) -> bool:
    """Whether the API server reaches the read API."""
    answer = Kubectl(endpoints)("get", "apiservice", "v1alpha1.read.leat.dev", "-o", "json")
    conditions = json.loads(answer.stdout).get("status", {}).get("conditions", []) if answer.stdout else []
    return any(each["type"] == "Available" and each["status"] == "True" for each in conditions)


def core(endpoints: Endpoints) -> Any:
    """The client of Secrets and ConfigMaps."""
    return client.CoreV1Api(config.new_client_from_config(endpoints.kubeconfig))
