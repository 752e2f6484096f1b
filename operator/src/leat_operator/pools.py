"""The room of the pools: what RunnerPools ask for is made, and what became of it is told.

Look, compare, act, tell, again and again: each round begins with what the cluster and the store say, so that there is
nothing to be remembered and nothing to be missed. Events only make the next round come sooner. Nothing here is in the
way of a run: runners go on without it, and KEDA scales them by itself.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import structlog

from leat_engine.errors import LeatError, Rejected, StoreUnavailable
from leat_engine.status import MESSAGE_CHARS, bounded, reasons_message
from leat_engine.store import Store
from leat_operator.admit import generation
from leat_operator.cluster import Cluster, Conflict, NotFound, Refused
from leat_operator.drift import Drift
from leat_operator.eviction import Costs
from leat_operator.health import Health, Load, Verdict, numbers, pool_status, verdict
from leat_operator.inbox import Inbox, Notice, Present
from leat_operator.objects import (
    AUTOSCALERS,
    DEPLOYMENTS,
    PODS,
    POOLS,
    SCALED_OBJECTS,
    TRIGGER_AUTHENTICATIONS,
    Ref,
    Resource,
)
from leat_operator.patch import Patcher
from leat_operator.pods import POOL_LABEL, Installation
from leat_operator.pool import Desired, Scaler, desire, object_name

log = structlog.get_logger(__name__)

Body = Mapping[str, Any]

REPLICAS_MANAGER = "leat-operator-replicas"
"""Holds `spec.replicas` of a Deployment for whoever scales it: a field that its last owner leaves out is reset to 1."""

SETTLED, UNSETTLED = 10.0, 2.0
"""Seconds between two rounds: while nothing is under way, and while something is."""

KEDA_LOOK = 60.0
"""Seconds until it is looked again whether KEDA has been installed."""

_SCALERS = (SCALED_OBJECTS, TRIGGER_AUTHENTICATIONS, AUTOSCALERS)


@dataclass(slots=True)
class Seen:
    """What a round found in the cluster. Objects by their kind and name."""

    objects: dict[tuple[Resource, str], Body] = field(default_factory=dict)
    keda: bool = False

    def deployment(self, pool: str) -> Body | None:
        """The Deployment of a pool."""
        return self.objects.get((DEPLOYMENTS, object_name(pool)))


class Pools:
    """Makes and watches the pools of one installation."""

    def __init__(
        self, cluster: Cluster, store: Store, patcher: Patcher, inbox: Inbox, installation: Installation
    ) -> None:
        self.revisions: dict[str, str] = {}
        """Revisions of the pods of each pool, as its RunnerPool describes them now."""
        self._cluster = cluster
        self._store = store
        self._patcher = patcher
        self._inbox = inbox
        self._installation = installation
        self._drift = Drift()
        self._costs = Costs(cluster, installation.namespace)
        self._generations: dict[str, int] = {}
        self._no_keda_until = float("-inf")
        self._told = float("-inf")

    async def run(self) -> None:
        """Make rounds until cancelled."""
        wait = 0.0
        while True:
            await self._await_news(wait)
            try:
                wait = SETTLED if await self.round() else UNSETTLED
            except LeatError as error:  # whatever it is, runners go on without us, and the next round may do better
                log.warning("pools not looked at", error=str(error))
                wait = UNSETTLED
            except Exception:  # a defect of this room must not end the operator, which has runs to accept
                log.exception("pools not looked at")
                wait = UNSETTLED

    async def learn(self) -> None:
        """Know the revisions of all pools, before what runners announced is judged by them.

        Raises:
            ClusterUnavailable: The API server does not answer.
        """
        for body in await self._list(POOLS):
            try:
                desired = desire(body, self._installation, keda=False)
            except Rejected:
                continue  # the round tells it
            self.revisions[desired.name] = desired.revision

    async def round(self) -> bool:
        """One round; whether nothing is under way.

        Raises:
            ClusterUnavailable, Expired, Forbidden: It could not be finished.
        """
        bodies = [body for body in await self._list(POOLS) if not body["metadata"].get("deletionTimestamp")]
        seen, load = await self._look(bool(bodies)), await self._load()
        names = {body["metadata"]["name"] for body in bodies}
        for gone in self.revisions.keys() - names:
            self._forget(gone)
        uids = {body["metadata"]["uid"] for body in bodies}
        self._generations = {uid: known for uid, known in self._generations.items() if uid in uids}
        healths = [await self._one(body, seen, load) for body in bodies]
        if load is not None and time.monotonic() - self._told >= SETTLED:
            await self._costs.tell([member for member in load.members if member.pool in names])
            self._told = time.monotonic()
        return all(health in {Health.READY, Health.AT_REST, Health.INVALID} for health in healths)

    def _forget(self, pool: str) -> None:
        del self.revisions[pool]
        for resource in (DEPLOYMENTS, *_SCALERS):
            self._drift.forget((resource, object_name(pool)))

    # -- look -----------------------------------------------------------------------------------------------------

    async def _await_news(self, seconds: float) -> None:
        """Return after so long, or when a pool's spec has changed; tell pools of other namespaces what they are."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if any([await self._is_news(notice) for notice in await self._inbox.take(500, left)]):
                return

    async def _is_news(self, notice: Notice) -> bool:
        if not isinstance(notice, Present):
            return False
        metadata = notice.body["metadata"]
        if metadata["namespace"] != self._installation.namespace:
            await self._tell(notice.body, _elsewhere(self._installation.namespace), {})
            return False
        return generation(metadata) != self._generations.get(metadata["uid"])

    async def _look(self, any_pool: bool) -> Seen:
        seen = Seen()
        kinds: Sequence[Resource] = (DEPLOYMENTS, AUTOSCALERS) if any_pool else ()
        for resource in kinds:
            seen.objects |= await self._made(resource)
        if any_pool and time.monotonic() >= self._no_keda_until:
            try:
                for resource in (SCALED_OBJECTS, TRIGGER_AUTHENTICATIONS):
                    seen.objects |= await self._made(resource)
                seen.keda = True
            except NotFound:
                self._no_keda_until = time.monotonic() + KEDA_LOOK
        return seen

    async def _made(self, resource: Resource) -> dict[tuple[Resource, str], Body]:
        return {(resource, body["metadata"]["name"]): body for body in await self._list(resource, POOL_LABEL)}

    async def _load(self) -> Load | None:
        """What the store says; None while it does not answer, which must not keep pools from being made."""
        try:
            members, backlog, announced = await asyncio.gather(
                self._store.pools.members(), self._store.pools.backlog(), self._store.pools.announced()
            )
        except StoreUnavailable as error:
            log.warning("load of pools not read", error=str(error))
            return None
        return Load(members, backlog, announced)

    async def _list(self, resource: Resource, labels: str = "") -> list[Body]:
        pages = self._cluster.pages(resource, self._installation.namespace, labels=labels)
        return [body async for page in pages for body in page]

    # -- compare and act ------------------------------------------------------------------------------------------

    async def _one(self, body: Body, seen: Seen, load: Load | None) -> Health:
        try:
            return await self._settle(body, seen, load)
        except LeatError:
            raise
        except Exception as error:  # a defect that one pool meets must not stop the others
            log.exception("pool not made", pool=body["metadata"]["name"])
            why = f"a defect of the operator, {type(error).__name__}: see its log, and report it"
            await self._tell(body, Verdict(Health.INVALID, why), {})
            return Health.INVALID

    async def _settle(self, body: Body, seen: Seen, load: Load | None) -> Health:
        metadata = body["metadata"]
        self._generations[metadata["uid"]] = generation(metadata)
        desired: Desired | None = None
        try:
            desired = desire(body, self._installation, keda=seen.keda)
            self.revisions[desired.name] = desired.revision
            await self._make(desired, seen)
            deployment = seen.deployment(desired.name)
            found = verdict(desired, deployment, await self._troubled(desired, deployment))
        except Rejected as rejected:
            found = Verdict(Health.INVALID, reasons_message(rejected.reasons))
        except (Refused, Conflict) as refused:  # it may be taken later: quotas and other objects change
            found = Verdict(Health.INVALID, bounded(str(refused), MESSAGE_CHARS))
        await self._tell(body, found, numbers(body, desired, seen.deployment(metadata["name"]), load))
        return found.health

    async def _make(self, desired: Desired, seen: Seen) -> None:
        """Apply what differs. What scales otherwise goes first: two scalers of one Deployment would quarrel."""
        wanted = {(resource, body["metadata"]["name"]) for resource, body in desired.objects}
        for key in ((resource, object_name(desired.name)) for resource in _SCALERS):
            if key not in wanted and (live := seen.objects.pop(key, None)) is not None:
                with suppress(NotFound, Conflict):  # gone, or another one has its name
                    await self._cluster.delete(Ref.of(key[0], live))
                self._drift.forget(key)
                log.info("scaler removed", pool=desired.name, kind=key[0].plural)
        for resource, body in desired.objects:
            live = seen.objects.get((resource, body["metadata"]["name"]))
            if resource == DEPLOYMENTS and desired.scaler is not Scaler.NOBODY:
                live = await self._leave_replicas(desired, live)
            await self._apply(resource, body, live, seen)

    async def _apply(self, resource: Resource, body: Body, live: Body | None, seen: Seen) -> None:
        key = (resource, body["metadata"]["name"])
        if live is not None and not self._drift.differs(key, body, live):
            return
        # One that is not there, or is somebody else's by its labels, is not taken from anybody.
        answer = await self._cluster.apply(resource, body, force=live is not None)
        self._drift.applied(key, body, answer)
        seen.objects[key] = answer
        if live is None or answer["metadata"]["resourceVersion"] != live["metadata"]["resourceVersion"]:
            log.info("applied", kind=resource.plural, name=key[1])

    async def _leave_replicas(self, desired: Desired, live: Body | None) -> Body:
        """The Deployment, whose number of runners is not ours: it was made with the first, and handed over."""
        body = desired.deployment
        if live is None:
            first = {**body, "spec": {**body["spec"], "replicas": desired.initial}}
            live = await self._cluster.apply(DEPLOYMENTS, first, force=False)
        elif not _owns_replicas(live):
            return live
        metadata = {name: body["metadata"][name] for name in ("name", "namespace")}
        only = {key: body[key] for key in ("apiVersion", "kind")} | {"metadata": metadata}
        replicas = {**only, "spec": {"replicas": live["spec"]["replicas"]}}
        return await self._cluster.apply(DEPLOYMENTS, replicas, force=False, manager=REPLICAS_MANAGER)

    async def _troubled(self, desired: Desired, deployment: Body | None) -> list[Body]:
        """The pods of a pool that has fewer ready ones than it is to have."""
        if deployment is None or (deployment.get("status") or {}).get("readyReplicas", 0) >= deployment["spec"].get(
            "replicas", 1
        ):
            return []
        return await self._list(PODS, f"{POOL_LABEL}={desired.name}")

    # -- tell -----------------------------------------------------------------------------------------------------

    async def _tell(self, body: Body, found: Verdict, counted: dict[str, Any]) -> None:
        status = pool_status(body, found, counted, datetime.now(UTC))
        if status != body.get("status"):
            await self._patcher.patch(Ref.of(POOLS, body), lambda: status)


def _owns_replicas(deployment: Body) -> bool:
    return any(
        (each.get("manager"), each.get("operation")) == ("leat-operator", "Apply")
        and "f:replicas" in each.get("fieldsV1", {}).get("f:spec", {})
        for each in deployment["metadata"].get("managedFields", ())
    )


def _elsewhere(namespace: str) -> Verdict:
    message = f"runners are made only of RunnerPools in the operator's namespace, {namespace}: create it there"
    return Verdict(Health.NOT_IN_INSTALLATION, message)
