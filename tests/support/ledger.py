"""A web server in the cluster that writes down which effect it was asked for, and how often."""

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from tests.support.installation import Installation
from tests.support.operator import eventually

Body = dict[str, Any]

PROGRAM = """
import collections, http.server, json, threading, time

class Ledger(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen, lock = collections.Counter(), threading.Lock()

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with self.lock:
            self.seen[self.path] += 1
        time.sleep(float(self.headers.get("X-Seconds", 0)))
        self.answer({"path": self.path})

    def do_GET(self):
        with self.lock:
            self.answer(self.seen)

    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("", 8080), Ledger).serve_forever()
"""
READ = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=5).read().decode())"


@dataclass(frozen=True)
class Ledger:
    """The server. Its URL is for steps; each path is an effect."""

    installation: Installation
    url: str

    def entries(self) -> Counter[str]:
        """How often each effect was asked for."""
        text = self._read("http://127.0.0.1:8080/")
        return Counter({path.strip("/"): times for path, times in json.loads(text).items()})

    def reached(self) -> bool:
        """Whether its service leads to it already, as seen by a pod."""
        return self._read(self.url, check=False).strip().startswith("{")

    def _read(self, url: str, *, check: bool = True) -> str:
        command = ("exec", "ledger", "--", "python", "-c", READ, url)
        return self.installation.kubectl(*command, namespace=self.installation.work, check=check)

    def workflow(self, name: str, seconds: float) -> Body:
        """A Workflow of three steps: one effect, a script that takes a while, another effect."""
        effect = {"method": "POST", "headers": {"X-Seconds": str(seconds)}}
        steps = [
            {"name": "first", "http": {**effect, "url": f"{self.url}/${{ run.name }}-first"}},
            {"name": "work", "needs": ["first"], "script": {"shell": "bash", "run": f"sleep {seconds}"}},
            {"name": "last", "needs": ["work"], "http": {**effect, "url": f"{self.url}/${{ run.name }}-last"}},
        ]
        return {
            "apiVersion": "leat.dev/v1alpha1",
            "kind": "Workflow",
            "metadata": {"name": name},
            "spec": {"steps": steps},
        }


def a_run(name: str, workflow: str) -> Body:
    """A WorkflowRun."""
    spec = {"workflow": {"name": workflow}}
    return {"apiVersion": "leat.dev/v1alpha1", "kind": "WorkflowRun", "metadata": {"name": name}, "spec": spec}


def ledger_in(installation: Installation) -> Ledger:
    """Start it in the namespace of tests, from the runner's image: it has a Python."""
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {
        "name": "ledger",
        "image": installation.image("leat-runner"),
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-c", PROGRAM],
        "securityContext": security,
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "ledger", "labels": {"app": "ledger"}},
        "spec": {
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "ledger"},
        "spec": {"selector": {"app": "ledger"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    installation.apply(pod, service)
    installation.kubectl("wait", "--for=condition=Ready", "pod/ledger", "--timeout=2m", namespace=installation.work)
    ledger = Ledger(installation, f"http://ledger.{installation.work}.svc")
    eventually(ledger.reached, "the ledger's service leads to it", 60, every=0.5)
    return ledger
