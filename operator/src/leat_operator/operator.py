"""The composition: one replica, from its start to its end."""

import asyncio
import socket
import uuid
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import unquote, urlsplit

import structlog
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from leat_engine.errors import Rejected, StoreUnavailable
from leat_engine.queue.rabbit import RabbitQueue
from leat_engine.spec.kinds import load_models
from leat_engine.store import Store
from leat_operator import metrics, rights
from leat_operator.announced import Announcements
from leat_operator.catalog import Catalog
from leat_operator.cluster import Cluster, ClusterUnavailable, Forbidden, RetryAfter
from leat_operator.consumers import Consumers
from leat_operator.inbox import Inbox, Present
from leat_operator.intake import Intake
from leat_operator.lease import Elector, Timing
from leat_operator.objects import WORKFLOWS, Ref
from leat_operator.patch import Patcher
from leat_operator.pods import Installation
from leat_operator.pools import Pools
from leat_operator.probes import Probes
from leat_operator.quotas import Quotas
from leat_operator.report import Reporter
from leat_operator.serving import serve
from leat_operator.serving.serve import Serving
from leat_operator.settings import Settings
from leat_operator.signals import Deliverer, Patience, Ways
from leat_operator.standing import Standing
from leat_operator.start import Starter
from leat_operator.sweep import Sweep
from leat_operator.tidy import Tidier
from leat_operator.timetable import Timetable
from leat_operator.watch import Watch
from leat_operator.wishes import Crossings
from leat_operator.workflows import Standings

log = structlog.get_logger(__name__)

LEASE = "leat-operator"
_PATIENT = retry(retry=retry_if_exception_type((StoreUnavailable, ClusterUnavailable)), wait=RetryAfter())

_HOPEFUL = retry(
    retry=retry_if_exception_type((Rejected, Forbidden)),
    stop=stop_after_delay(5.0),
    wait=wait_fixed(0.5),
    reraise=True,
)
"""An API server that has just started grants nothing yet, and serves none of our resources, for a second or two."""


class Operator:
    """One replica. `run` stands by until it holds the Lease, then serves until it is cancelled or loses it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._identity = f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}"
        self._ready = False
        self._serving: Serving | None = None

    async def run(self) -> None:
        """Serve until cancelled.

        Raises:
            Rejected: The cluster lacks rights or resources.
            SchemaMismatch: The database is not of this version.
            LeaseLost: Another replica is the active one.
        """
        settings = self._settings
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(Probes(settings.metrics_host, settings.metrics_port, self._is_ready))
            cluster = await stack.enter_async_context(Cluster())
            needed = rights.needed(settings.watch_namespaces, settings.namespace) + serve.needed(settings)
            await _HOPEFUL(_PATIENT(rights.check))(cluster, needed, LEASE)
            store = await _PATIENT(Store.connect)(settings.database_url.get_secret_value())
            stack.push_async_callback(store.close)
            queue = RabbitQueue(settings.amqp_url.get_secret_value(), settings.namespace)
            stack.push_async_callback(queue.close)
            await queue.start()
            if settings.serve_port:
                self._serving = Serving(settings, cluster)
                serving = await stack.enter_async_context(asyncio.TaskGroup())
                stack.callback(serving.create_task(self._serving.run()).cancel)
            self._ready = True
            timing = Timing.of(settings.lease_duration)
            elector = Elector(cluster, settings.namespace, LEASE, self._identity, timing)
            await elector.acquire()
            stack.push_async_callback(elector.release)
            await self._serve(cluster, store, queue, elector)

    def _is_ready(self) -> bool:
        return self._ready and (self._serving is None or self._serving.ready)

    async def _serve(self, cluster: Cluster, store: Store, queue: RabbitQueue, elector: Elector) -> None:
        settings, inbox, catalog = self._settings, Inbox(), Catalog(load_models())
        namespaces = settings.watch_namespaces
        tidier = Tidier(
            cluster, rate=settings.deletions_per_second, interval=settings.history_interval, namespaces=namespaces
        )
        standing = Standing()

        def see(ref: Ref, body: Mapping[str, Any]) -> None:
            tidier.see(ref, body)
            standing.see(ref, body)

        patcher = Patcher(
            cluster,
            rate=settings.status_writes_per_second,
            in_flight=settings.status_writes_in_flight,
            see=see,
        )
        reporter = Reporter(store, catalog, patcher, inbox)
        crossings = Crossings(store, queue, cluster, patcher, reporter, tidier, standing)
        intake = Intake(inbox, catalog, crossings, grace=settings.workflow_grace)
        sweep = Sweep(store, cluster, intake, reporter, inbox, settings.sweep_interval, namespaces)
        standings = Standings(standing, catalog, patcher, settings.standing_interval)
        news, signals, said = Inbox(), Inbox(), Inbox()
        watch = Watch((inbox, news, signals, said), namespaces)
        patience = Patience(settings.workflow_grace, settings.signal_ttl, settings.history_interval)
        deliverer = Deliverer(signals, Ways(store, queue, cluster, patcher), patience, namespaces)
        pools = Pools(cluster, store, patcher, news, _installation(settings))
        quotas = Quotas(said, (cluster, store, queue, patcher), namespaces)
        announcements = Announcements(store, inbox, pools.revisions)
        starter = Starter(store, cluster)
        triggers = (Timetable(starter, catalog, standing), Consumers(starter, cluster, catalog, standing))
        metrics.ACTIVE.set(1)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(elector.keep())
                await _PATIENT(pools.learn)()
                await _PATIENT(announcements.once)()
                await self._list_workflows(cluster, inbox)
                parts = (intake, reporter, sweep, standings, watch, pools, quotas, announcements, deliverer, *triggers)
                for work in (*(part.run() for part in parts), tidier.run(patcher)):
                    group.create_task(work)
        finally:
            metrics.ACTIVE.set(0)
            await asyncio.to_thread(watch.join, 3.0)

    @_PATIENT
    async def _list_workflows(self, cluster: Cluster, inbox: Inbox) -> None:
        """Know every Workflow before the first run: the two watches begin in any order."""
        for namespace in self._settings.watch_namespaces or (None,):
            async for page in cluster.pages(WORKFLOWS, namespace):
                for body in page:
                    inbox.put(Present(WORKFLOWS, body))


def _installation(settings: Settings) -> Installation:
    # The URL of the management API names no virtual host, that of the broker does.
    vhost = unquote(urlsplit(settings.amqp_url.get_secret_value()).path.removeprefix("/")) or "/"
    return Installation(
        settings.namespace,
        settings.runner_image,
        settings.runner_secret,
        vhost,
        settings.runner_artifacts_url,
        settings.runner_artifacts_secret,
    )
