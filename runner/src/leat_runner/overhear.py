"""What functions print, and log by Python's `logging`, heard as the words of the step that runs them.

Functions share one process. Whose words they are tells a context variable, which tasks and `copy_context` threads carry
along; what is said outside of steps goes where it always went. A step that says nothing costs one variable.
"""

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TextIO, cast

from leat_engine.kind import StepLog
from leat_runner.lines import LINE_BYTES

LINE_CHARS = LINE_BYTES // 4
"""A line that does not end is given out in pieces of this."""

_SAYING = threading.RLock()
"""Threads of one function may write one line together. Re-entrant: a finalizer that prints can run at any point."""


class Speech:
    """The words of one attempt, written in any pieces, given to its log line by line."""

    __slots__ = ("_log", "_rest")

    def __init__(self, log: StepLog) -> None:
        self._log = log
        self._rest: dict[str, str] | None = None

    def write(self, stream: str, text: str) -> None:
        """Take some text of a stream."""
        with _SAYING:
            rest = self._rest = self._rest or {}
            *lines, last = (rest.get(stream, "") + text).split("\n")
            while len(last) > LINE_CHARS:
                lines.append(last[:LINE_CHARS])
                last = last[LINE_CHARS:]
            rest[stream] = last
            self._give(stream, [line.removesuffix("\r") for line in lines])

    def end(self) -> None:
        """Nothing more comes: give out the lines that did not end."""
        if self._rest is None:
            return
        with _SAYING:
            rest, self._rest = self._rest, None
            for stream, text in rest.items():
                self._give(stream, [text] if text else [])

    def _give(self, stream: str, lines: list[str]) -> None:
        outside = SPEAKS.set(None)  # what the log itself prints is not the step's: heard, it would never end
        try:
            for line in lines:
                self._log(stream, line)
        finally:
            SPEAKS.reset(outside)


SPEAKS: ContextVar[Speech | None] = ContextVar("leat_speaks", default=None)
"""The attempt that the code which runs now belongs to."""


@contextmanager
def overhearing() -> Iterator[None]:
    """Hear what is printed and logged from here on. Modules that keep `sys.stdout` have to be imported inside of it."""
    root, kept = logging.getLogger(), (sys.stdout, sys.stderr)
    level, handlers = root.level, [(handler, handler.level) for handler in root.handlers]
    sys.stdout, sys.stderr = (
        cast("TextIO", _Ear(real, name)) for real, name in zip(kept, ("stdout", "stderr"), strict=True)
    )
    for handler, own in handlers:
        handler.setLevel(max(own, level))  # the process itself says no more than before
    ear = _LogEar()
    root.addHandler(ear)
    root.setLevel(min(level, logging.INFO))
    try:
        yield
    finally:
        root.setLevel(level)
        root.removeHandler(ear)
        for handler, own in handlers:
            handler.setLevel(own)
        sys.stdout, sys.stderr = kept


class _Ear:
    """A text stream that keeps what steps write from going to the real one. All else is the real one's."""

    __slots__ = ("_name", "_real")

    def __init__(self, real: TextIO, name: str) -> None:
        self._real = real
        self._name = name

    def write(self, text: str) -> int:
        speech = SPEAKS.get()
        if speech is None:
            return self._real.write(text)
        speech.write(self._name, text)
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class _LogEar(logging.Handler):
    """Gives records that are made within a step to its words."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))

    def filter(self, record: logging.LogRecord) -> Any:
        return SPEAKS.get() is not None and super().filter(record)

    def emit(self, record: logging.LogRecord) -> None:
        speech = SPEAKS.get()
        if speech is not None:
            try:
                text = self.format(record)
            except Exception:  # noqa: BLE001 - the user's arguments do not fit the user's text
                self.handleError(record)
                return
            speech.write("stderr", text + "\n")
