"""The API server as the pool's service account sees it: one GET. The runner's only door to Kubernetes."""

import os
import ssl
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
import orjson
import yaml

from leat_engine.errors import LeatError

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TIMEOUT = aiohttp.ClientTimeout(total=30, sock_connect=5)


class ApiUnavailable(LeatError):
    """The API server did not answer, or asked to come back later."""

    retriable: ClassVar[bool] = True


class ApiRefused(LeatError):
    """The API server answered, and will not do it. Carries what it said."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        self.status = status
        self.reason = reason
        super().__init__(message)


class NoCluster(LeatError):
    """This process has no access to a cluster. The message says how it gets it."""


@dataclass(frozen=True, slots=True)
class _Access:
    url: str
    tls: ssl.SSLContext
    token: str | Path

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries. Kubernetes replaces the token in its file, so it is read each time."""
        token = self.token.read_text() if isinstance(self.token, Path) else self.token
        return {"Authorization": f"Bearer {token.strip()}", "Accept": "application/json", "User-Agent": "leat-runner"}


class Kubernetes:
    """One session with the API server, opened by the first request."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._environment = environment
        self._access: _Access | None = None
        self._session: aiohttp.ClientSession | None = None

    async def read(self, path: str) -> dict[str, Any] | None:
        """The object at a path such as ``/api/v1/namespaces/shop/secrets/pay``, or None when there is none.

        Raises:
            ApiUnavailable: It does not answer.
            ApiRefused: It refuses.
            NoCluster: There is no API server to ask.
        """
        if self._access is None:
            self._access = _found(self._environment)
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=TIMEOUT, trust_env=True)
        url = self._access.url + path
        try:
            async with self._session.get(url, headers=self._access.headers, ssl=self._access.tls) as answer:
                status, body = answer.status, await answer.read()
            found = orjson.loads(body)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiUnavailable(f"the API server does not answer: {error or type(error).__name__}") from error
        except orjson.JSONDecodeError as error:
            raise ApiUnavailable(f"the API server answers {status} without JSON") from error
        return _object(status, found)

    async def close(self) -> None:
        """End the session, if there is one."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


def _object(status: int, found: Any) -> dict[str, Any] | None:
    if status == HTTPStatus.NOT_FOUND:
        return None
    if status < HTTPStatus.BAD_REQUEST and isinstance(found, dict):
        return found
    said = found if isinstance(found, dict) else {}
    message = str(said.get("message", "no reason was given"))
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS} or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        # 401: Kubernetes replaces the token of a pod, and this one may have been read a moment too early.
        raise ApiUnavailable(f"the API server answers {status}: {message}")
    raise ApiRefused(status, str(said.get("reason", "")), message)


def _found(environment: Mapping[str, str]) -> _Access:
    if config := environment.get("KUBECONFIG"):
        return _of_kubeconfig(Path(config))
    host = environment.get("KUBERNETES_SERVICE_HOST", "")
    if not host or not (ACCOUNT / "token").exists():
        raise NoCluster("this runner has no access to a cluster: it needs a service account in its pod, or KUBECONFIG")
    host = f"[{host}]" if ":" in host else host
    url = f"https://{host}:{environment.get('KUBERNETES_SERVICE_PORT', '443')}"
    return _Access(url, _trusting((ACCOUNT / "ca.crt").read_text()), ACCOUNT / "token")


def _of_kubeconfig(path: Path) -> _Access:
    """The current context of a kubeconfig whose user has a token."""
    try:
        config = yaml.safe_load(path.read_text())
        context = _named(config["contexts"], config["current-context"])["context"]
        cluster = _named(config["clusters"], context["cluster"])["cluster"]
        user = _named(config["users"], context["user"])["user"]
        authority = b64decode(cluster["certificate-authority-data"]).decode()
        return _Access(cluster["server"].rstrip("/"), _trusting(authority), user["token"])
    except (OSError, yaml.YAMLError, LookupError, TypeError, ValueError) as error:
        message = f"KUBECONFIG={path} cannot be used ({error!r}); expected certificate-authority-data and a token"
        raise NoCluster(message) from error


def _named(items: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return {item["name"]: item for item in items}[name]


def _trusting(authority: str) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=authority)
