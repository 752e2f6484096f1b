"""Signals: WorkflowSignals go to the store, and their status says what became of them.

Everything here may be told twice: a signal enters its run once, by the resource's uid. One whose run is not there yet
waits, and is tried again. Those that are over go with their run, which owns them, or after a time.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from leat_engine.errors import Rejected
from leat_engine.queue.port import Queue
from leat_engine.spec import WorkflowSignalSpec, parse_signal
from leat_engine.status import Status
from leat_engine.store import Store
from leat_engine.waits import Delivery, Fate, Signal
from leat_operator.admit import created_at, generation
from leat_operator.cluster import Cluster, ClusterUnavailable, Conflict, Expired, Forbidden, NotFound, Refused
from leat_operator.identity import NAME, doubt
from leat_operator.inbox import Absent, Inbox, Notice, Present
from leat_operator.insist import insist
from leat_operator.objects import POLICIES, POLICY_BINDINGS, SIGNALS, Ref
from leat_operator.patch import Patcher
from leat_operator.wishes import Errands, publish

log = structlog.get_logger(__name__)

BATCH = 200
AGAIN = 1.0
"""Seconds until a signal whose run is not there is tried again."""
REMEMBERED = 10.0
"""Seconds for which the policy is not looked at again."""
WOKEN = 1000
OVER = "status.phase!=,status.phase!=Pending"


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: that a signal waits for its run, that one which is over is kept, and between two lists of these."""

    grace: float
    ttl: float
    interval: float


@dataclass(frozen=True, slots=True)
class Ways:
    """What signals go through."""

    store: Store
    queue: Queue
    cluster: Cluster
    patcher: Patcher


