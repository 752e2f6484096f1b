"""etcd and kube-apiserver of one stack: RBAC on, our resources established, a kubeconfig per identity.

There is no controller manager: namespaces stay Terminating, owner references collect nothing, Deployments make no pods.
"""

import base64
import csv
import json
import logging
import os
import secrets
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from leat_stack import binaries, front_proxy
from leat_stack.daemons import Daemons, Program, free_ports
from leat_stack.endpoints import Endpoints
from leat_stack.errors import StackError

log = logging.getLogger(__name__)

ETCD, APISERVER = "etcd", "kube-apiserver"
OPERATOR_NAMESPACE, OPERATOR_ACCOUNT = "leat-system", "leat-operator"

_ROOT = Path(__file__).parents[4]
_START_SECONDS = 90.0
_SERVED_SECONDS = 30


@dataclass(frozen=True)
class Cluster:
    """What an API server keeps over its restarts: where it is, and whom it knows."""

    etcd_port: int
    etcd_peer_port: int
    port: int
    admin_token: str
    operator_token: str

    def users(self) -> Sequence[tuple[str, str, str, str]]:
        """Return the rows of the token file: token, user, uid, groups."""
        accounts = f"system:serviceaccounts,system:serviceaccounts:{OPERATOR_NAMESPACE}"
        operator = f"system:serviceaccount:{OPERATOR_NAMESPACE}:{OPERATOR_ACCOUNT}"
        return (
            (self.admin_token, "admin", "admin", "system:masters"),
            (self.operator_token, operator, "leat-operator", accounts),
        )


def start(home: Path, daemons: Daemons) -> Endpoints:
    """Start both servers, or find them running, and return the kubeconfigs when our resources are served."""
    root = home / "kubernetes"
    programs = binaries.find(os.environ)
    cluster = _cluster(root)
    front_proxy.prepare(root)
    endpoints = Endpoints(
        kubeconfig=str(root / "admin.kubeconfig"),
        operator_kubeconfig=str(root / "operator.kubeconfig"),
        kubectl=str(programs / "kubectl"),
    )
    if daemons.find(APISERVER) is None or daemons.find(ETCD) is None:
        log.info("starting Kubernetes %s (API server and etcd)", binaries.version())
    daemons.start(etcd_program(programs, root, cluster))
    daemons.start(apiserver_program(programs, root, cluster))
    daemons.wait_until((root / "tls" / "apiserver.crt").exists, APISERVER, _START_SECONDS)
    _write_kubeconfig(root / "admin.kubeconfig", root, cluster, cluster.admin_token)
    _write_kubeconfig(root / "operator.kubeconfig", root, cluster, cluster.operator_token)
    daemons.wait_until(
        lambda: _kubectl(endpoints, "get", "--raw", "/readyz").returncode == 0, APISERVER, _START_SECONDS
    )
    establish(endpoints, [_ROOT / "crds", _ROOT / "config" / "rbac"])
    return endpoints


def establish(endpoints: Endpoints, folders: Sequence[Path]) -> None:
    """Apply the manifests of the folders and wait until the resources they define are served.

    Raises:
        StackError: the API server refuses a manifest; with its words.
    """
    for folder in folders:
        files = [f"--filename={file}" for file in sorted(folder.glob("*.yaml"))]
        if not files:
            continue
        applied = _kubectl(endpoints, "apply", "--server-side", "--force-conflicts", *files)
        if applied.returncode != 0:
            raise StackError(f"the API server refuses what is in {folder}: {applied.stderr.strip()}")
        if "customresourcedefinition" in applied.stdout:
            _await_served(endpoints, folder, files)


def _await_served(endpoints: Endpoints, folder: Path, files: Sequence[str]) -> None:
    """Ask again: `kubectl wait` gives up at a definition that was made this moment and has no conditions yet."""
    end = time.monotonic() + _SERVED_SECONDS
    while True:
        waited = _kubectl(endpoints, "wait", "--for=condition=Established", f"--timeout={_SERVED_SECONDS}s", *files)
        if waited.returncode == 0:
            return
        if time.monotonic() >= end:
            raise StackError(f"the API server does not serve what is in {folder}: {waited.stderr.strip()}")
        time.sleep(0.1)


def etcd_program(programs: Path, root: Path, cluster: Cluster) -> Program:
    """Return etcd with one member, on loopback, writing to disk before it answers."""
    client, peer = f"http://127.0.0.1:{cluster.etcd_port}", f"http://127.0.0.1:{cluster.etcd_peer_port}"
    return Program(ETCD, [
        str(programs / "etcd"), f"--data-dir={root / 'etcd'}", "--log-level=warn",
        f"--listen-client-urls={client}", f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}",
    ])  # fmt: skip


def apiserver_program(programs: Path, root: Path, cluster: Cluster) -> Program:
    """Return the API server: a certificate that it makes itself, users by token, rights by RBAC."""
    return Program(APISERVER, [
        str(programs / "kube-apiserver"), f"--etcd-servers=http://127.0.0.1:{cluster.etcd_port}",
        "--bind-address=127.0.0.1", f"--secure-port={cluster.port}", f"--cert-dir={root / 'tls'}",
        "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none", "--service-cluster-ip-range=10.0.0.0/24",
        f"--token-auth-file={root / 'tokens.csv'}", "--authorization-mode=RBAC", "--allow-privileged=true",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-signing-key-file={root / 'accounts.key'}",
        f"--service-account-key-file={root / 'accounts.key'}",
        *front_proxy.flags(root),
    ])  # fmt: skip


def _cluster(root: Path) -> Cluster:
    kept = root / "cluster.json"
    if kept.exists():
        return Cluster(**json.loads(kept.read_text()))
    root.mkdir(parents=True, exist_ok=True, mode=0o700)  # it holds the tokens
    etcd, peer, port = free_ports(3)
    cluster = Cluster(etcd, peer, port, secrets.token_urlsafe(24), secrets.token_urlsafe(24))
    with (root / "tokens.csv").open("w") as file:
        csv.writer(file).writerows(cluster.users())
    (root / "accounts.key").write_bytes(_signing_key())
    kept.write_text(json.dumps(asdict(cluster)))  # last: what it promises is there
    return cluster


def _signing_key() -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write_kubeconfig(path: Path, root: Path, cluster: Cluster, token: str) -> None:
    authority = base64.b64encode((root / "tls" / "apiserver.crt").read_bytes()).decode()
    server = {"server": f"https://127.0.0.1:{cluster.port}", "certificate-authority-data": authority}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "leat", "cluster": server}],
        "users": [{"name": "leat", "user": {"token": token}}],
        "contexts": [{"name": "leat", "context": {"cluster": "leat", "user": "leat", "namespace": "default"}}],
        "current-context": "leat",
    }
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(config, sort_keys=False))


def _kubectl(endpoints: Endpoints, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [endpoints.kubectl, "--kubeconfig", endpoints.kubeconfig, *arguments]
    return subprocess.run(argv, check=False, capture_output=True, text=True)
