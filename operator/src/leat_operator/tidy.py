"""Tidy: finished resources that nobody is to keep any longer are deleted. What the store knows of their runs stays.

Nobody watches what is over. The agenda is filled by one list at the start, and by the API server's answers to our own
last patches; the list is repeated now and then, for what was changed or deleted by others meanwhile. That what is over
has changed (its ttl, mostly) is then acknowledged in its status: kstatus would take it for in progress for ever.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import structlog
from aiolimiter import AsyncLimiter

from leat_engine.spec import History
from leat_engine.status import observed
from leat_operator import metrics
from leat_operator.cluster import Cluster, ClusterUnavailable, Conflict, Expired, Forbidden, NotFound, Refused
from leat_operator.history import Agenda, Finished
from leat_operator.insist import insist
from leat_operator.objects import FINISHED, RUNS, Ref
from leat_operator.patch import Patcher

log = structlog.get_logger(__name__)

PAGE = 500
IN_FLIGHT = 8
SOON = 5.0
"""Seconds until a list that was asked for: many Workflows are told in a row, and one list serves all of them."""


class Tidier:
    """Deletes at most ``rate`` resources a second; lists each ``interval`` seconds. ``namespaces``: all when empty."""

    def __init__(self, cluster: Cluster, *, rate: float, interval: float, namespaces: Sequence[str] = ()) -> None:
        self._cluster = cluster
        self._interval = interval
        self._namespaces = namespaces
        self._agenda = Agenda()
        self._limiter = AsyncLimiter(max(rate / 10, 1.0), max(rate / 10, 1.0) / rate)
        self._woken = asyncio.Event()
        self._next_list = self._soon()

    def heed(self, namespace: str, workflow: str, history: History | None) -> None:
        """A Workflow was seen, or (with None) has gone."""
        if self._agenda.rule(namespace, workflow, history):
            self._next_list = min(self._next_list, self._soon())
        self._woken.set()

    def see(self, ref: Ref, body: Mapping[str, Any]) -> None:
        """The API server has answered with an object."""
        if ref.resource == RUNS and (finished := Finished.of(body)) is not None:
            self._agenda.put(finished)
            self._woken.set()

    async def run(self, patcher: Patcher) -> None:
        """Tidy until cancelled."""
        while True:
            if time.monotonic() >= self._next_list:
                await self._list(patcher)
            await asyncio.gather(*map(self._delete, self._agenda.take(time.time(), IN_FLIGHT)))
            metrics.TO_TIDY.set(len(self._agenda))
            await self._pause()

    async def _list(self, patcher: Patcher) -> None:
        """Know every finished resource that a rule speaks of."""
        before, present = self._agenda.known(), set()
        self._next_list = float("inf")  # a rule that comes meanwhile asks for another list
        try:
            for namespace in self._namespaces or (None,):
                async for page in self._cluster.pages(RUNS, namespace, FINISHED, PAGE):
                    for body in page:
                        if (finished := Finished.of(body)) is not None:
                            present.add(finished.ref.uid)
                            self._agenda.put(finished)
                            await _acknowledge(patcher, finished.ref, body)
        except (ClusterUnavailable, Expired, Forbidden) as error:
            log.warning("finished runs not listed", error=str(error))
            self._next_list = self._soon()
            return
        self._agenda.retain(before, present)
        self._next_list = min(self._next_list, time.monotonic() + self._interval)
        metrics.HISTORY_LISTS.inc()
        log.debug("finished runs listed", present=len(present), remembered=len(self._agenda))

    async def _delete(self, run: Finished) -> None:
        """Delete a resource if it is still what it was taken for: somebody may have given it more time."""
        await self._limiter.acquire()
        expired = self._agenda.is_due(run, time.time())
        body = await insist(lambda: self._cluster.get(RUNS, run.ref.namespace, run.ref.name))
        now = None if body is None else Finished.of(body)
        if body is None or now is None or now.ref != run.ref:
            return
        if expired and not self._agenda.is_due(now, time.time()):
            self._agenda.put(now)
            return
        try:
            version = body["metadata"]["resourceVersion"]
            await insist(lambda: self._cluster.delete(run.ref, version), even_forbidden=False)
        except NotFound:
            return
        except Conflict:  # it was changed in this very moment
            self._agenda.put(now)
            return
        except Refused as refused:  # a policy of the cluster keeps it; the next list tries again, and others go
            log.warning("run not tidied", namespace=run.ref.namespace, name=run.ref.name, error=str(refused))
            return
        metrics.TIDIED.labels("ttl" if expired else "limit").inc()
        log.debug("run tidied", uid=run.ref.uid, namespace=run.ref.namespace, name=run.ref.name)

    async def _pause(self) -> None:
        listing = max(self._next_list - time.monotonic(), 0.0)
        due = self._agenda.next_due(time.time())
        with suppress(TimeoutError):
            async with asyncio.timeout(listing if due is None else min(due, listing)):
                await self._woken.wait()
        self._woken.clear()

    def _soon(self) -> float:
        return time.monotonic() + min(SOON, self._interval)


async def _acknowledge(patcher: Patcher, ref: Ref, body: Mapping[str, Any]) -> None:
    """Say of a resource whose spec was changed after its end that the change was seen."""
    status, generation = body["status"], body["metadata"]["generation"]
    if status.get("observedGeneration") != generation:
        await patcher.patch(ref, lambda: observed(status, generation))
