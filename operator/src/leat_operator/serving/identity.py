"""Where the port's certificate comes from, and how the API server learns to trust it."""

import asyncio
import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import structlog

from leat_engine.errors import LeatError
from leat_operator.certificates import Material, renewed
from leat_operator.cluster import Cluster, Conflict, NotFound
from leat_operator.objects import API_SERVICES, CONFIG_MAPS, SECRETS, VALIDATING_WEBHOOKS
from leat_operator.serving.caller import FrontProxy

log = structlog.get_logger(__name__)

AUTHENTICATION = ("kube-system", "extension-apiserver-authentication")


class NoCertificate(LeatError):
    """There is no certificate to be shown yet. The message says what is missing."""

    retriable = True


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate with its key, as PEM. ``bundle``: what the API server is told to trust; "" if others tell it."""

    chain: str
    key: str
    bundle: str = ""


class Source(Protocol):
    """Where a certificate comes from."""

    async def certificate(self) -> Certificate:
        """The certificate to show now; asked for again and again."""
        ...


class Files:
    """A folder with ``tls.crt`` and ``tls.key``, as cert-manager's Secret is mounted. It also injects the bundle."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def certificate(self) -> Certificate:
        """Read the files."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> Certificate:
        try:
            return Certificate((self._folder / "tls.crt").read_text(), (self._folder / "tls.key").read_text())
        except (OSError, UnicodeDecodeError) as error:
            raise NoCertificate(f"LEAT_TLS_DIR: {error}") from error


@dataclass(frozen=True, slots=True)
class Shared:
    """A Secret that all replicas share. Whoever finds it missing or old makes the next; the others take that one."""

    cluster: Cluster
    namespace: str
    name: str
    names: tuple[str, ...]
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def certificate(self) -> Certificate:
        """Read the Secret, and write it when something in it is due."""
        while True:
            found = await self.cluster.get(SECRETS, self.namespace, self.name)
            kept = None if found is None else self._material(found)
            material = renewed(kept, self.names, self.now())
            if material is not kept:
                try:
                    await self._write(found, material)
                except (Conflict, NotFound):
                    continue  # another replica was faster: its certificate is as good
                log.info("certificate made", secret=self.name, authorities=len(material.authorities))
            pem = material.texts()
            return Certificate(pem["tls.crt"], pem["tls.key"], pem["ca.crt"])

    def _material(self, secret: Mapping[str, Any]) -> Material | None:
        try:
            return Material.of(secret.get("data") or {})
        except ValueError as error:
            log.warning("certificate not read, so a new one is made", secret=self.name, error=str(error))
            return None

    async def _write(self, found: Mapping[str, Any] | None, material: Material) -> None:
        if found is not None:
            await self.cluster.replace(SECRETS, {**found, "data": {**(found.get("data") or {}), **material.data()}})
            return
        metadata = {"name": self.name, "namespace": self.namespace, "labels": {"app.kubernetes.io/name": "leat"}}
        body = {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata, "data": material.data()}
        await self.cluster.create(SECRETS, self.namespace, body)


async def publish(cluster: Cluster, bundle: str, webhook: str, api_service: str) -> None:
    """Write the bundle where the API server looks for it, if it is not there. What is not installed is left alone."""
    encoded = base64.b64encode(bundle.encode()).decode()
    for resource, name, wanted in (
        (VALIDATING_WEBHOOKS, webhook, webhook_patch),
        (API_SERVICES, api_service, api_service_patch),
    ):
        if not name or (found := await cluster.get(resource, None, name)) is None:
            continue
        if operations := wanted(found, encoded):
            await cluster.patch(resource, None, name, operations)
            log.info("bundle written", resource=resource.plural, name=name)


def webhook_patch(found: Mapping[str, Any], bundle: str) -> list[Mapping[str, Any]]:
    """What gives each webhook the bundle; nothing when all have it."""
    operations: list[Mapping[str, Any]] = []
    for index, hook in enumerate(found.get("webhooks") or ()):
        if hook["clientConfig"].get("caBundle") != bundle:
            path = f"/webhooks/{index}"
            operations.append({"op": "test", "path": f"{path}/name", "value": hook["name"]})
            operations.append({"op": "add", "path": f"{path}/clientConfig/caBundle", "value": bundle})
    return operations


def api_service_patch(found: Mapping[str, Any], bundle: str) -> list[Mapping[str, Any]]:
    """What gives the APIService the bundle; nothing when it has it."""
    if found["spec"].get("caBundle") == bundle:
        return []
    return [{"op": "add", "path": "/spec/caBundle", "value": bundle}]


async def front_proxy(cluster: Cluster) -> FrontProxy:
    """By what the API server is known when it speaks for others; nobody is believed in a cluster that does not say."""
    namespace, name = AUTHENTICATION
    found = await cluster.get(CONFIG_MAPS, namespace, name)
    return FrontProxy() if found is None else FrontProxy.of(found.get("data") or {})


def names_of(service: str, namespace: str, others: Sequence[str]) -> tuple[str, ...]:
    """What the API server calls the port: by its Service, and by whatever else an installation says."""
    return (f"{service}.{namespace}.svc", f"{service}.{namespace}.svc.cluster.local", *others)
