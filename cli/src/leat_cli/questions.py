"""What a run in this process waits for from outside, with the command that answers it, said once."""

import shlex
from collections.abc import Callable
from uuid import UUID

from leat_cli.follow import Read
from leat_cli.snapshot import RunSnapshot
from leat_engine.store import Store
from leat_engine.waits import Waiting


class Questions:
    """Reads a run, and tells what it has begun to wait for."""

    def __init__(self, store: Store, read: Read, url: str, note: Callable[[str], None]) -> None:
        self._store = store
        self._read = read
        self._url = url
        self._note = note
        self._asked: set[str] = set()

    async def read(self) -> RunSnapshot:
        """Return the run."""
        run = await self._read()
        asking = {step.name for step in run.steps or () if step.state == "Delayed" and step.note}
        if asking - self._asked:
            for waiting in await self._store.signals.awaited(UUID(run.run_id)):
                self._note(f"to answer: {_command(run, waiting)} --database {shlex.quote(self._url)}")
        self._asked = asking
        return run


def _command(run: RunSnapshot, waiting: Waiting) -> str:
    namespace = [] if run.namespace == "default" else ["--namespace", run.namespace]
    verb = ["approve"] if waiting.approval else ["signal"]
    payload = [] if waiting.approval else ["--payload", "{}"]
    return shlex.join(["leat", *verb, run.name, waiting.name, *payload, *namespace])
