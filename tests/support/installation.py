"""Leat on a real cluster, installed by its chart from images built from its Dockerfiles."""

import asyncio
import json
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
import yaml
from tests.support.operator import eventually

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/leat"
DOCKERFILES = {"leat-operator": ROOT / "operator/Dockerfile", "leat-runner": ROOT / "runner/Dockerfile"}
MINUTES = 240.0
Body = dict[str, Any]


@dataclass(frozen=True)
class Site:
    """What the environment says about the cluster.

    Attributes:
        name: Of the release and of its namespace; the namespaces of tests begin with it.
        shared: Others may have a Leat here: this one looks at its own namespaces only.
        build: A command that takes NAME:TAG DOCKERFILE CONTEXT, and makes the image known to the cluster.
        servers: URLs of Postgres (as somebody who may create databases), RabbitMQ and its management API, that pods
            and this machine reach; without them, the chart brings its own.
    """

    kubeconfig: str
    name: str
    shared: bool
    build: tuple[str, ...]
    servers: tuple[str, str, str] | None

    @classmethod
    def of_environment(cls) -> "Site":
        """Read it. A test cannot go on without a cluster."""
        if missing := [program for program in ("kubectl", "helm") if not shutil.which(program)]:
            pytest.fail(f"{' and '.join(missing)} must be on the PATH for the tests on a cluster")
        kubeconfig = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube/config")
        if not Path(kubeconfig).is_file():
            pytest.fail("no cluster: set KUBECONFIG, or make one: kind create cluster")
        servers = tuple(
            os.environ.get(f"LEAT_E2E_{name}", "") for name in ("POSTGRES_URL", "AMQP_URL", "AMQP_MANAGEMENT_URL")
        )
        if any(servers) and not all(servers):
            pytest.fail("LEAT_E2E_POSTGRES_URL, LEAT_E2E_AMQP_URL and LEAT_E2E_AMQP_MANAGEMENT_URL belong together")
        return cls(
            kubeconfig=kubeconfig,
            name=os.environ.get("LEAT_E2E_NAME", "leat-e2e"),
            shared=bool(os.environ.get("LEAT_E2E_SHARED")),
            build=tuple(shlex.split(os.environ.get("LEAT_E2E_BUILD", str(ROOT / "hack/build-image")))),
            servers=(servers[0], servers[1], servers[2]) if all(servers) else None,
        )

    def image(self, name: str, dockerfile: Path, context: Path = ROOT, *, tag: str = "") -> str:
        """Build an image and make it known to the cluster; its reference. Its tag is the site's name unless stated."""
        tag = f"{name}:{tag or self.name}"
        command = [*self.build, tag, str(dockerfile), str(context)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{tag} cannot be built:\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
        return tag


@dataclass
class Installation:
    """A release of the chart, and a namespace of a user's.

    Attributes:
        namespace: The release's.
        work: A namespace that it looks after, for what tests apply.
    """

    site: Site
    chart: Path
    values: Body
    namespace: str
    work: str
    images: dict[str, str] = field(default_factory=dict)

    @property
    def kubeconfig(self) -> str:
        """The path of a kubeconfig that may do everything."""
        return self.site.kubeconfig

    @property
    def release(self) -> str:
        """The name of the release."""
        return self.site.name

    @property
    def fullname(self) -> str:
        """What names of the chart's objects begin with."""
        return self.release if "leat" in self.release else f"{self.release}-leat"

    def image(self, name: str) -> str:
        """The reference of ``leat-operator``, ``leat-runner``, or another image that was built here."""
        return self.images[name]

    def build(self, name: str, dockerfile: Path | None = None, context: Path = ROOT) -> str:
        """Build an image and make it known to the cluster; its reference."""
        self.images[name] = self.site.image(name, dockerfile or DOCKERFILES[name], context)
        return self.images[name]

    def variant(self, name: str, *lines: str, files: dict[str, str] | None = None) -> str:
        """Build ``NAME-next``: the image with some lines more in its Dockerfile, and with files beside it."""
        with tempfile.TemporaryDirectory() as folder:
            for path, text in (files or {}).items():
                (Path(folder) / path).write_text(text)
            dockerfile = Path(folder) / "Dockerfile"
            dockerfile.write_text("\n".join([f"FROM {self.image(name)}", *lines, ""]))
            return self.build(f"{name}-next", dockerfile, Path(folder))

    def kubectl(self, *arguments: str, namespace: str | None = None, stdin: str = "", check: bool = True) -> str:
        """What kubectl prints, in the release's namespace unless another is named."""
        command = ["kubectl", "--kubeconfig", self.kubeconfig, "--namespace", namespace or self.namespace, *arguments]
        return _run(command, stdin, check)

    def helm(self, *arguments: str, check: bool = True) -> str:
        """What helm prints, in the release's namespace."""
        return _run(["helm", "--kubeconfig", self.kubeconfig, "--namespace", self.namespace, *arguments], "", check)

    def upgrade(self, changes: Body | None = None, *arguments: str) -> str:
        """`helm upgrade --install --wait` with the site's values and these changes on top."""
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as base, tempfile.NamedTemporaryFile("w") as more:
            for file, values in ((base, self.values), (more, changes or {})):
                yaml.safe_dump(values, file)
                file.flush()
            return self.helm(
                *("upgrade", "--install", self.release, str(self.chart), "--values", base.name, "--values", more.name),
                *("--wait", "--timeout", "4m", *arguments),
            )

    def get(self, kind: str, *arguments: str, namespace: str | None = None) -> list[Body]:
        """Objects of a kind."""
        found = json.loads(self.kubectl("get", kind, *arguments, "--output", "json", namespace=namespace))
        return list(found["items"]) if "items" in found else [found]

    def pods(self, selector: str) -> list[Body]:
        """Pods that are there and not about to go."""
        return [pod for pod in self.get("pods", "-l", selector) if "deletionTimestamp" not in pod["metadata"]]

    def apply(self, *documents: Body, namespace: str | None = None) -> None:
        """Apply resources in the namespace of tests, unless another is named."""
        text = yaml.safe_dump_all(documents)
        self.kubectl("apply", "--server-side", "--filename", "-", namespace=namespace or self.work, stdin=text)

    def create(self, *documents: Body) -> None:
        """Create resources in the namespace of tests."""
        self.kubectl("create", "--filename", "-", namespace=self.work, stdin=yaml.safe_dump_all(documents))

    def ended(self, names: set[str], seconds: float = MINUTES) -> list[Body]:
        """The runs of these names, when all of them are over."""

        def look() -> list[Body] | None:
            runs = [run for run in self.get("workflowruns", namespace=self.work) if run["metadata"]["name"] in names]
            over = [run for run in runs if run.get("status", {}).get("phase") in {"Succeeded", "Failed", "Cancelled"}]
            return over if len(over) == len(names) else None

        return eventually(look, f"{len(names)} runs are over", seconds, every=0.5)

    def within(self, selector: str, *command: str) -> str:
        """What a command prints in the first pod of the selector."""
        pod = self.pods(selector)[0]["metadata"]["name"]
        return self.kubectl("exec", pod, "--", *command)


OPERATOR = "app.kubernetes.io/component=operator"
RUNNERS = "leat.dev/pool=default"
GRANTED = "granted"
"""The pool whose runners may read Secrets and run Jobs in the namespace of tests. Those of `default` may do nothing."""

RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}


