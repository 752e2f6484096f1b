"""What a caller may: asked of the API server by SubjectAccessReview, and remembered for a moment."""

import time
from collections.abc import Hashable

from cachetools import TLRUCache

from leat_engine.errors import LeatError
from leat_operator.cluster import Cluster, ClusterUnavailable
from leat_operator.objects import Right
from leat_operator.serving.answers import Answer
from leat_operator.serving.caller import Caller

_ALLOWED, _DENIED = 10.0, 5.0
"""Seconds that an answer is remembered."""
_REMEMBERED = 4096


def _until(_: Hashable, allowed: bool, now: float) -> float:
    return now + (_ALLOWED if allowed else _DENIED)


class Access:
    """Asks for rights."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._known: TLRUCache[tuple[Caller, Right], bool] = TLRUCache(_REMEMBERED, _until, time.monotonic)

    async def require(self, caller: Caller, right: Right) -> None:
        """Go on only if the caller has the right.

        Raises:
            Answer: 403; or 503 when the API server does not say.
        """
        allowed = self._known.get((caller, right))
        if allowed is None:
            allowed = self._known[caller, right] = await self._ask(caller, right)
        if not allowed:
            raise Answer(403, f"user {caller.user!r} may not {right}")

    async def _ask(self, caller: Caller, right: Right) -> bool:
        attributes = {
            "verb": right.verb,
            "group": right.resource.group,
            "version": right.resource.version,
            "resource": right.resource.plural,
            "subresource": right.subresource,
            "namespace": right.namespace or "",
            "name": right.name,
        }
        try:
            return await self._cluster.review({**caller.spec(), "resourceAttributes": attributes})
        except ClusterUnavailable as error:
            raise Answer(503, f"the caller's rights cannot be asked for: {error}", retry_after=1) from error
        except LeatError as error:
            raise Answer(500, f"the caller's rights cannot be asked for: {error}") from error
