"""Every kopf decorator, and what kopf is told.

A handler hands over and returns. It never writes: runs get no finalizer and no annotation, and events cost no requests.
"""

# kopf ships no types.
# mypy: disable-error-code="untyped-decorator"

from collections.abc import Iterator
from typing import Any

import kopf

from leat_operator.admit import run_id
from leat_operator.cluster import login
from leat_operator.inbox import Absent, Inbox, Present
from leat_operator.objects import POOLS, QUOTAS, RUNS, SIGNALS, UNDELIVERED, UNFINISHED, WORKFLOWS, Ref, Resource


def handlers(inbox: Inbox, pools: Inbox, signals: Inbox, quotas: Inbox) -> kopf.OperatorRegistry:
    """What kopf calls. Its errors are logged and swallowed there, so nothing here may fail.

    ``pools``: the inbox of RunnerPools; ``signals``: of WorkflowSignals; ``quotas``: of RunQuotas.
    """
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    def credentials(**_: Any) -> kopf.ConnectionInfo:
        return login()

    @kopf.on.event(*WORKFLOWS, registry=registry)
    async def workflow(event: Any, **_: Any) -> None:
        hand_over(WORKFLOWS, event)

    @kopf.on.event(*RUNS, registry=registry)
    async def run(event: Any, **_: Any) -> None:
        hand_over(RUNS, event)

    @kopf.on.event(*POOLS, registry=registry)
    async def pool(event: Any, **_: Any) -> None:
        if event["type"] != "DELETED":  # the garbage collector cleans up
            pools.put(Present(POOLS, event["object"]))

    @kopf.on.event(*SIGNALS, registry=registry)
    async def signal(event: Any, **_: Any) -> None:
        body = event["object"]
        signals.put(Absent(Ref.of(SIGNALS, body)) if event["type"] == "DELETED" else Present(SIGNALS, body))

    @kopf.on.event(*QUOTAS, registry=registry)
    async def quota(event: Any, **_: Any) -> None:
        body = event["object"]
        quotas.put(Absent(Ref.of(QUOTAS, body)) if event["type"] == "DELETED" else Present(QUOTAS, body))

    def hand_over(resource: Resource, event: Any) -> None:
        body = event["object"]
        if event["type"] == "DELETED":
            run = run_id(body["metadata"]) if resource == RUNS else None
            inbox.put(Absent(Ref.of(resource, body), run))
        else:
            inbox.put(Present(resource, body))

    return registry


def settings() -> kopf.OperatorSettings:
    """How kopf works here. ``queueing.worker_limit`` stays unset: it would cap intake at 12 resources a second."""
    tuned = kopf.OperatorSettings()
    tuned.watching.field_selectors[RUNS] = UNFINISHED  # kopf holds 15 KB per object: only the live ones
    tuned.watching.field_selectors[SIGNALS] = UNDELIVERED
    tuned.watching.chunk_size = 500
    tuned.posting.enabled = False
    tuned.scanning.disabled = True  # no watch on namespaces and CRDs, so no right to them
    tuned.networking.error_backoffs = Backoffs()
    tuned.networking.request_timeout = 30.0
    tuned.queueing.exit_timeout = 0.5
    tuned.process.ultimate_exiting_timeout = None  # it kills the thread, that is the process; its own master does that
    return tuned


class Backoffs:
    """Seconds between attempts while the API server is away: without an end, or kopf would give up after a minute."""

    def __iter__(self) -> Iterator[float]:
        """Double up to ten seconds, then go on."""
        delay = 0.25
        while True:
            yield delay
            delay = min(delay * 2, 10.0)
