"""The room of the quotas: what RunQuotas say is brought to the store, and what namespaces use is told.

Look, compare, put, tell, as the pools do: a round begins with what the cluster and the store say, so that nothing has
to be remembered. The quotas themselves hold in the store, whether this process is there or not.
"""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog
from prometheus_client import Gauge

from leat_engine.errors import LeatError, QueueUnavailable, Rejected
from leat_engine.job import Job
from leat_engine.queue.port import Queue
from leat_engine.quota import NOTHING_SAID, Allowance, together
from leat_engine.spec import parse_quota
from leat_engine.status import Status, reasons_message
from leat_engine.store import Store
from leat_engine.store.quotas import Usage
from leat_operator.admit import generation
from leat_operator.cluster import Cluster
from leat_operator.inbox import Inbox, Notice, Present
from leat_operator.objects import QUOTAS, Ref
from leat_operator.patch import Patcher

log = structlog.get_logger(__name__)

Body = Mapping[str, Any]
Key = tuple[str, str]

INTERVAL = 10.0
"""Seconds between two rounds when nothing is heard, and so what figures may be old."""

AWAY = 2.0
"""Seconds until another try, when the store or the API server was away."""

USED = Gauge("leat_quota_used", "What namespaces with a RunQuota use", ["tenant", "resource"])
HARD = Gauge("leat_quota_hard", "What the RunQuotas of a namespace allow together", ["tenant", "resource"])
WAITING = Gauge("leat_quota_waiting", "What waits for room in the quotas of a namespace", ["tenant", "resource"])


