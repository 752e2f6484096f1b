"""The API server as the pool's service account sees it: one GET. The runner's only door to Kubernetes."""

import os
import ssl
from base64 import b64decode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import yaml
from pydantic_settings import BaseSettings, SettingsConfigDict

from leat_engine.errors import LeatError

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TIMEOUT = aiohttp.ClientTimeout(total=10)


class KubernetesError(LeatError):
    """The API server refused, or did not answer: then ``status`` is 0."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class KubernetesSettings(BaseSettings):
    """Where the API server is."""

    model_config = SettingsConfigDict(env_prefix="LEAT_")

    kubeconfig: Path | None = None
    """A kubeconfig; unset, the service account of the pod is used."""


@dataclass(frozen=True, slots=True)
class Access:
    """An API server and how to prove oneself to it. The token is read at every use: Kubernetes replaces it."""

    server: str
    tls: ssl.SSLContext
    token: str | Path

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries."""
        token = self.token.read_text() if isinstance(self.token, Path) else self.token
        return {"Authorization": f"Bearer {token.strip()}", "Accept": "application/json"}


class Kubernetes:
    """Reads objects. Needs a running loop at its first use."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._session: aiohttp.ClientSession | None = None

    async def read(self, path: str) -> dict[str, Any] | None:
        """The object at a path such as ``/api/v1/namespaces/shop/secrets/pay``, or None when there is none.

        Raises:
            KubernetesError: The API server refused, or did not answer.
        """
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=TIMEOUT, trust_env=False)
        try:
            async with self._session.get(
                self._access.server + path,
                headers=self._access.headers,
                ssl=self._access.tls,
                allow_redirects=False,
            ) as answer:
                body = await answer.read()
        except (aiohttp.ClientError, OSError) as error:  # OSError: also a timeout, and a token that cannot be read
            raise KubernetesError(0, f"the API server does not answer ({type(error).__name__})") from error
        try:
            found = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise KubernetesError(answer.status, f"the API server answered {answer.status} without JSON") from error
        if answer.status == 404:
            return None
        if answer.status != 200 or not isinstance(found, dict):
            message = found.get("message") if isinstance(found, dict) else None
            raise KubernetesError(answer.status, str(message or f"the API server answered {answer.status}"))
        return found

    async def close(self) -> None:
        """Close the connection."""
        if self._session is not None:
            await self._session.close()


def connect() -> Kubernetes | None:
    """The API server that ``LEAT_KUBECONFIG`` names or the pod lives at; None outside a cluster.

    Raises:
        KubernetesError: The kubeconfig cannot be used.
    """
    config = KubernetesSettings().kubeconfig
    access = _of_pod() if config is None else _of_kubeconfig(config)
    return None if access is None else Kubernetes(access)


def _of_pod() -> Access | None:
    host, port = (os.environ.get(f"KUBERNETES_SERVICE_{name}", "") for name in ("HOST", "PORT"))
    if not host or not (ACCOUNT / "token").exists():
        return None
    host = f"[{host}]" if ":" in host else host
    return Access(f"https://{host}:{port or 443}", _trusting((ACCOUNT / "ca.crt").read_text()), ACCOUNT / "token")


def _of_kubeconfig(path: Path) -> Access:
    """The current context of a kubeconfig whose user has a token."""
    try:
        config = yaml.safe_load(path.read_text())
        context = _named(config["contexts"], config["current-context"])["context"]
        cluster = _named(config["clusters"], context["cluster"])["cluster"]
        user = _named(config["users"], context["user"])["user"]
        authority = b64decode(cluster["certificate-authority-data"]).decode()
        return Access(cluster["server"].rstrip("/"), _trusting(authority), user["token"])
    except (OSError, yaml.YAMLError, LookupError, TypeError, ValueError) as error:
        message = f"LEAT_KUBECONFIG: {path} cannot be used ({error}); expected certificate-authority-data and a token"
        raise KubernetesError(0, message) from error


def _named(items: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return {item["name"]: item for item in items}[name]


def _trusting(authority: str) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=authority)
