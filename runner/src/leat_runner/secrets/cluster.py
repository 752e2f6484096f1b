"""Secrets of Kubernetes in the run's namespace, of which only those are read that say so by a label."""

import asyncio
import random
import re
import time
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from itertools import chain, repeat
from typing import Any, Protocol

import structlog

from leat_engine.expression import SecretRef
from leat_engine.result import ErrorType
from leat_runner.kubernetes import ApiRefused, ApiUnavailable, NoCluster
from leat_runner.secrets.source import SecretError, not_readable

LABEL = "leat.dev/secret"
FRESH = 5.0
"""Seconds that a Secret is known: one that was replaced is seen after them at the latest."""
ABSENT = 1.0
"""Seconds that a Secret is known not to be there or not to be readable: somebody may be about to mend it."""
PATIENCE = 30.0
"""Seconds that an API server is waited for which is away. The attempt's timeout may be shorter."""
_PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0)

log = structlog.get_logger()

Found = Mapping[str, Any] | SecretError | None
"""The data of a Secret, why it is not told, or None when there is none."""


class Reader(Protocol):
    """The API server."""

    async def read(self, path: str) -> dict[str, Any] | None:
        """The object at a path, or None. Raises `ApiUnavailable`, `ApiRefused` or `NoCluster`."""
        ...

    async def close(self) -> None:
        """Close the connection."""
        ...


@dataclass(frozen=True, slots=True)
class _Address:
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"Secret '{self.name}' in namespace '{self.namespace}'"

    @property
    def path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/secrets/{self.name}"


class ClusterSecrets:
    """Reads Secrets with the rights of the pool's service account: one request for all who ask at once."""

    def __init__(self, kubernetes: Reader) -> None:
        self._kubernetes = kubernetes
        self._known: dict[_Address, asyncio.Task[Found]] = {}
        self._outside = ""

    async def read(self, namespace: str, ref: SecretRef) -> bytes | None:
        """The value of the key."""
        address = _Address(namespace, ref.name)
        found = await self._patiently(address)
        if found is None:
            return None
        if ref.key not in found:
            keys = ", ".join(sorted(found)) or "none"
            message = f"{ref}: {address} has no key '{ref.key}'; it has: {keys}"
            raise SecretError(ErrorType.SECRET_NOT_FOUND, message, reason="NoSuchKey", retriable=True)
        return b64decode(found[ref.key])

    def place(self, namespace: str, ref: SecretRef) -> str:
        """The Secret, and the label that it needs."""
        why = self._outside or f'which would need the label {LABEL}: "true"'
        return f"{_Address(namespace, ref.name)} ({why})"

    async def close(self) -> None:
        """Forget all, and close the connection."""
        self._known.clear()
        await self._kubernetes.close()

    async def _patiently(self, address: _Address) -> Mapping[str, Any] | None:
        """What is known of a Secret; an API server that is away is waited for."""
        end = time.monotonic() + PATIENCE
        for pause in chain(_PAUSES, repeat(_PAUSES[-1])):
            found = await self._look(address)
            if not isinstance(found, SecretError):
                return found
            if not found.error.retriable or time.monotonic() + pause > end:
                raise found
            log.warning("secret_held", reason=str(found))
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311  jitter
        raise AssertionError  # pragma: no cover  the loop above has no end

    async def _look(self, address: _Address) -> Found:
        asking = self._known.get(address)
        if asking is None:
            asking = self._known[address] = asyncio.create_task(self._ask(address))
            asking.add_done_callback(lambda _: self._keep(address, asking))
        # Others may wait for the same answer when this step is cancelled.
        return await asyncio.shield(asking)

    def _keep(self, address: _Address, asked: "asyncio.Task[Found]") -> None:
        """Forget the answer in time; at once if there was none."""
        if asked.cancelled() or asked.exception() is not None:
            self._known.pop(address, None)
            return
        found = asked.result()
        if isinstance(found, SecretError) and found.error.retriable:
            self._known.pop(address, None)
            return
        seconds = ABSENT if found is None or isinstance(found, SecretError) else FRESH
        asyncio.get_running_loop().call_later(seconds, self._known.pop, address, None)

    async def _ask(self, address: _Address) -> Found:
        try:
            secret = await self._kubernetes.read(address.path)
        except NoCluster as error:
            self._outside = str(error)
            return None
        except ApiUnavailable as error:
            message = f"{address} could not be read: {error}"
            return not_readable(message, reason="ApiServerUnavailable", retriable=True)
        except ApiRefused as error:
            return _refused(address, error)
        if secret is None:
            return None
        if (secret["metadata"].get("labels") or {}).get(LABEL) != "true":
            message = f"{address} does not say that workflows may read it. If they may: "
            return not_readable(message + f"kubectl label secret {address.name} -n {address.namespace} {LABEL}=true")
        return secret.get("data") or {}


def _refused(address: _Address, error: ApiRefused) -> SecretError:
    """Why the API server does not give the Secret, and what to do."""
    if error.status != HTTPStatus.FORBIDDEN:
        return not_readable(f"{address} could not be read: {error}", reason="Refused")
    account = re.search(r'User "system:serviceaccount:([-a-z0-9]+):([-.a-z0-9]+)"', str(error))
    subject = f"{account[1]}:{account[2]}" if account else "NAMESPACE:NAME"
    who = f"the service account {account[2]} in {account[1]}" if account else "its service account"
    space = address.namespace
    message = (
        f"this pool may not read {address}: {who} needs a Role and a RoleBinding there. "
        f"kubectl create role leat-secrets -n {space} --verb=get --resource=secrets --resource-name={address.name} && "
        f"kubectl create rolebinding leat-secrets -n {space} --role=leat-secrets --serviceaccount={subject}"
    )
    return not_readable(message, reason="Forbidden")
