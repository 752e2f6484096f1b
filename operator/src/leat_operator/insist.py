"""Patience: the store and the cluster may be away, and what has to reach them waits."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from leat_engine.errors import StoreUnavailable
from leat_operator.cluster import ClusterUnavailable, Forbidden, RetryAfter

log = structlog.get_logger(__name__)

T = TypeVar("T")


async def insist(call: Callable[[], Awaitable[T]], *, even_forbidden: bool = True) -> T:
    """Call until the store and the cluster answer. Everything that is called so may be done twice.

    Args:
        call: What is to be done.
        even_forbidden: Wait for what is forbidden as well: an API server that has just started does not know all roles
            yet. False where a policy of the cluster may forbid one thing and allow the next.
    """
    away = (StoreUnavailable, ClusterUnavailable)
    async for attempt in AsyncRetrying(
        retry=retry_if_exception_type((*away, Forbidden) if even_forbidden else away),
        wait=RetryAfter(),
        before_sleep=_told_to_wait,
        reraise=True,
    ):
        with attempt:
            return await call()
    raise AssertionError("it retries for ever")


def _told_to_wait(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    log.warning("waiting", attempt=state.attempt_number, error=str(error))
