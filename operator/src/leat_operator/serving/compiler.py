"""Compiling beside the event loop: a spec may be large, and the loop renews the Lease."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

from leat_engine.errors import Rejected
from leat_engine.kind import SpecModels
from leat_engine.plan import Plan
from leat_engine.store import Store
from leat_operator.catalog import Catalog
from leat_operator.serving.answers import Answer

T = TypeVar("T")


class Compiler:
    """One thread with a catalog of its own, for use as a context manager."""

    def __init__(self, models: SpecModels) -> None:
        self._catalog = Catalog(models)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="compile")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def call(self, work: Callable[[Catalog], T]) -> T:
        """Do the work in the thread. Work that nobody waits for any more is not begun."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, self._catalog)

    async def plan(self, revision_id: str, store: Store) -> Plan:
        """The plan of a revision.

        Raises:
            Answer: The store does not have it, or this version of the program does not take it any more.
            StoreUnavailable: Postgres does not answer.
        """
        if (kept := self._catalog.plan(revision_id)) is not None:
            return kept
        revision = await store.revision(revision_id)
        if revision is None:
            raise Answer(404, f"revision {revision_id} of the workflow is not in the store any more")
        try:
            return await self.call(lambda catalog: catalog.restore(revision))
        except Rejected as rejected:
            message = f"this version of Leat cannot read revision {revision_id} of the workflow: {rejected}"
            raise Answer(500, message) from rejected
