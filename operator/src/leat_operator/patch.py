"""Writing `.status`: at a bounded rate, a bounded number at a time, until the API server has taken it."""

import asyncio
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

import structlog
from aiolimiter import AsyncLimiter
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from leat_engine.status import Status
from leat_operator.cluster import Cluster, ClusterUnavailable, Conflict, Forbidden, NotFound, Refused, RetryAfter
from leat_operator.objects import Ref

log = structlog.get_logger(__name__)

FORBIDDEN_SECONDS = 20.0
"""For how long a right that is missing is waited for: an API server that has just started grants nothing yet."""


class Patched(StrEnum):
    """What became of a status."""

    DONE = "done"
    GONE = "gone"  # the object is not there any more
    REFUSED = "refused"  # the API server will never take this status


class Patcher:
    """Patches statuses, at most ``rate`` a second and ``in_flight`` at a time. ``see`` is given what they became."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        rate: float,
        in_flight: int,
        see: Callable[[Ref, Mapping[str, Any]], None] = lambda _ref, _body: None,
    ) -> None:
        self._see = see
        self.in_flight = in_flight
        self._cluster = cluster
        # A burst of a tenth of a second's worth: a larger one would meet the API server's own limits.
        self._limiter = AsyncLimiter(max(rate / 10, 1.0), max(rate / 10, 1.0) / rate)
        self._slots = asyncio.Semaphore(in_flight)

    async def patch(self, ref: Ref, render: Callable[[], Status]) -> Patched:
        """Write a status. ``render`` is called when it is sent, each time anew, so that waiting makes nothing stale."""
        async with self._slots:
            try:
                await self._insist(ref, render)
            except NotFound:
                return Patched.GONE
            except Refused as refused:
                log.exception("status refused", uid=ref.uid, namespace=ref.namespace, name=ref.name, error=str(refused))
                return Patched.REFUSED
            return Patched.DONE

    async def _insist(self, ref: Ref, render: Callable[[], Status]) -> None:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type((ClusterUnavailable, Conflict, Forbidden)),
            stop=_is_forbidden_for_long,
            wait=RetryAfter(),
            before_sleep=_tell,
            reraise=True,
        ):
            with attempt:
                await self._limiter.acquire()
                self._see(ref, await self._cluster.patch_status(ref, render()))


def _is_forbidden_for_long(state: RetryCallState) -> bool:
    """A policy that denies some statuses must not keep the slots from all others. The sweep asks for them again."""
    error = state.outcome.exception() if state.outcome else None
    return isinstance(error, Forbidden) and (state.seconds_since_start or 0.0) >= FORBIDDEN_SECONDS


def _tell(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    log.warning("status not written yet", attempt=state.attempt_number, error=str(error))
