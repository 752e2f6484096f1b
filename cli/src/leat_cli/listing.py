"""Lists of runs and workflows: the table, or the form that was asked for."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from leat_cli.options import View
from leat_cli.output import Format, print_value

if TYPE_CHECKING:
    from rich.text import Text

    from leat_cli.resources import WorkflowSnapshot
    from leat_cli.snapshot import RunSnapshot
    from leat_cli.source import RunQuery, Source

Cells = Sequence["str | Text"]

_RUN_HEADERS = (
    "NAMESPACE",
    "NAME",
    "WORKFLOW",
    "PHASE",
    "PROGRESS",
    "TOOK",
    "AGE",
    "REVISION",
    "RUN ID",
    "PARENT",
    "MESSAGE",
)
_WATCHED_WIDTHS: Sequence[int] = (
    24,
    32,
    24,
    14,
    8,
    8,
    6,
    16,
    36,
    32,
    0,
)  # what comes later cannot move what was printed
_WORKFLOW_HEADERS = ("NAMESPACE", "NAME", "READY", "STEPS", "AGE", "MESSAGE", "REVISION", "DESCRIPTION")


@dataclass(frozen=True, slots=True)
class Look:
    """How a list is shown. ``namespace`` None: of every one, and so each row says which."""

    namespace: str | None
    form: View | None = None

    def columns(self, wide: int) -> slice:
        """Return which columns are shown; the last ``wide`` ones only when that was asked for."""
        return slice(0 if self.namespace is None else 1, None if self.form is View.WIDE else -wide)


def print_runs(found: Sequence["RunSnapshot"], look: Look, value: Any = None) -> None:
    """Print runs. ``value`` is what programs get; a list of summaries unless stated."""
    if look.form is View.NAME:
        _print_names("workflowrun", (run.name for run in found))
    elif look.form in {View.JSON, View.YAML}:
        print_value([run.summary() for run in found] if value is None else value, Format(look.form))
    else:
        columns = look.columns(wide=4)
        _print_table(look, _RUN_HEADERS[columns], [run_cells(run)[columns] for run in found])


def print_workflows(found: Sequence["WorkflowSnapshot"], look: Look, value: Any = None) -> None:
    """Print workflows, as `print_runs` prints runs."""
    if look.form is View.NAME:
        _print_names("workflow", (workflow.name for workflow in found))
    elif look.form in {View.JSON, View.YAML}:
        print_value([workflow.summary() for workflow in found] if value is None else value, Format(look.form))
    else:
        columns = look.columns(wide=2)
        _print_table(look, _WORKFLOW_HEADERS[columns], [_workflow_cells(workflow)[columns] for workflow in found])


async def print_changes(source: "Source", query: "RunQuery", look: Look) -> None:
    """Print the runs that are there, then a line, or a document, whenever one changes. It never ends."""
    columns = look.columns(wide=4)
    widths = _WATCHED_WIDTHS[columns]
    if look.form is None or look.form is View.WIDE:
        _print_line(_RUN_HEADERS[columns], widths)
    async for run in source.changes(query):
        if look.form is None or look.form is View.WIDE:
            _print_line([str(cell) for cell in run_cells(run)[columns]], widths)
        elif look.form is View.NAME:
            _print_names("workflowrun", [run.name])
        else:
            sys.stdout.write("---\n" if look.form is View.YAML else "")
            print_value(run.summary(), Format(look.form))


def run_cells(run: "RunSnapshot") -> Cells:
    """Return the row of a run."""
    from leat_cli import terminal

    now = datetime.now(UTC)
    took = terminal.took(run.started_at, run.finished_at, now)
    age = terminal.age(run.started_at, now)
    facts = (run.namespace, run.name, run.workflow, terminal.state(run.phase), run.progress, took, age)
    return (*facts, run.revision, run.run_id, run.parent, run.message)


def _workflow_cells(workflow: "WorkflowSnapshot") -> Cells:
    from leat_cli import terminal

    age = terminal.age(workflow.created_at, datetime.now(UTC))
    facts = (workflow.namespace, workflow.name, workflow.ready, str(workflow.steps), age, workflow.message)
    return (*facts, workflow.revision, workflow.description)


def _print_names(kind: str, names: Iterable[str]) -> None:
    for name in names:
        sys.stdout.write(f"{kind}.leat.dev/{name}\n")
    sys.stdout.flush()


def _print_line(cells: Sequence[str], widths: Sequence[int]) -> None:
    text = "   ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    sys.stdout.write(f"{text.rstrip()}\n")
    sys.stdout.flush()


def _print_table(look: Look, headers: Sequence[str], rows: Sequence[Cells]) -> None:
    from leat_cli import terminal

    if rows:
        terminal.out().print(terminal.table(headers, rows))
    else:
        where = "any namespace" if look.namespace is None else f"namespace {look.namespace}"
        terminal.err().print(f"found nothing in {where}", markup=False)
