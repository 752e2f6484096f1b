"""A real operator process over one namespace, a runner process, and the resources that tests give them."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from leat_stack.daemons import free_ports

GROUP, VERSION = "leat.dev", "v1alpha1"
DEADLINE = 20.0
UNTOLD = {"observedGeneration": -1}

T = TypeVar("T")
Body = dict[str, Any]


def eventually(look: Callable[[], T | None], what: str, seconds: float = DEADLINE, every: float = 0.01) -> T:
    """The first thing that ``look`` finds, looking ``every`` so many seconds. Fails after ``seconds``."""
    end = time.monotonic() + seconds
    while True:
        if found := look():
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(every)


@dataclass
class Process:
    """A process of Leat with its log and its metrics."""

    process: "subprocess.Popen[bytes]"
    log: Path
    port: int

    @property
    def ready(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"it ended with {self.process.returncode}:\n{self.log.read_text()[-3000:]}")
        return self._get("/readyz") is not None

    def alive(self) -> bool:
        """Whether its event loop answers."""
        return self._get("/healthz") is not None

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels."""
        text = self._get("/metrics") or ""
        total = 0.0
        for found in re.finditer(rf"^{name}(?:{{(.*)}})? (\S+)$", text, re.MULTILINE):
            if all(f'{key}="{value}"' in (found[1] or "") for key, value in labels.items()):
                total += float(found[2])
        return total

    def end(self, number: int = signal.SIGTERM) -> int:
        """Signal it and wait for its end."""
        self.process.send_signal(number)
        return self.process.wait(15)

    def _get(self, path: str) -> str | None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                text: str = answer.read().decode()
                return text
        except (urllib.error.URLError, OSError):
            return None


@contextmanager
def started(module: str, environment: Mapping[str, str], folder: Path) -> Iterator[Process]:
    """A process of the module, killed in the end."""
    (port,) = free_ports(1)
    log = folder / f"{module}-{port}.log"
    environment = {**os.environ, **environment, "LEAT_METRICS_PORT": str(port), "LEAT_METRICS_HOST": "127.0.0.1"}
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-m", module], env=environment, stdout=output, stderr=output)
    try:
        yield Process(process, log, port)
    finally:
        process.kill()
        process.wait()


@dataclass
class Shop:
    """Resources in one namespace, as a user handles them."""

    api: Any  # of the official client, which ships no types
    namespace: str

    def apply(self, body: Body) -> Body:
        body = {"apiVersion": f"{GROUP}/{VERSION}", **body}
        plural = body["kind"].lower() + "s"
        created: Body = self.api.create_namespaced_custom_object(GROUP, VERSION, self.namespace, plural, body)
        return created

    def workflow(self, name: str, *steps: Body, **spec: Any) -> Body:
        return self.apply({"kind": "Workflow", "metadata": {"name": name}, "spec": {"steps": list(steps), **spec}})

    def run(self, name: str, workflow: str, **spec: Any) -> Body:
        spec = {"workflow": {"name": workflow}, **spec}
        return self.apply({"kind": "WorkflowRun", "metadata": {"name": name}, "spec": spec})

    def get(self, name: str, plural: str = "workflowruns") -> Body | None:
        try:
            found: Body = self.api.get_namespaced_custom_object(GROUP, VERSION, self.namespace, plural, name)
        except ApiException as error:
            if error.status == 404:
                return None
            raise
        return found

    def runs(self) -> list[Body]:
        found = self.api.list_namespaced_custom_object(GROUP, VERSION, self.namespace, "workflowruns")
        return list(found["items"])

    def patch(self, name: str, body: Body, plural: str = "workflowruns") -> Body:
        patched: Body = self.api.patch_namespaced_custom_object(GROUP, VERSION, self.namespace, plural, name, body)
        return patched

    def delete(self, name: str, plural: str = "workflowruns") -> None:
        self.api.delete_namespaced_custom_object(GROUP, VERSION, self.namespace, plural, name)

    def status(self, name: str, plural: str = "workflowruns") -> Body:
        """The status that the operator wrote; that nobody has written one, the API server says by itself."""
        status: Body = (self.get(name, plural) or {}).get("status") or {}
        return {} if status == UNTOLD else status

    def until(self, name: str, phase: str, seconds: float = DEADLINE) -> Body:
        """The status of a run, when it is in the phase."""

        def look() -> Body | None:
            status = self.status(name)
            return status if status.get("phase") == phase else None

        try:
            return eventually(look, f"{name} is {phase}", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {self.status(name)}") from None


@contextmanager
def shop(kubeconfig: str, namespace: str) -> Iterator[Shop]:
    connect: Any = config.new_client_from_config
    with connect(kubeconfig) as api:
        yield Shop(client.CustomObjectsApi(api), namespace)
