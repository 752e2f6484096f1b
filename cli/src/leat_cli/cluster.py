"""One API server and how to talk to it: JSON in, JSON out. The only module that imports `kubernetes`."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import urllib3
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException

from leat_cli.problems import Unavailable
from leat_cli.source import Place

_TIMEOUT = 10.0  # seconds for the API server to answer
_LASTING = frozenset(range(400, 500)) - {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}
_WRITTEN = {"PATCH": "application/merge-patch+json", "POST": "application/json"}

_NO_RESOURCE = "the server could not find the requested resource"

Query = Mapping[str, str | int]


class Refused(Unavailable):
    """An answer that is not the one that was asked for.

    Attributes:
        host: URL of the API server.
        status: Of HTTP.
        reason: What the answer says, without the API server's name.
        served: Whether somebody serves the path at all: a 404 speaks of an object then, not of the whole resource.
    """

    def __init__(self, host: str, status: int, reason: str, *, served: bool) -> None:
        super().__init__(_explained(host, status, reason), lasting=status in _LASTING)
        self.host = host
        self.status = status
        self.reason = reason
        self.served = served

    @property
    def missing(self) -> bool:
        """Whether the object is not there."""
        return self.status == HTTPStatus.NOT_FOUND and self.served


@dataclass(frozen=True, slots=True)
class ApiServer:
    """The API server of a kubeconfig's context, or the one of the pod that this process runs in."""

    api: client.ApiClient
    namespace: str

    @classmethod
    def connect(cls, place: Place) -> "ApiServer":
        """Read the kubeconfig; the API server is not asked yet.

        Raises:
            Unavailable: There is no kubeconfig, or no such context in it.
        """
        try:
            contexts, current = config.list_kube_config_contexts(place.kubeconfig)  # type: ignore[no-untyped-call]
        except ConfigException as error:
            return cls._of_pod(place, error)
        wanted = place.context or (current or {}).get("name")
        chosen = next((found for found in contexts if found["name"] == wanted), None)
        if chosen is None:
            names = ", ".join(sorted(found["name"] for found in contexts))
            raise Unavailable(f"found --context {wanted!r}, expected one of the kubeconfig: {names}")
        settings = _settings()
        try:
            config.load_kube_config(place.kubeconfig, chosen["name"], settings)  # type: ignore[no-untyped-call]
        except ConfigException as error:
            raise Unavailable(f"the kubeconfig cannot be used: {error}") from error
        return cls(client.ApiClient(settings), chosen["context"].get("namespace") or "default")

    @classmethod
    def _of_pod(cls, place: Place, missing: ConfigException) -> "ApiServer":
        message = (
            f"no cluster to ask: {missing} Name a kubeconfig (export KUBECONFIG=FILE), or read the runs from their "
            "database (--database URL, or export LEAT_DATABASE_URL=URL)."
        )
        if place.kubeconfig:
            raise Unavailable(f"found --kubeconfig {place.kubeconfig!r}: {missing}") from missing
        settings = _settings()
        try:
            config.load_incluster_config(settings)  # type: ignore[no-untyped-call]
        except ConfigException:
            raise Unavailable(message) from missing
        return cls(client.ApiClient(settings), "default")

    async def get(self, path: str, query: Query | None = None) -> dict[str, Any]:
        """Return what is at a path.

        Raises:
            Refused: The answer is another one.
            Unavailable: There is none.
        """
        return await asyncio.to_thread(self._ask, "GET", path, query, None)

    async def patch(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Apply a JSON merge patch, and return what became of the object.

        Raises:
            Refused, Unavailable: As `get` does.
        """
        return await asyncio.to_thread(self._ask, "PATCH", path, None, body)

    async def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object, and return what became of it.

        Raises:
            Refused, Unavailable: As `get` does.
        """
        return await asyncio.to_thread(self._ask, "POST", path, None, body)

    @asynccontextmanager
    async def watch(self, path: str, query: Query, silence: float) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """Yield the events of a watch, which ends when the API server says so, or says nothing for so many seconds.

        Raises:
            Refused, Unavailable: As `get` does, also from within the iteration.
        """
        answer = await asyncio.to_thread(self._send, "GET", path, {**query, "watch": 1}, None, silence)
        try:
            yield self._events(answer)
        finally:
            if not answer.closed:
                answer.shutdown()  # frees the thread that may still be reading
            answer.close()

    async def close(self) -> None:
        """Close the connections."""
        self.api.close()  # type: ignore[no-untyped-call]

    async def _events(self, answer: urllib3.BaseHTTPResponse) -> AsyncIterator[dict[str, Any]]:
        lines = answer.stream(None)
        rest = b""
        while True:
            try:
                chunk = await asyncio.to_thread(next, lines, None)
            except urllib3.exceptions.HTTPError as error:
                raise self._silent(error) from error
            if chunk is None:
                return
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                yield json.loads(line)

    def _ask(self, method: str, path: str, query: Query | None, body: Any) -> dict[str, Any]:
        answer = self._send(method, path, query, body)
        try:
            found: dict[str, Any] = json.loads(answer.data)
        except urllib3.exceptions.HTTPError as error:
            raise self._silent(error) from error
        except ValueError as error:
            raise Unavailable(f"{self._host}{path} answered with no JSON: is it an API server?") from error
        return found

    def _send(
        self, method: str, path: str, query: Query | None, body: Any, silence: float = _TIMEOUT
    ) -> urllib3.BaseHTTPResponse:
        headers = {"Accept": "application/json"} | ({"Content-Type": _WRITTEN[method]} if body is not None else {})
        try:
            request = self.api.param_serialize(
                method, path, query_params=list((query or {}).items()), header_params=headers, body=body,
                auth_settings=["BearerToken"],
            )  # fmt: skip
            answer: urllib3.BaseHTTPResponse = self.api.call_api(
                *request, _request_timeout=(_TIMEOUT, silence)
            ).response
            if answer.status >= HTTPStatus.MULTIPLE_CHOICES:
                raise self._refused(answer)
        except (urllib3.exceptions.HTTPError, ApiException, ConfigException) as error:
            raise self._silent(error) from error
        return answer

    def _refused(self, answer: urllib3.BaseHTTPResponse) -> Refused:
        text = answer.data.decode(errors="replace").strip()
        try:
            reason = str(json.loads(text)["message"])
        except (TypeError, ValueError, KeyError):
            return Refused(self._host, answer.status, text[:200] or str(answer.reason), served=False)
        return Refused(self._host, answer.status, reason, served=reason != _NO_RESOURCE)

    def _silent(self, error: Exception) -> Unavailable:
        return Unavailable(f"the API server {self._host} does not answer: {error}")

    @property
    def _host(self) -> str:
        return str(self.api.configuration.host)


def _settings() -> client.Configuration:
    settings = client.Configuration()
    # An answer is an answer: a 503 with Retry-After is said at once, not slept over.
    settings.retries = urllib3.Retry(2, respect_retry_after_header=False)
    return settings


def _explained(host: str, status: int, reason: str) -> str:
    """Return what a person can do about a refusal."""
    match status:
        case HTTPStatus.UNAUTHORIZED:
            return f"the API server {host} does not know you: sign in again, or use another --context"
        case HTTPStatus.FORBIDDEN:
            return f"you may not do this: {reason}"
        case _:
            return f"the API server {host} answered {status}: {reason}"
