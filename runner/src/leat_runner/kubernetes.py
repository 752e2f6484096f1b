"""The API server, as far as steps need it: raw JSON of a few requests. The only module that imports kubernetes_asyncio.

In a cluster the service account's files are all it takes, so nothing is imported for that: the client library costs
seconds and 100 MB. It is loaded when there is a KUBECONFIG, which only it can read in all its forms.
"""

import asyncio
import os
import random
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
import orjson

from leat_engine.errors import LeatError
from leat_engine.limits import MIB

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TOKEN_SECONDS = 60.0
"""How long a token that was read from its file is used: the kubelet replaces it long before it expires."""

TIMEOUT = aiohttp.ClientTimeout(total=30, sock_connect=5)
QUIET_SECONDS = 330.0
"""A watch or a log that says nothing for so long is begun again: its connection may be dead without a word."""

LINE_BYTES = 2 * MIB

Json = dict[str, Any]


class ApiUnavailable(LeatError):
    """The API server did not answer, or asked to come back later. The outcome of the request is unknown."""

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
    tls: ssl.SSLContext | bool
    token: Callable[[], Awaitable[str | None]]
    server_name: str | None = None


class Kubernetes:
    """One session with the API server, opened by the first request.

    Every method raises `ApiUnavailable`, `ApiRefused` or `NoCluster`. Paths begin with ``/api``.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._environment = environment
        self._opening = asyncio.Lock()
        self._access: _Access | None = None
        self._session: aiohttp.ClientSession | None = None

    async def read(self, path: str, **query: str) -> Json | None:
        """The object or list at ``path``; None when there is none."""
        try:
            return await self._json("GET", path, query)
        except ApiRefused as refused:
            if refused.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    async def create(self, path: str, body: Json) -> Json:
        """The new object in the collection at ``path``."""
        return await self._json("POST", path, {}, body)

    async def delete(self, path: str) -> bool:
        """Delete an object, and what it owns in the background; False when there was none."""
        try:
            await self._json("DELETE", path, {"propagationPolicy": "Background"})
        except ApiRefused as refused:
            if refused.status == HTTPStatus.NOT_FOUND:
                return False
            raise
        return True

    async def watch(self, path: str, version: str, **query: str) -> AsyncGenerator[Json, None]:
        """What changes in a collection after ``version``: ``{type, object}`` until the API server ends it."""
        query |= {"watch": "true", "resourceVersion": version, "timeoutSeconds": "300", "allowWatchBookmarks": "true"}
        async for line in self.lines(path, **query):
            try:
                yield orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise ApiUnavailable("a watch was cut within an event") from error

    async def lines(self, path: str, **query: str) -> AsyncGenerator[bytes, None]:
        """The lines of an answer that goes on, such as a log, without their ends. A longer one than 2 MiB is cut."""
        timeout = aiohttp.ClientTimeout(sock_connect=5, sock_read=QUIET_SECONDS)
        async with self._answer("GET", path, query, timeout=timeout) as answer:
            rest = b""
            async for chunk in answer.content.iter_any():
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    yield line
                rest = rest[:LINE_BYTES]
            if rest:
                yield rest

    async def close(self) -> None:
        """End the session, if there is one."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _json(self, method: str, path: str, query: Mapping[str, str], body: Json | None = None) -> Json:
        async with self._answer(method, path, query, body) as answer:
            found: Json = orjson.loads(await answer.read())
            return found

    @asynccontextmanager
    async def _answer(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Json | None = None,
        *,
        timeout: aiohttp.ClientTimeout = TIMEOUT,  # noqa: ASYNC109  aiohttp's own, which tells what timed out
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        session, access = await self._opened()
        headers = {"Content-Type": "application/json", "User-Agent": "leat-runner"}
        if token := await access.token():
            headers["Authorization"] = token
        data = None if body is None else orjson.dumps(body)
        try:
            async with session.request(
                method,
                access.url + path,
                params=query,
                data=data,
                headers=headers,
                timeout=timeout,
                ssl=access.tls,
                server_hostname=access.server_name,
            ) as answer:
                if answer.status >= HTTPStatus.BAD_REQUEST:
                    self._refuse(answer.status, await answer.read())
                yield answer
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiUnavailable(f"the API server does not answer: {error or type(error).__name__}") from error

    def _refuse(self, status: int, body: bytes) -> None:
        try:
            said = orjson.loads(body)
            message, reason = str(said["message"]), str(said.get("reason", ""))
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            message, reason = body[:300].decode(errors="replace"), ""
        if status == HTTPStatus.UNAUTHORIZED:
            self._access = None  # the credentials have changed, perhaps: look for them again
            raise ApiUnavailable(f"the API server does not know this runner's credentials: {message}")
        if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise ApiUnavailable(f"the API server answers {status}: {message}")
        raise ApiRefused(status, reason or HTTPStatus(status).phrase.title().replace(" ", ""), message)

    async def _opened(self) -> tuple[aiohttp.ClientSession, _Access]:
        async with self._opening:
            if self._access is None:
                self._access = await _found(self._environment)
            if self._session is None:
                # Each step that runs has a watch and a log open: their number is that of the slots.
                self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), trust_env=True)
            return self._session, self._access


def pause(tries: int) -> float:
    """Seconds to wait before asking again an API server that has been away for so many tries."""
    return random.uniform(0.1, min(10.0, 0.2 * 2**tries))  # noqa: S311  jitter


async def _found(environment: Mapping[str, str]) -> _Access:
    if environment.get("KUBECONFIG"):
        return await _of_kubeconfig(environment["KUBECONFIG"])
    if environment.get("KUBERNETES_SERVICE_HOST") and (ACCOUNT / "token").exists():
        return _of_account(environment)
    raise NoCluster(
        "this runner has no access to a cluster: it needs a service account with a token in its pod, or KUBECONFIG"
    )


def _of_account(environment: Mapping[str, str]) -> _Access:
    host, port = environment["KUBERNETES_SERVICE_HOST"], environment.get("KUBERNETES_SERVICE_PORT", "443")
    read_at, token = -TOKEN_SECONDS, ""

    async def current() -> str:
        nonlocal read_at, token
        if time.monotonic() - read_at >= TOKEN_SECONDS:
            token = f"Bearer {(ACCOUNT / 'token').read_text().strip()}"
            read_at = time.monotonic()
        return token

    url = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    return _Access(url, ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt")), current)


async def _of_kubeconfig(path: str) -> _Access:
    client, config = await asyncio.to_thread(_library)
    found = client.Configuration()
    try:
        await config.load_kube_config(config_file=path, client_configuration=found, persist_config=False)
    except (config.ConfigException, OSError, ValueError) as error:
        raise NoCluster(f"KUBECONFIG={path} cannot be used: {error}") from error
    tls = ssl.create_default_context(cafile=found.ssl_ca_cert)
    if found.cert_file:
        tls.load_cert_chain(found.cert_file, keyfile=found.key_file)
    if not found.verify_ssl:
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE

    async def current() -> str | None:
        token: str | None = await found.get_api_key_with_prefix("BearerToken")
        return token or (str(found.get_basic_auth_token()) if found.username else None)

    return _Access(found.host.rstrip("/"), tls, current, found.tls_server_name)


def _library() -> tuple[Any, Any]:
    """The client library; called in a thread, as its import would silence the heartbeat."""
    from kubernetes_asyncio import client, config  # noqa: PLC0415

    return client, config
