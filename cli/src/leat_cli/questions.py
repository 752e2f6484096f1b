"""What runs in this process wait for from outside, with the command that answers it, said once."""

import shlex
from collections.abc import Callable
from uuid import UUID

from leat_cli.follow import Read
from leat_cli.snapshot import RunSnapshot
from leat_engine.job import StepKey
from leat_engine.store import Store
from leat_engine.waits import Waiting

_SAID = 20


class Questions:
    """Reads a run, and tells what it, or a child of it, has begun to wait for: of so many steps at most."""

    def __init__(self, store: Store, read: Read, url: str, note: Callable[[str], None]) -> None:
        self._store = store
        self._read = read
        self._url = url
        self._note = note
        self._asked: set[StepKey] = set()

    async def read(self) -> RunSnapshot:
        """Return the run."""
        run = await self._read()
        await self._ask(run, UUID(run.run_id), run.name)
        for child in await self._store.children.show(UUID(run.run_id)):
            if not child.phase.done:
                await self._ask(run, child.run_id, child.name)
        return run

    async def _ask(self, run: RunSnapshot, run_id: UUID, name: str) -> None:
        if len(self._asked) > _SAID:
            return
        for waiting in await self._store.signals.awaited(run_id):
            if waiting.key in self._asked:
                continue
            self._asked.add(waiting.key)
            if len(self._asked) > _SAID:
                self._note(f"more than {_SAID} steps have asked something: no more of that is told here")
                return
            self._note(f"to answer: {_command(run, name, waiting)} --database {shlex.quote(self._url)}")


def _command(run: RunSnapshot, name: str, waiting: Waiting) -> str:
    namespace = [] if run.namespace == "default" else ["--namespace", run.namespace]
    verb = ["approve"] if waiting.approval else ["signal"]
    payload = [] if waiting.approval else ["--payload", "{}"]
    return shlex.join(["leat", *verb, name, waiting.name, *payload, *namespace])
