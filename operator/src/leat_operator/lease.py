"""One active of several: whoever holds a `coordination.k8s.io` Lease.

After client-go's leader election: a holder that has not been seen to renew for the Lease's duration, by the own
monotonic clock, may be replaced; a holder that could not renew within the shorter renew deadline stops before that.
Clocks of different machines are never compared.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self

import structlog

from leat_engine.errors import LeatError
from leat_operator.cluster import Cluster, ClusterUnavailable, Conflict, Forbidden
from leat_operator.objects import LEASES

log = structlog.get_logger(__name__)

Lease = dict[str, Any]


class LeaseLost(LeatError):
    """Another replica is, or soon may be, the active one. This one has to stop at once."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. The order of the three keeps two replicas from being active together."""

    duration: float
    renew_deadline: float
    retry: float

    @classmethod
    def of(cls, duration: float) -> Self:
        """In the proportions of client-go: 15, 10 and 2."""
        return cls(duration, duration * 10 / 15, duration * 2 / 15)


@dataclass(frozen=True, slots=True)
class Clock:
    """Time and chance, as the elector meets them."""

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random.random


class Move(StrEnum):
    """What a candidate does about the Lease that it sees."""

    CREATE = "create"  # there is none
    TAKE = "take"  # it is free, ours, or its holder is silent
    WAIT = "wait"


@dataclass(slots=True)
class Watch:
    """When the Lease was last seen to change, by the own clock."""

    version: str = ""
    since: float = 0.0

    def see(self, lease: Lease, now: float) -> None:
        """Remember the Lease, if it is another version of it."""
        version = lease["metadata"]["resourceVersion"]
        if version != self.version:
            self.version, self.since = version, now


def decide(lease: Lease | None, identity: str, watch: Watch, now: float) -> Move:
    """What a candidate of this identity does now. ``watch`` has seen the Lease."""
    if lease is None:
        return Move.CREATE
    spec = lease.get("spec") or {}
    holder = spec.get("holderIdentity")
    if not holder or holder == identity:
        return Move.TAKE
    silent = now - watch.since
    return Move.TAKE if silent > float(spec.get("leaseDurationSeconds") or 0) else Move.WAIT


@dataclass(slots=True)
class Elector:
    """Acquires, keeps and releases the Lease ``namespace/name``. ``identity`` is unique to this process."""

    cluster: Cluster
    namespace: str
    name: str
    identity: str
    timing: Timing
    clock: Clock = field(default_factory=Clock)
    _lease: Lease | None = None
    _renewed: float = 0.0

    async def acquire(self) -> None:
        """Return when this process holds the Lease."""
        watch, told = Watch(), ""
        while True:
            try:
                found = await self.cluster.get(LEASES, self.namespace, self.name)
                asked = self.clock.monotonic()
                if found is not None:
                    watch.see(found, asked)
                if decide(found, self.identity, watch, asked) is not Move.WAIT:
                    await self._write(found)
                    log.info("lease acquired", lease=self.name, identity=self.identity)
                    return
                holder = (found or {})["spec"]["holderIdentity"]
                if holder != told:
                    log.info("standing by", lease=self.name, holder=holder)
                    told = holder
            except (ClusterUnavailable, Conflict, Forbidden) as error:  # rights were there when this process started
                log.warning("lease not acquired yet", lease=self.name, error=str(error))
            await self.clock.sleep(self.timing.retry * (1 + 0.2 * self.clock.random()))

    async def keep(self) -> None:
        """Renew until that fails for the renew deadline.

        Raises:
            LeaseLost: Always, in the end.
        """
        while True:
            await self.clock.sleep(self.timing.retry)
            left = self._renewed + self.timing.renew_deadline - self.clock.monotonic()
            try:
                async with asyncio.timeout(max(left, 0.0)):
                    await self._renew()
            except (ClusterUnavailable, Forbidden, TimeoutError) as error:
                log.warning("lease not renewed", lease=self.name, error=str(error), seconds_left=round(left, 1))
            if self.clock.monotonic() - self._renewed >= self.timing.renew_deadline:
                raise LeaseLost(f"the Lease {self.name} was not renewed for {self.timing.renew_deadline:g} s")

    async def release(self) -> None:
        """Let the next replica begin at once. Harmless when the Lease is not held any more."""
        if self._lease is None:
            return
        lease, self._lease = self._lease, None
        spec = {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
        try:
            async with asyncio.timeout(self.timing.retry):
                await self.cluster.replace(LEASES, {**lease, "spec": spec})
        except (LeatError, TimeoutError) as error:  # it ends by itself after its duration
            log.warning("lease not released", lease=self.name, error=str(error))

    async def _renew(self) -> None:
        try:
            await self._write(self._lease)
        except Conflict:
            found = await self.cluster.get(LEASES, self.namespace, self.name)
            holder = ((found or {}).get("spec") or {}).get("holderIdentity")
            if holder != self.identity:
                self._lease = None
                raise LeaseLost(f"the Lease {self.name} is held by {holder or 'nobody'} now") from None
            self._lease = found  # ours: the answer to the last renewal was lost

    async def _write(self, lease: Lease | None) -> None:
        asked = self.clock.monotonic()  # before the request: it counts from when the server may have seen it
        if lease is None:
            metadata = {"name": self.name, "namespace": self.namespace}
            body = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": metadata,
                "spec": self._spec({}),
            }
            self._lease = await self.cluster.create(LEASES, self.namespace, body)
        else:
            self._lease = await self.cluster.replace(LEASES, {**lease, "spec": self._spec(lease.get("spec") or {})})
        self._renewed = asked

    def _spec(self, before: Mapping[str, Any]) -> dict[str, Any]:
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        same = before.get("holderIdentity") == self.identity
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": int(self.timing.duration) or 1,
            "acquireTime": before.get("acquireTime", now) if same else now,
            "renewTime": now,
            "leaseTransitions": int(before.get("leaseTransitions") or 0) + (0 if same else 1),
        }
