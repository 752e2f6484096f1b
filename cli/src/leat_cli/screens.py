"""Screens of `leat top`: what they have in common, and those for one run."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ClassVar, Protocol

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Center, VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Footer, Header, RichLog, Static

from leat_cli.board import Board
from leat_cli.branches import branches
from leat_cli.logs import Form
from leat_cli.problems import CommandError
from leat_cli.readapi import LogPage, LogQuery
from leat_cli.snapshot import RunSnapshot

_LINES = 5000  # of a log that are kept on the screen


Key = tuple[str, str]  # namespace and name of a run


class Panel(Protocol):
    """What the screens ask, and what they can do."""

    async def board(self, namespace: str | None) -> Board:
        """Return everything at this moment."""

    async def run(self, namespace: str, name: str) -> RunSnapshot | None:
        """Return a run with its steps."""

    async def log(self, namespace: str, name: str, query: LogQuery) -> LogPage:
        """Return a page of a run's log."""

    async def steer(self, namespace: str, name: str, wish: Mapping[str, Any]) -> RunSnapshot | None:
        """Change fields of a run's spec."""


class Looking(Screen[None]):
    """A screen that looks again and again while it is open, never twice at once."""

    every: ClassVar[float] = 1.0  # seconds

    def __init__(self, panel: Panel) -> None:
        super().__init__()
        self.panel = panel

    def on_mount(self) -> None:
        """Look for the first time, and from then on again and again."""
        self.look()
        self.set_interval(self.every, self.look)

    def look(self) -> None:
        """Begin to look, unless the last time is still under way."""
        if not any(worker.group == "look" and not worker.is_finished for worker in self.workers):
            self.run_worker(self._guarded(), group="look")

    async def read(self) -> None:
        """Ask, and show the answer."""
        raise NotImplementedError

    def say(self, text: str) -> None:
        """Show why there is no answer."""
        raise NotImplementedError

    def cancel(self, run: Key) -> None:
        """Cancel a run, when that is meant."""

        def answered(meant: bool | None) -> None:
            if meant:
                self.run_worker(self._cancel(run), group="cancel")

        self.app.push_screen(Confirm(f"Cancel run {run[1]}? It cannot be taken back."), answered)

    async def _guarded(self) -> None:
        try:
            await self.read()
        except CommandError as error:
            self.say(str(error))

    async def _cancel(self, run: Key) -> None:
        try:
            found = await self.panel.steer(*run, {"cancel": True})
        except CommandError as error:
            self.notify(str(error), severity="error", markup=False)
            return
        self.notify(f"{run[1]} is being cancelled" if found else f"{run[1]} is not there any more", markup=False)


class Steps(Looking):
    """The steps of a run, by what they need."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss", "Back"),
        Binding("l", "log", "Logs"),
        Binding("c", "cancel", "Cancel"),
    ]

    def __init__(self, panel: Panel, run: Key) -> None:
        super().__init__(panel)
        self._run = run
        self.sub_title = "/".join(run)

    def compose(self) -> ComposeResult:
        """Lay out the tree."""
        yield Header()
        with VerticalScroll():
            yield Static(id="steps", markup=False)
            yield Static(id="said", markup=False)
        yield Footer()

    def action_log(self) -> None:
        """Open the log of the run."""
        self.app.push_screen(Log(self.panel, self._run))

    def action_cancel(self) -> None:
        """Cancel the run, when that is meant."""
        self.cancel(self._run)

    async def read(self) -> None:
        """Read the run, and draw it."""
        run = await self.panel.run(*self._run)
        if run is None:
            self.say("the run is not there any more")
            return
        self.query_one("#steps", Static).update(branches(run, datetime.now(UTC)))
        self.say(f"no steps to show: {run.gap}" if run.steps is None else "")

    def say(self, text: str) -> None:
        """Say it below the tree."""
        self.query_one("#said", Static).update(text)


class Log(Looking):
    """What the steps of a run wrote."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "dismiss", "Back")]

    def __init__(self, panel: Panel, run: Key) -> None:
        super().__init__(panel)
        self._run = run
        self._query = LogQuery()
        self._said = ""
        self.sub_title = "/".join(run)

    def compose(self) -> ComposeResult:
        """Lay out the lines."""
        yield Header()
        yield RichLog(max_lines=_LINES, wrap=True, markup=False)
        yield Footer()

    async def read(self) -> None:
        """Read the lines that are new, and add them."""
        form = Form(prefix=True, timestamps=False)
        while True:
            page = await self.panel.log(*self._run, self._query)
            for line in page.lines:
                self.query_one(RichLog).write(form.line(line).rstrip("\n"))
            self._query = replace(self._query, after=self._query.after if page.after is None else page.after)
            if not page.lines:
                return

    def say(self, text: str) -> None:
        """Say it once among the lines."""
        if text != self._said:
            self.query_one(RichLog).write(text)
        self._said = text


class Confirm(ModalScreen[bool]):
    """Asks whether it is meant."""

    CSS = """
    Confirm { align: center middle; }
    #question { width: auto; padding: 1 4; background: $panel; border: round $warning; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "dismiss(True)", "Yes"),
        Binding("n,escape", "dismiss(False)", "No"),
    ]

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        """Lay out the question."""
        with Center():
            yield Static(f"{self._question}\n\ny: yes   n: no", id="question", markup=False)
        yield Footer()