class Deliverer:
    """Delivers what it finds in the inbox. ``namespaces``: those served, all when empty."""

    def __init__(self, inbox: Inbox, to: Ways, patience: Patience, namespaces: Sequence[str] = ()) -> None:
        self._inbox = inbox
        self._to = to
        self._patience = patience
        self._namespaces = namespaces
        self._waiting: dict[str, Mapping[str, Any]] = {}
        self._told: dict[str, str] = {}
        self._looked = float("-inf")
        self._policy: tuple[Mapping[str, Any] | None, Mapping[str, Any] | None] = (None, None)
        self._errands = Errands()

    async def run(self) -> None:
        """Deliver until cancelled."""
        tidying = asyncio.create_task(self._tidy())
        try:
            while True:
                wait = AGAIN if self._waiting else 3600.0
                await self.handle(await self._inbox.take(BATCH, wait))
        finally:
            tidying.cancel()
            self._errands.cancel()

    async def handle(self, notices: Sequence[Notice]) -> None:
        """Deliver these, and try those again that wait for their run."""
        for notice in notices:
            match notice:
                case Present(_, body):
                    self._waiting[body["metadata"]["uid"]] = body
                case Absent(ref):
                    self._forget(ref.uid)
        delivered = [await self._deliver(body) for body in sorted(self._waiting.values(), key=_age)]
        if any(delivered):
            jobs = await insist(lambda: self._to.store.care.wake(WOKEN))
            if jobs:
                self._errands.start(publish(self._to.queue, jobs))

    async def _deliver(self, body: Mapping[str, Any]) -> bool:
        """Whether the run was told something."""
        ref = Ref.of(SIGNALS, body)
        try:
            delivery = await self._delivery(ref, body)
        except Rejected as rejected:
            delivery = Delivery(Fate.REFUSED, "; ".join(map(str, rejected.reasons)))
        except Exception as error:  # a defect that one resource meets must not stop the others
            log.exception("signal not delivered", uid=ref.uid, namespace=ref.namespace, name=ref.name)
            delivery = Delivery(Fate.REFUSED, f"{type(error).__name__}; see the operator's log")
        if delivery.fate is Fate.EARLY and self._is_old(body):
            delivery = Delivery(Fate.REFUSED, f"{delivery.message}, {self._patience.grace:g} s after this was said")
        self._tell(ref, body, delivery)
        return delivery.fate is Fate.DELIVERED

    async def _delivery(self, ref: Ref, body: Mapping[str, Any]) -> Delivery:
        spec = parse_signal(body).spec
        run = await insist(lambda: self._to.store.find_run(ref.namespace, spec.run))
        if run is None:
            return Delivery(Fate.EARLY, f"there is no run {spec.run!r} yet")
        why = await self._doubt(body) if spec.by is not None else None
        if why is not None and spec.approve is not None:
            return Delivery(Fate.REFUSED, why)
        signal = _signal(ref, spec, known=why is None)
        return await insist(lambda: self._to.store.signals.deliver(run.run_id, signal))

    async def _doubt(self, body: Mapping[str, Any]) -> str | None:
        """Why the sender cannot be believed, or None."""
        if time.monotonic() - self._looked > REMEMBERED:
            try:
                self._policy = (await self._look(POLICIES), await self._look(POLICY_BINDINGS))
            except Forbidden as error:
                return f"the operator cannot see the policy {NAME}: {error}; apply config/rbac"
            self._looked = time.monotonic()
        why = doubt(*self._policy, created_at(body["metadata"]))
        if why is not None:
            self._looked = float("-inf")  # it may be put right at any moment
        return why

    async def _look(self, resource: Any) -> dict[str, Any] | None:
        return await insist(lambda: self._to.cluster.get(resource, None, NAME), even_forbidden=False)

    def _tell(self, ref: Ref, body: Mapping[str, Any], delivery: Delivery) -> None:
        status = signal_status(delivery, generation(body["metadata"]), datetime.now(UTC))
        if delivery.fate is not Fate.EARLY:
            self._forget(ref.uid)
            log.info("signal told", fate=str(delivery.fate), uid=ref.uid, namespace=ref.namespace, name=ref.name)
        elif self._told.get(ref.uid) == delivery.message:
            return
        else:
            self._told[ref.uid] = delivery.message
        self._errands.start(self._to.patcher.patch(ref, lambda: status))

    def _forget(self, uid: str) -> None:
        self._waiting.pop(uid, None)
        self._told.pop(uid, None)

    def _is_old(self, body: Mapping[str, Any]) -> bool:
        return datetime.now(UTC) - created_at(body["metadata"]) > timedelta(seconds=self._patience.grace)

    async def _tidy(self) -> None:
        """Delete what is over and old, again and again."""
        while True:
            try:
                await self.tidy()
            except (ClusterUnavailable, Expired, Forbidden) as error:
                log.warning("signals not tidied", error=str(error))
            await asyncio.sleep(self._patience.interval)

    async def tidy(self) -> int:
        """Delete what is over and old; how many these were."""
        deleted = 0
        limit = datetime.now(UTC) - timedelta(seconds=self._patience.ttl)
        for namespace in self._namespaces or (None,):
            async for page in self._to.cluster.pages(SIGNALS, namespace, OVER):
                for body in page:
                    if created_at(body["metadata"]) < limit:
                        deleted += await self._delete(Ref.of(SIGNALS, body))
        return deleted

    async def _delete(self, ref: Ref) -> bool:
        try:
            await self._to.cluster.delete(ref)
        except (NotFound, Conflict):
            return False
        except Refused as refused:  # a policy of the cluster keeps it
            log.warning("signal not tidied", namespace=ref.namespace, name=ref.name, error=str(refused))
            return False
        return True


def signal_status(delivery: Delivery, generation: int, at: datetime) -> Status:
    """The status of a signal of which this became ``at``; it reads as kstatus reads it."""
    phase, delivered = _PHASES[delivery.fate]
    since = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    holds = {
        "Delivered": delivered,
        "Reconciling": str(delivery.fate is Fate.EARLY),
        "Stalled": str(delivery.fate is Fate.REFUSED),
    }
    told = {"reason": phase, "message": delivery.message, "lastTransitionTime": since, "observedGeneration": generation}
    status: Status = {
        "observedGeneration": generation,
        "phase": phase,
        "conditions": [{"type": name, "status": value, **told} for name, value in holds.items()],
        "message": delivery.message,
    }
    if delivery.fate is Fate.DELIVERED:
        status["deliveredAt"] = since
    return status


_PHASES = {
    Fate.EARLY: ("Pending", "Unknown"),
    Fate.DELIVERED: ("Delivered", "True"),
    Fate.REFUSED: ("Rejected", "False"),
}


def _age(body: Mapping[str, Any]) -> str:
    """A list is in the order of names; what was said first comes first."""
    return str(body["metadata"]["creationTimestamp"])


def _signal(ref: Ref, spec: WorkflowSignalSpec, *, known: bool) -> Signal:
    """What the run is told. A sender that cannot be believed is left out."""
    by, groups = (spec.by or "", tuple(spec.groups or ())) if known else ("", ())
    return Signal(
        id=ref.uid,
        name=spec.name or "",
        payload=spec.payload,
        approve=spec.approve,
        comment=spec.comment or "",
        by=by,
        groups=groups,
    )
