"""Consumers: messages of queues and records of topics start runs.

A message is acknowledged, the offset of a record committed, once its WorkflowRun is there, never before. What fits no
run is rejected, and goes to the dead letters, if there are any, with every reason in the log. What the API server does
not take at the moment waits unacknowledged, and with it all behind the prefetch.
"""

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from leat_engine.errors import Rejected
from leat_engine.kafka.record import Record
from leat_engine.queue.rabbit import Message
from leat_engine.trigger import Fate, Trigger, run_for, written
from leat_operator import metrics
from leat_operator.catalog import Catalog, Listed
from leat_operator.cluster import Cluster, Forbidden, NotFound, Refused
from leat_operator.event import event_of
from leat_operator.sources import PAUSE, Events, Key, Sources
from leat_operator.standing import Standing
from leat_operator.start import Starter

log = structlog.get_logger(__name__)

TICK = 1.0


@dataclass(slots=True)
class Consumer:
    """The consumer of one trigger, as its Workflow is now."""

    listed: Listed
    trigger: Trigger
    task: asyncio.Task[None]
    events: Events | None = None


class Consumers:
    """Keeps a consumer for each queue and each topic that a Workflow names."""

    def __init__(self, starter: Starter, cluster: Cluster, catalog: Catalog, standing: Standing) -> None:
        self._starter = starter
        self._sources = Sources(cluster, standing)
        self._catalog = catalog
        self._standing = standing
        self._consumers: dict[Key, Consumer] = {}

    async def run(self) -> None:
        """Consume until cancelled."""
        try:
            while True:
                await self.round()
                await asyncio.sleep(TICK)
        finally:
            await asyncio.gather(*map(self._end, list(self._consumers)))

    async def round(self) -> None:
        """Begin and end consumers as Workflows come, change and go."""
        wanted: dict[Key, tuple[Listed, Trigger]] = {
            (listed.ref.namespace, listed.ref.name, trigger.name): (listed, trigger)
            for listed in self._catalog.all()
            for trigger in listed.triggers
            if trigger.spec.schedule is None
        }
        over = [
            key
            for key, at in self._consumers.items()
            if (found := wanted.get(key)) is None or found[0] is not at.listed
        ]
        await asyncio.gather(*map(self._end, over))
        for key, (listed, trigger) in wanted.items():
            if key not in self._consumers:
                task = asyncio.create_task(self._keep(key, listed, trigger))
                self._consumers[key] = Consumer(listed, trigger, task)
        for key, consumer in self._consumers.items():
            if consumer.events is not None:
                self._standing.tell_trigger(key[:2], key[2], message=consumer.events.away)

    async def _keep(self, key: Key, listed: Listed, trigger: Trigger) -> None:
        """Find out where the messages are, then consume them."""
        try:
            handle = partial(self._take, key, listed.ref.name, trigger)
            events = await self._sources.events(key, trigger, handle)
        except Exception as error:  # a defect that one trigger meets must not stop the others
            log.exception("messages not consumed", namespace=key[0], workflow=key[1], trigger=key[2])
            self._standing.tell_trigger(key[:2], key[2], message=f"cannot be consumed: {type(error).__name__}")
            return
        events.start()
        self._consumers[key].events = events

    async def _end(self, key: Key) -> None:
        consumer = self._consumers.pop(key)
        consumer.task.cancel()
        await asyncio.gather(consumer.task, return_exceptions=True)
        if consumer.events is not None:
            await consumer.events.close()

    async def _take(self, key: Key, workflow: str, trigger: Trigger, message: Message | Record) -> Fate:
        """Turn a message into a run, if it is to be one."""
        where = {"namespace": key[0], "workflow": key[1], "trigger": key[2], "message_id": message.id}
        try:
            body = run_for(workflow, trigger, event_of(message), uuid.uuid4().hex)
        except Rejected as rejected:
            metrics.UNFIRED.labels("misfit").inc()
            log.warning("message fits no run", **where, reasons=[str(reason) for reason in rejected.reasons])
            return Fate.REJECTED
        except Exception:  # a defect that one message meets must not stop the others: it would come again for ever
            metrics.UNFIRED.labels("misfit").inc()
            log.exception("message not read", **where)
            return Fate.REJECTED
        if body is None:
            metrics.UNFIRED.labels("condition").inc()
            return Fate.DONE
        return await self._start(key, body, "kafka" if isinstance(message, Record) else "amqp", where)

    async def _start(self, key: Key, body: Mapping[str, Any], source: str, where: Mapping[str, str | None]) -> Fate:
        """Start a run, and wait as long as something keeps it back: a quota, a policy, a namespace on its way out."""
        while True:
            try:
                if await self._starter.start(key[0], body, source):
                    self._standing.tell_trigger(key[:2], key[2], lastFiredAt=written(self._starter.now()))
            except (Forbidden, NotFound) as error:
                log.warning("run not started", **where, error=str(error))
            except Refused as refused:
                metrics.UNFIRED.labels("refused").inc()
                log.warning("message refused by the API server", **where, error=str(refused))
                return Fate.REJECTED
            except Exception:  # not of the message, so it is kept
                log.exception("run not started", **where)
            else:
                return Fate.DONE
            await asyncio.sleep(PAUSE)
