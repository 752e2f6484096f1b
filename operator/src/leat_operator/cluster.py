"""The API server, as far as the operator needs it. Besides kopf, only this module talks to it."""

import os
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp
import kopf
import orjson
from tenacity import RetryCallState, wait_exponential_jitter
from tenacity.wait import wait_base
from yarl import URL

from leat_engine.errors import LeatError
from leat_operator.metrics import API_ERRORS, API_WRITES
from leat_operator.objects import ACCESS_REVIEWS, Ref, Resource, Right

JSON_PATCH = "application/json-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

MANAGER = "leat-operator"
"""Who owns the fields that are applied, as `metadata.managedFields` names it."""

_TIMEOUT = aiohttp.ClientTimeout(total=30, sock_connect=5)


class ClusterUnavailable(LeatError):
    """The API server did not answer, or asked to come back later. ``retry_after``: seconds it named, or 0."""

    retriable = True

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class Conflict(LeatError):
    """Somebody else has changed the object since it was read."""

    retriable = True


class Expired(LeatError):
    """The list went on for longer than the API server keeps its versions; it has to begin again."""

    retriable = True


class NotFound(LeatError):
    """There is no such object, or not the one that was meant: its uid differs."""


class Refused(LeatError):
    """The API server will never take this request. The message is the server's."""


class Forbidden(Refused):
    """The operator's identity lacks a right. The message names it."""


class RetryAfter(wait_base):
    """How long to wait before asking the API server again: what it named, or longer each time."""

    _grow = wait_exponential_jitter(multiplier=0.1, max=10.0, jitter=0.2)

    def __call__(self, retry_state: RetryCallState) -> float:
        """Seconds until the next attempt."""
        error = retry_state.outcome.exception() if retry_state.outcome else None
        named = error.retry_after if isinstance(error, ClusterUnavailable) else 0.0
        return max(named, self._grow(retry_state))


def login() -> kopf.ConnectionInfo:
    """The credentials to use now: of $KUBECONFIG, of the pod's service account, or of ~/.kube/config, in this order.

    Raises:
        Refused: There are none.
    """
    settings = kopf.OperatorSettings()
    found: kopf.ConnectionInfo | None = None
    if not os.environ.get("KUBECONFIG"):
        found = kopf.login_with_service_account(settings=settings)
    found = found or kopf.login_with_kubeconfig(settings=settings)
    if found is None:
        raise Refused("no cluster: KUBECONFIG is not set, this is not a pod, and there is no ~/.kube/config")
    return found


