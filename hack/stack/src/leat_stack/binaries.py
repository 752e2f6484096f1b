"""etcd, kube-apiserver and kubectl: of `$KUBEBUILDER_ASSETS`, the cache, envtest's download, a build; in this order.

The version is the one that hack/tools/go.mod requires, and nothing else names it.
"""

import json
import logging
import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from leat_stack import envtest
from leat_stack.errors import StackError

log = logging.getLogger(__name__)

NAMES = ("etcd", "kube-apiserver", "kubectl")
_TOOLS = Path(__file__).parents[3] / "tools"
_OLDEST_GO = (1, 21)  # the first that fetches the toolchain a go.mod asks for


@dataclass(frozen=True)
class Build:
    """One program built from the modules that `folder` pins."""

    name: str
    folder: Path
    package: str
    ldflags: str
    minutes: str
    """How long it takes with empty caches on two cores."""


def find(env: Mapping[str, str]) -> Path:
    """Return the folder with the three programs, made now if it must be.

    Raises:
        StackError: neither a download nor a build is possible; with what to install.
    """
    for folder in (Path(env.get("KUBEBUILDER_ASSETS") or "/nonexistent"), cache(env)):
        if complete(folder):
            return folder
    folder = cache(env)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        log.info("Kubernetes %s: downloading", version())
        envtest.download(version(), envtest.architecture(platform.system(), platform.machine()), folder, NAMES)
    except envtest.UnavailableError as unavailable:
        log.info("Kubernetes %s: no download (%s); building from source, once", version(), unavailable)
        build(folder)
    return folder


def cache(env: Mapping[str, str]) -> Path:
    """Return the folder this version's programs are kept in."""
    base = Path(env.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "leat" / "kubernetes" / version()


def complete(folder: Path) -> bool:
    """Whether all three programs lie in the folder."""
    return all(os.access(folder / name, os.X_OK) for name in NAMES)


def version() -> str:
    """Return the version of Kubernetes, without the v."""
    found = re.search(r"^\s*(?:require )?k8s\.io/kubernetes v(\S+)", (_TOOLS / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise StackError(f"{_TOOLS / 'go.mod'} requires no k8s.io/kubernetes")
    return found[1]


def builds() -> Sequence[Build]:
    """Return what is built, and how, in the order of building."""
    major, minor, _ = version().split(".")
    stamp = "k8s.io/component-base/version.git"  # unstamped, the API server calls itself v0.0.0 and clients refuse it
    kubernetes = f"-s -w -X {stamp}Version=v{version()} -X {stamp}Major={major} -X {stamp}Minor={minor}"
    return (
        Build("etcd", _TOOLS / "etcd", "go.etcd.io/etcd/server/v3", "-s -w", "1"),
        Build("kube-apiserver", _TOOLS, "k8s.io/kubernetes/cmd/kube-apiserver", kubernetes, "4"),
        Build("kubectl", _TOOLS, "k8s.io/kubernetes/cmd/kubectl", kubernetes, "1"),
    )


def build(folder: Path) -> None:
    """Build what the folder lacks. An interrupted build goes on where it was."""
    missing = [each for each in builds() if not os.access(folder / each.name, os.X_OK)]
    go = _go()
    for number, each in enumerate(missing, 1):
        log.info("[%d/%d] building %s (about %s min with empty caches)", number, len(missing), each.name, each.minutes)
        _build(go, each, folder)


def _build(go: str, build: Build, folder: Path) -> None:
    output, log_file = folder / f".{build.name}.{os.getpid()}", folder / f"{build.name}.log"
    argv = [go, "build", "-trimpath", "-ldflags", build.ldflags, "-o", str(output), build.package]
    start = time.monotonic()
    # Installed into the cache, so what surrounds the build (a workspace, vendoring, version stamps) must not change it.
    env = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": "-mod=readonly -buildvcs=false"}
    with (
        log_file.open("w") as said,
        subprocess.Popen(argv, cwd=build.folder, env=env, stdout=said, stderr=said) as going,
    ):
        while going.poll() is None:
            try:
                going.wait(timeout=15)
            except subprocess.TimeoutExpired:
                log.info("      %s: %.0f s", build.name, time.monotonic() - start)
    if going.returncode != 0:
        raise StackError(f"building {build.name} failed; the end of {log_file}:\n{log_file.read_text()[-2000:]}")
    output.rename(folder / build.name)
    log.info("      %s: built in %.0f s", build.name, time.monotonic() - start)


def _go() -> str:
    go = shutil.which("go")
    if go is None:
        raise StackError(f"Go is missing. {how_to_get_kubernetes()}")
    found = json.loads(
        subprocess.run([go, "env", "-json", "GOVERSION"], check=True, capture_output=True, text=True).stdout
    )
    numbers = re.match(r"go(\d+)\.(\d+)", found["GOVERSION"])
    if numbers is not None and (int(numbers[1]), int(numbers[2])) < _OLDEST_GO:
        raise StackError(
            f"Go is too old: found {found['GOVERSION']}, at least 1.21 is needed. {how_to_get_kubernetes()}"
        )
    return go


def how_to_get_kubernetes() -> str:
    """Return the ways to the programs for a machine that cannot download them."""
    return (
        "The API server is downloaded from github.com, which was not reachable, or else built with Go. "
        "Any one of these gives it: the network; Go >= 1.21 (brew install go; on Debian and Ubuntu https://go.dev/dl, "
        f"their package is too old); or KUBEBUILDER_ASSETS=FOLDER with {', '.join(NAMES)} of Kubernetes {version()}"
    )
