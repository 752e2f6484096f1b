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
        if len(self._asked) <= _SAID:
            await self._ask(run)
        return run

    async def _ask(self, run: RunSnapshot) -> None:
        run_id = UUID(run.run_id)
        names = {run_id: run.name}
        names |= {child.run_id: child.name for child in await self._store.children.show(run_id) if not child.phase.done}
        for waiting in await self._store.signals.awaited([*names]):
            if waiting.key in self._asked:
                continue
            self._asked.add(waiting.key)
            if len(self._asked) > _SAID:
                self._note(f"more than {_SAID} steps have asked something: no more of that is told here")
                return
            command = _command(run, names[waiting.key.run_id], waiting)
            self._note(f"to answer: {command} --database {shlex.quote(self._url)}")


def _command(run: RunSnapshot, name: str, waiting: Waiting) -> str:
    namespace = [] if run.namespace == "default" else ["--namespace", run.namespace]
    verb = ["approve"] if waiting.approval else ["signal"]
    payload = [] if waiting.approval else ["--payload", "{}"]
    return shlex.join(["leat", *verb, name, waiting.name, *payload, *namespace])
