"""Shows a run while it runs, on stderr: a live tree on a terminal, a line per change elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Protocol

from rich.console import Console, RenderableType
from rich.live import Live

from leat_cli import terminal
from leat_cli.snapshot import RunSnapshot


class Progress(Protocol):
    """Where a run is shown."""

    def show(self, run: RunSnapshot) -> None:
        """Show what the run has become."""
        ...

    def note(self, text: str) -> None:
        """Say something beside the run."""
        ...


class Lines:
    """A line per change: for pipes, logs and CI."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last: RunSnapshot | None = None

    def show(self, run: RunSnapshot) -> None:
        """Print what changed since the last time."""
        for line in terminal.changes(self._last, run, datetime.now(UTC)):
            self.note(line)
        self._last = run

    def note(self, text: str) -> None:
        """Print a line."""
        self._console.print(text, markup=False)


Draw = Callable[[RunSnapshot, datetime, int | None], RenderableType]


class LiveTree:
    """A tree that is drawn again in place."""

    def __init__(self, console: Console, live: Live, draw: Draw) -> None:
        self._console = console
        self._live = live
        self._draw = draw

    def show(self, run: RunSnapshot) -> None:
        """Draw the run; all of it once it is done, for then it may scroll."""
        rows = None if run.done else max(self._console.height - 4, 1)
        self._live.update(self._draw(run, datetime.now(UTC), rows), refresh=True)

    def note(self, text: str) -> None:
        """Print a line above the tree."""
        self._console.print(text, markup=False)


@contextmanager
def progress(draw: Draw = terminal.tree) -> Iterator[Progress]:
    """Yield what suits stderr: on a terminal the run is drawn by ``draw``."""
    console = terminal.err()
    if not console.is_terminal:
        yield Lines(console)
        return
    with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:
        yield LiveTree(console, live, draw)
