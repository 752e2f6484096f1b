"""The shelf: Workflows in the store, where steps that start runs of them find them without operator or API server."""

from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from leat_engine.store import Store
from leat_engine.store.children import Shelved
from leat_operator.admit import created_at
from leat_operator.catalog import Catalog, Listed
from leat_operator.cluster import Cluster
from leat_operator.insist import insist
from leat_operator.objects import WORKFLOWS, Ref

log = structlog.get_logger(__name__)

PROBLEM_CHARS = 1024


class Shelf:
    """Keeps the shelf as the cluster is. All of it may be done twice, and in any order: the newest Workflow stays."""

    def __init__(self, store: Store, cluster: Cluster, catalog: Catalog) -> None:
        self._store = store
        self._cluster = cluster
        self._catalog = catalog

    async def put(self, listed: Listed, body: Mapping[str, Any]) -> None:
        """Let steps call a Workflow as it is now, or tell them why they cannot."""
        ref, compiled = listed.ref, listed.compiled
        problem = None
        if compiled is None:
            problem = "; ".join(map(str, listed.reasons))[:PROBLEM_CHARS]
        else:
            await insist(lambda: self._store.save_revision(compiled.revision))
        shelved = Shelved(
            namespace=ref.namespace,
            name=ref.name,
            uid=ref.uid,
            created_at=created_at(body["metadata"]),
            generation=listed.generation,
            revision=None if compiled is None else compiled.revision.id,
            problem=problem,
        )
        await insist(lambda: self._store.children.put(shelved))

    async def remove(self, ref: Ref) -> None:
        """A Workflow was deleted. Runs of it have their revision, and go on."""
        await insist(lambda: self._store.children.drop(ref.namespace, ref.name, ref.uid))

    async def compare(self, namespaces: Sequence[str]) -> None:
        """Take away what was deleted while nobody watched. ``namespaces``: those served, all when empty.

        Raises:
            StoreUnavailable, ClusterUnavailable, Forbidden: It could not be finished.
        """
        for namespace, name, uid in await self._store.children.workflows():
            listed = self._catalog.get(namespace, name)
            known = listed is not None and listed.ref.uid == uid
            if known or (namespaces and namespace not in namespaces):
                continue
            found = await self._cluster.get(WORKFLOWS, namespace, name)
            if found is None or found["metadata"]["uid"] != uid:
                await self._store.children.drop(namespace, name, uid)
                log.info("workflow taken from the shelf", namespace=namespace, name=name, uid=uid)