class Quotas:
    """Brings the RunQuotas of ``namespaces`` (all when empty) to the store."""

    def __init__(
        self,
        inbox: Inbox,
        ways: tuple[Cluster, Store, Queue, Patcher],
        namespaces: Sequence[str],
        interval: float = INTERVAL,
    ) -> None:
        self._inbox = inbox
        self._cluster, self._store, self._queue, self._patcher = ways
        self._namespaces = namespaces
        self._interval = interval
        self._generations: dict[str, int] = {}

    async def run(self) -> None:
        """Make rounds until cancelled."""
        wait = 0.0
        while True:
            await self._await_news(wait)
            try:
                await self.round()
                wait = self._interval
            except LeatError as error:  # what was put holds, and the next round may do better
                log.warning("quotas not looked at", error=str(error))
                wait = AWAY
            except Exception:  # a defect of this room must not end the operator, which has runs to accept
                log.exception("quotas not looked at")
                wait = AWAY

    async def round(self) -> None:
        """One round.

        Raises:
            ClusterUnavailable, StoreUnavailable: It could not be finished.
        """
        bodies = [body for body in await self._list() if not body["metadata"].get("deletionTimestamp")]
        self._generations = {body["metadata"]["uid"]: generation(body["metadata"]) for body in bodies}
        wanted, wrong = read(bodies)
        for namespace, allowance in changes(wanted, await self._store.quotas.allowed(), self._namespaces):
            await self._publish(await self._store.quotas.put(namespace, allowance))
            log.info("quota put", namespace=namespace, allowance=str(allowance))
        usage = await self._store.quotas.usage(sorted({body["metadata"]["namespace"] for body in bodies}))
        tell_metrics(wanted, usage)
        now = datetime.now(UTC)
        for body in bodies:
            metadata = body["metadata"]
            status = quota_status(body, usage[metadata["namespace"]], wrong.get(metadata["uid"], ""), now)
            if status != body.get("status"):
                await self._patcher.patch(Ref.of(QUOTAS, body), partial(dict, status))

    async def _publish(self, jobs: Sequence[Job]) -> None:
        try:
            await self._queue.publish(jobs)
        except QueueUnavailable as error:  # the store has them as ready: `resend` publishes them, and runners poll
            log.warning("jobs not published", jobs=len(jobs), error=str(error))

    async def _list(self) -> list[Body]:
        found: list[Body] = []
        for namespace in self._namespaces or (None,):
            async for page in self._cluster.pages(QUOTAS, namespace):
                found += page
        return found

    async def _await_news(self, seconds: float) -> None:
        """Return after so long, or when a RunQuota is new, changed or gone. Our own status is no news."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if any(self._is_news(notice) for notice in await self._inbox.take(500, left)):
                return

    def _is_news(self, notice: Notice) -> bool:
        if not isinstance(notice, Present):
            return True
        metadata = notice.body["metadata"]
        return generation(metadata) != self._generations.get(metadata["uid"])


def read(bodies: Sequence[Body]) -> tuple[dict[str, Allowance], dict[str, str]]:
    """What the RunQuotas of each namespace allow together; and what is wrong with one, by its uid."""
    said: dict[str, list[Allowance]] = defaultdict(list)
    wrong: dict[str, str] = {}
    for body in bodies:
        metadata = body["metadata"]
        try:
            spec = parse_quota(
                {key: body[key] for key in ("apiVersion", "kind", "metadata", "spec") if key in body}
            ).spec
        except Rejected as rejected:
            wrong[metadata["uid"]] = reasons_message(rejected.reasons)
            continue
        said[metadata["namespace"]].append(Allowance(spec.active_runs, spec.starts_per_minute, spec.steps))
    return {namespace: together(quotas) for namespace, quotas in said.items()}, wrong


def changes(
    wanted: Mapping[str, Allowance], known: Mapping[str, Allowance], namespaces: Sequence[str]
) -> list[tuple[str, Allowance]]:
    """What is to be put: what differs, and of the namespaces that are looked at (all when empty) what has gone."""
    gone = {namespace for namespace in known.keys() - wanted.keys() if not namespaces or namespace in namespaces}
    put = [(namespace, it) for namespace, it in sorted(wanted.items()) if known.get(namespace, NOTHING_SAID) != it]
    return [*put, *((namespace, NOTHING_SAID) for namespace in sorted(gone))]


def quota_status(body: Body, used: Usage, wrong: str, now: datetime) -> Status:
    """The status to show; with ``wrong``, it is not in force. A condition keeps its time while its status stays."""
    observed = generation(body["metadata"])
    shown = {(each.get("type"), each.get("status")): each for each in (body.get("status") or {}).get("conditions", ())}
    conditions = []
    for kind, state in (("Ready", not wrong), ("Reconciling", False), ("Stalled", bool(wrong))):
        known = shown.get((kind, str(state)))
        at = now.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        conditions.append(
            {
                "type": kind,
                "status": str(state),
                "reason": "Invalid" if wrong else "InForce",
                "message": wrong or "Runs and steps over it wait for room",
                "lastTransitionTime": known["lastTransitionTime"] if known else at,
                "observedGeneration": observed,
            }
        )
    status: Status = {"observedGeneration": observed, "conditions": conditions}
    if wrong:
        return status
    words = {"activeRuns": used.active_runs, "startsPerMinute": used.starts, "steps": used.steps}
    hard = {word: body["spec"][word] for word in words if body["spec"].get(word) is not None}
    status |= {"hard": hard, "used": {word: words[word] for word in hard}}
    status["waiting"] = {"runs": used.waiting_runs, "steps": used.waiting_steps}
    columns = {"activeRuns": "runs", "startsPerMinute": "starts", "steps": "steps"}
    return status | {columns[word]: f"{words[word]}/{allowed}" for word, allowed in hard.items()}


def tell_metrics(allowed: Mapping[str, Allowance], usage: Mapping[str, Usage]) -> None:
    """The figures of the namespaces that have a quota now, and of no others."""
    for gauge in (USED, HARD, WAITING):
        gauge.clear()
    for tenant, allowance in allowed.items():
        used = usage[tenant]
        for resource, count, hard in (
            ("activeRuns", used.active_runs, allowance.active_runs),
            ("startsPerMinute", used.starts, allowance.starts_per_minute),
            ("steps", used.steps, allowance.steps),
        ):
            if hard is not None:
                USED.labels(tenant, resource).set(count)
                HARD.labels(tenant, resource).set(hard)
        WAITING.labels(tenant, "runs").set(used.waiting_runs)
        WAITING.labels(tenant, "steps").set(used.waiting_steps)
