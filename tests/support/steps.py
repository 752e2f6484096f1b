"""What tests of kinds share: the context of an attempt, and kinds with their settings."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from leat_engine.job import StepKey
from leat_engine.kind import Kind, StepContext
from leat_runner.kinds import KindSettings, KindSetup

K = TypeVar("K", bound=Kind)
NOW = datetime(2030, 1, 31, 12, 0, tzinfo=UTC)

STEP = StepContext(
    key=StepKey(UUID("0190a6c0-0000-7000-8000-000000000001"), 0, 3),
    name="charge",
    attempt=2,
    namespace="shop",
    run_name="order-x7k2p",
    workflow="order",
    idempotency_key="0190a6c0-0000-7000-8000-000000000001/0/3",
    traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
)


def a_step(**changes: Any) -> StepContext:
    return replace(STEP, **changes)


def a_setup(**settings: Any) -> KindSetup:
    return KindSetup(KindSettings(**settings), clock=lambda: NOW)


@asynccontextmanager
async def a_kind(make: Callable[[KindSetup], K], **settings: Any) -> AsyncIterator[K]:
    """A kind with these settings, closed in the end."""
    kind = make(a_setup(**settings))
    try:
        yield kind
    finally:
        await kind.close()
