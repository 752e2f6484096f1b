"""What pools announced that they can do, carried from the store to the catalog, where Workflows are judged by it.

What was announced by runners of an older spec of a RunnerPool says nothing of those that are to come: a pool at rest
would otherwise refuse what only its next runners can do, and so never get any.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from leat_engine.errors import StoreUnavailable
from leat_engine.pools import Announced
from leat_engine.store import Store
from leat_operator.inbox import Inbox, News

log = structlog.get_logger(__name__)

INTERVAL = 3.0


def current(announced: Mapping[str, Announced], revisions: Mapping[str, str]) -> dict[str, Announced]:
    """What holds now. ``revisions``: of the pods of pools that a RunnerPool describes."""
    return {name: each for name, each in announced.items() if revisions.get(name, each.revision) == each.revision}


@dataclass(slots=True)
class Announcements:
    """Reads them every few seconds, and puts what is new into the inbox."""

    store: Store
    inbox: Inbox
    revisions: Mapping[str, str]
    _told: Mapping[str, tuple[frozenset[str], frozenset[str]]] | None = None

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            try:
                await self.once()
            except StoreUnavailable as error:
                log.warning("announcements not read", error=str(error))

    async def once(self) -> None:
        """Read once.

        Raises:
            StoreUnavailable: Postgres does not answer.
        """
        pools = current(await self.store.pools.announced(), self.revisions)
        told = {name: (each.kinds, each.functions) for name, each in pools.items()}
        if told != self._told:
            self._told = told
            self.inbox.put(News(pools))