@contextmanager
def installed(site: Site, folder: Path, changes: Body | None = None) -> Iterator[Installation]:
    """Build, package, install (with other values) and wait.

    In the end it is uninstalled, and its namespaces and its database are gone.
    """
    chart = Path(_run(["helm", "package", str(CHART), "--destination", str(folder)], "", True).split(": ")[-1].strip())
    installation = Installation(site, chart, {}, site.name, f"{site.name}-work")
    spaces = [installation.namespace, installation.work]
    for name in DOCKERFILES:
        installation.build(name)
    with database(site) as dsn:
        installation.values = _values(installation, dsn) | (changes or {})
        try:
            _clean(installation, spaces)
            installation.apply(*(_namespace(name) for name in spaces), namespace="default")
            # Helm installs CRDs once. Those that an earlier version has left behind are brought up to date by hand.
            if "workflows.leat.dev" in installation.kubectl("get", "crds", "--output", "name"):
                _define(("kubectl", "--kubeconfig", site.kubeconfig))
            installation.upgrade()
            yield installation
        finally:
            _clean(installation, spaces)


@contextmanager
def database(site: Site) -> Iterator[str | None]:
    """The URL of a database of the release's name; None where the chart brings its own Postgres."""
    if site.servers is None:
        yield None
        return
    name = site.name.replace("-", "_")
    _sql(site.servers[0], f"drop database if exists {name} with (force)", f"create database {name}")
    try:
        yield urlunsplit(urlsplit(site.servers[0])._replace(path=f"/{name}"))
    finally:
        _sql(site.servers[0], f"drop database if exists {name} with (force)")


@contextmanager
def defined(kubeconfig: str) -> Iterator[None]:
    """The cluster has the definitions of this tree. In the end they are gone, if they were not there before."""
    kubectl = ("kubectl", "--kubeconfig", kubeconfig)
    before = "workflows.leat.dev" in _run([*kubectl, "get", "crds", "--output", "name"], "", True)
    _define(kubectl)
    try:
        yield
    finally:
        if not before:
            _run([*kubectl, "delete", "--filename", str(CHART / "crds"), "--timeout=2m"], "", True)


def _define(kubectl: tuple[str, ...]) -> None:
    apply = ("apply", "--server-side", "--force-conflicts", "--filename", str(CHART / "crds"))
    _run([*kubectl, *apply], "", True)


def _values(installation: Installation, dsn: str | None) -> Body:
    site = installation.site
    images = {part: _reference(installation.image(f"leat-{part}")) for part in ("operator", "runner")}
    granted = {"namespaces": [installation.work]}
    pools = {
        "default": {},
        GRANTED: {"replicas": {"min": 1, "max": 1}, "slots": 20, "secrets": granted, "containers": granted},
    }
    values: Body = {"images": images, "pools": pools, "webhook": {"enabled": True}, "readApi": {"enabled": True}}
    if site.shared:
        values["operator"] = {"watchNamespaces": [installation.namespace, installation.work]}
    if site.servers is None:
        return values | {"dev": {"postgres": {"enabled": True}, "rabbitmq": {"enabled": True}}}
    _, amqp, management = site.servers
    return values | {"postgres": {"url": dsn}, "rabbitmq": {"url": amqp, "managementUrl": management}}


def _reference(image: str) -> Body:
    repository, _, tag = image.rpartition(":")
    return {"repository": repository, "tag": tag}


def _namespace(name: str) -> Body:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}}


def _clean(installation: Installation, spaces: list[str]) -> None:
    installation.helm("uninstall", installation.release, "--ignore-not-found", "--wait", "--timeout", "4m")
    installation.kubectl("delete", "namespace", *spaces, "--ignore-not-found", "--timeout=4m")


def _sql(url: str, *statements: str) -> None:
    async def execute() -> None:
        connection = await asyncpg.connect(url)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            with suppress(TimeoutError):
                await connection.close(timeout=5)

    asyncio.run(execute())


def _run(command: list[str], stdin: str, check: bool) -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if check:
        assert done.returncode == 0, (
            f"{' '.join(command)}: {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        )
    return done.stdout if check else done.stdout + done.stderr
