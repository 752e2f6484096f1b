"""`leat top` on a terminal. Here and in `screens` is the only use of textual."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import ContentSwitcher, DataTable, Footer, Header, Input, Static

from leat_cli.board import POOL_HEADERS, RUN_HEADERS, Board, pool_cells, run_cells
from leat_cli.screens import Key, Log, Looking, Panel, Steps

Cell = str | Text


class Dashboard(App[None]):
    """The tables, and the screens that open from them. ``namespace`` None: the runs of every one."""

    TITLE = "leat"
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, panel: Panel, namespace: str | None) -> None:
        super().__init__()
        self._tables = Tables(panel, namespace)

    def on_mount(self) -> None:
        """Begin with the tables."""
        self.push_screen(self._tables)


class Tables(Looking):
    """Runs that have not ended, and pools with their queues."""

    every: ClassVar[float] = 2.0
    CSS = """
    Tables #filter { display: none; }
    Tables #notes { color: $text-warning; height: auto; }
    Tables DataTable { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "app.quit", "Quit"),
        Binding("r", "view('runs')", "Runs"),
        Binding("p", "view('pools')", "Pools"),
        Binding("slash", "filter", "Filter"),
        Binding("l", "log", "Logs"),
        Binding("c", "cancel", "Cancel"),
        Binding("escape", "unfilter", show=False),
    ]

    def __init__(self, panel: Panel, namespace: str | None) -> None:
        super().__init__(panel)
        self._namespace = namespace
        self._board = Board()
        self._runs: dict[str, Key] = {}  # by the keys of rows
        self.sub_title = namespace or "all namespaces"

    def compose(self) -> ComposeResult:
        """Lay out the tables."""
        yield Header()
        with ContentSwitcher(initial="runs"):
            yield DataTable(id="runs", cursor_type="row")
            yield DataTable(id="pools", cursor_type="row")
        yield Static(id="notes", markup=False)
        yield Input(placeholder="only rows with this text", id="filter")
        yield Footer()

    def on_mount(self) -> None:
        """Name the columns, and look."""
        self._table("runs").add_columns(*RUN_HEADERS)
        self._table("pools").add_columns(*POOL_HEADERS)
        self._table("runs").focus()
        super().on_mount()

    async def read(self) -> None:
        """Read everything, and fill the tables."""
        self._board = await self.panel.board(self._namespace)
        self._draw()

    def say(self, text: str) -> None:
        """Say it below the tables, which stay as they were."""
        self.query_one("#notes", Static).update(text)

    def action_view(self, name: str) -> None:
        """Show the runs or the pools."""
        self.query_one(ContentSwitcher).current = name
        self._table(name).focus()

    def action_filter(self) -> None:
        """Ask for the text that rows must have."""
        self._filter.display = True
        self._filter.focus()

    def action_unfilter(self) -> None:
        """Show all rows again."""
        self._filter.value = ""
        self._filter.display = False
        self.on_input_submitted()

    def on_input_changed(self) -> None:
        """Show what the text leaves."""
        self._draw()

    def on_input_submitted(self) -> None:
        """Go back to the table."""
        self.action_view(self.query_one(ContentSwitcher).current or "runs")

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Open the run of the row."""
        if run := self._runs.get(event.row_key.value or ""):
            self.app.push_screen(Steps(self.panel, run))

    def action_log(self) -> None:
        """Open the log of the run under the cursor."""
        if run := self._chosen():
            self.app.push_screen(Log(self.panel, run))

    def action_cancel(self) -> None:
        """Cancel the run under the cursor, when that is meant."""
        if run := self._chosen():
            self.cancel(run)

    def _draw(self) -> None:
        now = datetime.now(UTC)
        self._runs = {f"{run.namespace}/{run.name}": (run.namespace, run.name) for run in self._board.runs}
        self._fill("runs", {f"{run.namespace}/{run.name}": run_cells(run, now) for run in self._board.runs})
        self._fill("pools", {pool.name: pool_cells(pool) for pool in self._board.pools})
        self.say("\n".join(self._board.notes))

    def _fill(self, name: str, rows: Mapping[str, Sequence[Cell]]) -> None:
        """Put the rows that the filter leaves into a table; the cursor stays on its row."""
        table = self._table(name)
        wanted = self._filter.value.lower()
        before = _under_cursor(table)
        table.clear()
        for key, cells in rows.items():
            if any(wanted in str(cell).lower() for cell in cells):
                table.add_row(*cells, key=key)
        if before in table.rows:
            table.move_cursor(row=table.get_row_index(before))

    @property
    def _filter(self) -> Input:
        return self.query_one("#filter", Input)

    def _table(self, name: str) -> DataTable[Cell]:
        return self.query_one(f"#{name}", DataTable)

    def _chosen(self) -> Key | None:
        """Return the run under the cursor, if runs are what is shown."""
        if self.query_one(ContentSwitcher).current != "runs":
            return None
        return self._runs.get(_under_cursor(self._table("runs")))


def _under_cursor(table: DataTable[Cell]) -> str:
    if not table.row_count:
        return ""
    return table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value or ""