class Cluster:
    """A client with one session, for use as an async context manager."""

    _session: aiohttp.ClientSession

    def __init__(self, connections: int = 64) -> None:
        self._connections = connections

    async def __aenter__(self) -> Self:
        self._session = self._connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any] | None:
        """The object, or None."""
        try:
            return await self._request("GET", resource.path(namespace, name))
        except NotFound:
            return None

    async def exists(self, ref: Ref) -> bool:
        """Whether this very object is there."""
        found = await self.get(ref.resource, ref.namespace, ref.name)
        return found is not None and found["metadata"]["uid"] == ref.uid

    async def pages(
        self, resource: Resource, namespace: str | None, selector: str = "", limit: int = 500
    ) -> AsyncIterator[list[dict[str, Any]]]:
        """All objects of one namespace, or of all (None), ``limit`` at a time.

        Raises:
            Expired: Reading took too long; what was given is not all.
            NotFound: The API server does not serve this resource.
        """
        query = {"limit": str(limit), **({"fieldSelector": selector} if selector else {})}
        while True:
            page = await self._request("GET", resource.path(namespace), query=query)
            yield page["items"]
            if not (token := page["metadata"].get("continue")):
                return
            query["continue"] = token

    async def patch_status(self, ref: Ref, status: Mapping[str, Any]) -> None:
        """Make ``status`` the object's whole status. A merge patch would keep what is left out, and drop every null.

        Raises:
            NotFound: The object is gone, or another one has its name now.
            Refused: The status is not what the object's schema takes.
        """
        patch = [
            {"op": "test", "path": "/metadata/uid", "value": ref.uid},
            {"op": "add", "path": "/status", "value": status},
        ]
        path = ref.resource.path(ref.namespace, ref.name, "status")
        API_WRITES.labels(f"{ref.resource.plural}/status", "patch").inc()
        try:
            await self._request("PATCH", path, patch, content_type=JSON_PATCH)
        except Refused as refused:
            if isinstance(refused, Forbidden) or await self.exists(ref):
                raise
            raise NotFound(f"{ref.namespace}/{ref.name} with uid {ref.uid} is gone") from refused

    async def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object. A `Conflict` says that there is one of this name."""
        API_WRITES.labels(resource.plural, "create").inc()
        return await self._request("POST", resource.path(namespace), body)

    async def replace(self, resource: Resource, body: Mapping[str, Any]) -> dict[str, Any]:
        """Replace an object, unless it was changed since ``metadata.resourceVersion``: then `Conflict`."""
        API_WRITES.labels(resource.plural, "update").inc()
        metadata = body["metadata"]
        return await self._request("PUT", resource.path(metadata["namespace"], metadata["name"]), body)

    async def apply(
        self, resource: Resource, body: Mapping[str, Any], *, force: bool, manager: str = MANAGER
    ) -> dict[str, Any]:
        """Make the fields of ``body`` the object's, by server-side apply; what was applied before and is missing goes.

        Args:
            resource: Of which ``body`` is one.
            body: With apiVersion, kind, and metadata that has a name, and a namespace if it is in one.
            force: Whether to take fields from others.
            manager: Who owns the fields.

        Raises:
            Conflict: Others own some of the fields. The message names them.
            Refused: The API server does not take such an object.
        """
        API_WRITES.labels(resource.plural, "apply").inc()
        metadata = body["metadata"]
        path = resource.path(metadata.get("namespace"), metadata["name"])
        query = {"fieldManager": manager, "force": str(force).lower()}
        return await self._request("PATCH", path, body, query=query, content_type=APPLY_PATCH)

    async def delete(self, resource: Resource, namespace: str, name: str, uid: str) -> None:
        """Delete this very object, if it is still there."""
        API_WRITES.labels(resource.plural, "delete").inc()
        body = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        try:
            await self._request("DELETE", resource.path(namespace, name), body)
        except (NotFound, Conflict):  # gone, or another one has its name
            return

    async def may(self, right: Right, name: str = "") -> bool:
        """Whether the operator's identity has the right, on the object of this name if it is given."""
        attributes = {
            "verb": right.verb,
            "group": right.resource.group,
            "resource": right.resource.plural,
            "subresource": right.subresource,
            "namespace": right.namespace or "",
            "name": name,
        }
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        answer = await self._request("POST", ACCESS_REVIEWS.path(None), review)
        return bool(answer["status"]["allowed"])

    async def _request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        data = None if body is None else orjson.dumps(body)
        headers = {"Content-Type": content_type} if data else {}
        status, answer, retry_after = await self._send(method, path, query or {}, data, headers)
        if status == 401:  # the token of a pod is rotated, and the old one ends
            await self._session.close()
            self._session = self._connect()
            status, answer, retry_after = await self._send(method, path, query or {}, data, headers)
        if status < 300:
            found: dict[str, Any] = orjson.loads(answer)
            return found
        API_ERRORS.labels(str(status)).inc()
        raise _error(status, f"{method} {path}: {status} {_message(answer)}", retry_after)

    async def _send(
        self, method: str, path: str, query: Mapping[str, str], data: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, bytes, float]:
        url = URL(self._server + path, encoded=True).with_query(query)
        try:
            async with self._session.request(method, url, data=data, headers=headers) as response:
                return response.status, await response.read(), _seconds(response.headers.get("Retry-After"))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            API_ERRORS.labels("0").inc()
            raise ClusterUnavailable(f"{method} {path}: {error or type(error).__name__}") from error

    def _connect(self) -> aiohttp.ClientSession:
        info = login()
        self._server = info.server.rstrip("/")
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections, ssl=info.as_ssl_context()),
            headers={**info.as_http_headers(), "User-Agent": "leat-operator", "Accept": "application/json"},
            proxy=info.proxy_url,
            timeout=_TIMEOUT,
        )


def _error(status: int, message: str, retry_after: float) -> LeatError:
    match status:
        case 403:
            return Forbidden(message)
        case 404:
            return NotFound(message)
        case 409:
            return Conflict(message)
        case 410:
            return Expired(message)
        case 401 | 408 | 429:
            return ClusterUnavailable(message, retry_after)
        case _ if status >= 500:
            return ClusterUnavailable(message, retry_after)
        case _:
            return Refused(message)


def _message(answer: bytes) -> str:
    try:
        return str(orjson.loads(answer)["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):  # not from the API server but from something before it
        return answer[:200].decode(errors="replace")


def _seconds(header: str | None) -> float:
    try:
        return float(header or 0)
    except ValueError:  # a date: the API server never sends one
        return 0.0
