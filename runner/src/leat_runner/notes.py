"""What running steps wait for, told to the store: the newest word of each, in the background."""

import asyncio
from collections.abc import Callable

import structlog

from leat_engine.errors import StoreUnavailable
from leat_engine.job import StepKey
from leat_engine.store import Store
from leat_runner.lines import harmless

NOTE_CHARS = 512
RETRY_SECONDS = 1.0

log = structlog.get_logger()


class Notes:
    """Writes notes of steps. A note that another one has replaced meanwhile is not written any more."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._newest: dict[StepKey, tuple[int, int, str]] = {}
        self._task: asyncio.Task[None] | None = None

    def of(self, runner: int, key: StepKey, attempt: int, mask: Callable[[str], str] | None) -> Callable[[str], None]:
        """What a step calls with what it waits for, and with "" when it does not any more."""
        last = ""

        def note(text: str) -> None:
            nonlocal last
            text = harmless(text if mask is None else mask(text))[:NOTE_CHARS]
            if text != last:
                last = text
                self._newest[key] = (runner, attempt, text)
                if self._task is None:
                    self._task = asyncio.create_task(self._write(), name="notes")

        return note

    async def stop(self) -> None:
        """Stop at once: a note is for the moment."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _write(self) -> None:
        try:
            while self._newest:
                key, (runner, attempt, text) = next(iter(self._newest.items()))
                try:
                    await self._store.note(runner, key, attempt, text or None)
                except StoreUnavailable as error:
                    log.warning("note_held", reason=str(error))
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
                if self._newest.get(key) == (runner, attempt, text):
                    del self._newest[key]
        except Exception:
            log.exception("notes_lost")
            self._newest.clear()
        finally:
            self._task = None
