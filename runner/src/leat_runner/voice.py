"""How a running step is heard: what it says goes to the log, what it waits for becomes its note. And how it hears."""

from collections.abc import Callable
from datetime import datetime
from functools import partial

from leat_engine.job import StepKey
from leat_engine.store import Store
from leat_engine.store.signals import Mine
from leat_runner.logs import AttemptLog, LogWriter, Speaker
from leat_runner.mail import Mailbox
from leat_runner.notes import Notes

Mask = Callable[[str], str]
"""Hides what must not be told."""


class Voice:
    """The logs, notes and mail of a runner's steps. ``runner`` is the id that the store has to know as the claim's."""

    def __init__(self, store: Store) -> None:
        self.runner = 0
        self.store = store
        self.logs = LogWriter(store)
        self.notes = Notes(store)

    def start(self) -> None:
        """Begin to write."""
        self.logs.start()

    async def stop(self) -> None:
        """Write what waits, for a moment, and stop."""
        await self.notes.stop()
        await self.logs.stop()

    def of(self, key: StepKey, name: str, attempt: int, mask: Mask | None) -> "Words":
        """What takes the words of an attempt of the step with this name."""
        return Words(self, Speaker(self.runner, key, attempt), name, mask)


class Words:
    """What one attempt says and waits for. Most say nothing: what it takes to keep words is made with the first one.

    Attributes:
        log_kept: Of an attempt that has said something; to be closed when it is over.
    """

    __slots__ = ("_mask", "_name", "_note", "_speaker", "_voice", "log_kept")

    def __init__(self, voice: Voice, speaker: Speaker, name: str, mask: Mask | None) -> None:
        self._voice = voice
        self._speaker = speaker
        self._name = name
        self._mask = mask
        self._note: Callable[[str], None] | None = None
        self.log_kept: AttemptLog | None = None

    def log(self, stream: str, text: str, at: datetime | None = None) -> None:
        """Keep one line."""
        if self.log_kept is None:
            self.log_kept = AttemptLog(self._voice.logs, self._speaker, self._name, self._mask)
        self.log_kept(stream, text, at)

    def note(self, text: str) -> None:
        """Tell what the step waits for."""
        if self._note is None:
            self._note = self._voice.notes.of(*self._speaker, self._mask)
        self._voice.logs.on_loop(partial(self._note, text))

    @property
    def mail(self) -> Mailbox:
        """What the attempt hears."""
        return Mailbox(self._voice.store, Mine(*self._speaker))
