"""Starting runs for triggers: a WorkflowRun of a name that says what it is for, so that starting it twice is once.

The API server knows the name as long as the resource is there. The store knows it for as long as it keeps the run, also
when a ttl or a limit of history has deleted the resource.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog

from leat_engine.crash import crash_point
from leat_engine.store import Store
from leat_engine.trigger import LABEL
from leat_operator import metrics
from leat_operator.cluster import Cluster, Conflict, NotFound
from leat_operator.insist import insist
from leat_operator.objects import RUNS, UNFINISHED, Ref

log = structlog.get_logger(__name__)

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Starter:
    """Starts runs, and looks after those it has started."""

    store: Store
    cluster: Cluster

    async def start(self, namespace: str, body: Body, source: str) -> bool:
        """Start a run; False when it was started before. The store and the API server are waited for.

        Raises:
            Refused: The API server does not take it: a policy, a quota, a schema.
            NotFound: The namespace is gone.
        """
        name = body["metadata"]["name"]
        if await self.was_started(namespace, name):
            return False
        crash_point("before start")
        try:
            await insist(lambda: self.cluster.create(RUNS, namespace, body), even_forbidden=False)
        except Conflict:
            return False
        crash_point("after start")
        metrics.FIRED.labels(source).inc()
        log.info("run started", namespace=namespace, name=name, trigger=body["metadata"]["labels"][LABEL])
        return True

    def now(self) -> datetime:
        """The time."""
        return datetime.now(UTC)

    async def was_started(self, namespace: str, name: str) -> bool:
        """Whether the store has a run of this name."""
        return await insist(lambda: self.store.find_run(namespace, name)) is not None

    async def unfinished(self, namespace: str, workflow: str, trigger: str) -> list[Ref]:
        """The runs of a trigger that are not over."""
        return await insist(lambda: self._unfinished(namespace, workflow, trigger))

    async def cancel(self, ref: Ref) -> None:
        """Ask for a run to be cancelled, as a person would."""
        operations: list[Body] = [
            {"op": "test", "path": "/metadata/uid", "value": ref.uid},
            {"op": "add", "path": "/spec/cancel", "value": True},
        ]
        try:
            await insist(lambda: self.cluster.patch(RUNS, ref.namespace, ref.name, operations), even_forbidden=False)
        except NotFound:
            return
        log.info("run replaced", namespace=ref.namespace, name=ref.name)

    async def _unfinished(self, namespace: str, workflow: str, trigger: str) -> list[Ref]:
        found: list[Ref] = []
        async for page in self.cluster.pages(RUNS, namespace, UNFINISHED, labels=f"{LABEL}={trigger}"):
            found += [
                Ref.of(RUNS, body) for body in page if (body["spec"].get("workflow") or {}).get("name") == workflow
            ]
        return found
