"""People of the cluster: somebody with a token of their own, and `kubectl leat` as they type it."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tests.support.installation import Installation

RBAC = "rbac.authorization.k8s.io"


@dataclass(frozen=True)
class Person:
    """Somebody with the rights of a service account, which are none unless bound."""

    kubeconfig: str
    namespace: str

    def leat(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """`kubectl leat ...`, found by kubectl as its plugin."""
        return self._kubectl("leat", *arguments, "--namespace", self.namespace)

    def kubectl(self, *arguments: str, given: str = "") -> "subprocess.CompletedProcess[str]":
        """`kubectl ...` in the namespace of tests."""
        return self._kubectl("--namespace", self.namespace, *arguments, given=given)

    def _kubectl(self, *arguments: str, given: str = "") -> "subprocess.CompletedProcess[str]":
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "KUBECONFIG": self.kubeconfig, "COLUMNS": "200"}
        return subprocess.run(
            ["kubectl", *arguments],
            env=environment,
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )


def person(installation: Installation, name: str, folder: Path, *roles: str) -> Person:
    """Somebody new, bound to these ClusterRoles in the namespace of tests."""
    work = installation.work
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
    installation.apply(account, *(_binding(name, role, work) for role in roles))
    token = installation.kubectl("create", "token", name, "--duration=2h", namespace=work).strip()
    view = ("config", "view", "--raw", "--minify", "--flatten", "--output", "yaml")
    content = yaml.safe_load(installation.kubectl(*view))
    content["users"] = [{"name": one["name"], "user": {"token": token}} for one in content["users"]]
    path = folder / f"{name}.kubeconfig"
    path.write_text(yaml.safe_dump(content))
    return Person(str(path), work)


def _binding(name: str, role: str, namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": f"{name}-{role}"},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
    }
