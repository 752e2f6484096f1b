"""How a running step is heard: what it says goes to the log, what it waits for becomes its note."""

from collections.abc import Callable

from leat_engine.job import StepKey
from leat_engine.store import Store
from leat_runner.logs import AttemptLog, LogWriter, Speaker
from leat_runner.notes import Notes

Mask = Callable[[str], str]
"""Hides what must not be told."""


class Voice:
    """The logs and notes of a runner's steps. ``runner`` is the id that the store has to know as the claim's."""

    def __init__(self, store: Store) -> None:
        self.runner = 0
        self._logs = LogWriter(store)
        self._notes = Notes(store)

    def start(self) -> None:
        """Begin to write."""
        self._logs.start()

    async def stop(self) -> None:
        """Write what waits, for a moment, and stop."""
        await self._notes.stop()
        await self._logs.stop()

    def log(self, key: StepKey, name: str, attempt: int, mask: Mask | None) -> AttemptLog:
        """What takes the lines of an attempt of the step with this name."""
        return AttemptLog(self._logs, Speaker(self.runner, key, attempt), name, mask)

    def note(self, key: StepKey, attempt: int, mask: Mask | None) -> Callable[[str], None]:
        """What takes the notes of an attempt."""
        return self._notes.of(self.runner, key, attempt, mask)
