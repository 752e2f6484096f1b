"""Which runners go first when there are to be fewer: `pod-deletion-cost`, told to Kubernetes when it changes by much.

Neither KEDA nor an autoscaler can choose the pod that goes. The ReplicaSet controller can, by this annotation: whoever
holds nothing goes first, then those that are done soonest.
"""

from collections.abc import Collection

from leat_engine.pools import Member
from leat_operator.cluster import Cluster, NotFound
from leat_operator.objects import PODS
from leat_operator.pods import POOL_LABEL

ANNOTATION = "controller.kubernetes.io/pod-deletion-cost"
_AT_ONCE = 200
"""Pods told in one round: the API server is for others as well."""

_FORGOTTEN = 1000
"""Pods that are remembered though they may be gone. Then it is looked which are there."""


def cost(member: Member) -> int:
    """In classes, so that it changes seldom: how long the oldest step has run, then how many slots are in use."""
    if member.busy == 0 and member.held_seconds is None:
        return 0
    held = member.held_seconds or 0.0
    age = 0 if held < 5 else 100 if held < 60 else 200
    return 1 + age + min(9, 10 * member.busy // member.slots)


class Costs:
    """Tells Kubernetes the costs that have changed."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._told: dict[str, int] | None = None

    async def tell(self, members: Collection[Member]) -> int:
        """Tell what differs from what the pods say; how many that were. Those that drain go anyway.

        Raises:
            ClusterUnavailable, Forbidden: It could not be told; the next round tells it.
        """
        if not members:
            return 0
        if self._told is None or len(self._told) > 2 * len(members) + _FORGOTTEN:
            self._told = await self._annotated()
        known = self._told
        changed = [m for m in members if not m.draining and known.get(m.name, 0) != cost(m)]
        for member in changed[:_AT_ONCE]:
            known[member.name] = cost(member)
            try:
                await self._cluster.annotate(PODS, self._namespace, member.name, {ANNOTATION: str(cost(member))})
            except NotFound:
                continue  # it is gone, or it was never a pod
            except BaseException:
                del known[member.name]
                raise
        return len(changed)

    async def _annotated(self) -> dict[str, int]:
        """What the pods say now."""
        found: dict[str, int] = {}
        async for page in self._cluster.pages(PODS, self._namespace, labels=POOL_LABEL):
            for pod in page:
                text = (pod["metadata"].get("annotations") or {}).get(ANNOTATION, "0")
                found[pod["metadata"]["name"]] = int(text) if text.lstrip("-").isdigit() else 0
        return found
