"""How a run looks as a tree by what its steps need."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.text import Text

from leat_cli import terminal
from leat_cli.forest import Placed, outline, placed
from leat_cli.snapshot import ChildSnapshot, RunSnapshot

_HEADERS = ("STEP", "STATE", "TOOK", "TRIES", "RUNNER", "")
_WIDTH = 100  # characters of a note or an error


def branches(run: RunSnapshot, now: datetime, rows: int | None = None) -> RenderableType:
    """Return the run's head, its steps by what they need, and why it stands where it stands.

    Args:
        run: With or without steps; without them its failures are shown.
        now: When it is looked at.
        rows: At most so many lines, bodies if there is room, and steps first that move or failed; None means all.
    """
    parts: list[RenderableType] = [terminal.head(run, now)]
    if run.steps:
        shown = {step.name for step in terminal.worth_showing(run.steps, rows)}
        places = list(outline(run.steps))
        if rows is not None and len(places) > rows:
            places = [place for place in placed(run.steps) if place.step.name in shown]
        lines = [line for place in places for line in _rows(run, place, now)]
        parts.append(terminal.table(_HEADERS, lines + list(_children(run.children, "", now))))
        if len(shown) < len(run.steps):
            parts.append(Text(f"… {len(run.steps) - len(shown)} more", style="dim"))
    parts += terminal.complaints(run)
    return Group(*parts)


def _rows(run: RunSnapshot, place: Placed, now: datetime) -> Iterator[tuple[Text | str, ...]]:
    """Yield the row of a step, and those of the runs that it started."""
    yield _row(run, place, now)
    yield from _children(place.step.children, place.under, now)


def _children(children: Sequence[ChildSnapshot], under: str, now: datetime) -> Iterator[tuple[Text | str, ...]]:
    for child, depth in below(children):
        name = Text.assemble((under + "  " * depth + "» ", "dim"), child.name)
        took = terminal.took(child.started_at, child.finished_at, now)
        yield name, terminal.state(child.phase), took, child.progress, "", Text(f"Workflow {child.workflow}", "dim")


def below(children: Sequence[ChildSnapshot], depth: int = 0) -> Iterator[tuple[ChildSnapshot, int]]:
    """Yield runs and those below them, each with how many are above it here."""
    for child in children:
        yield child, depth
        yield from below(child.children, depth + 1)


def _row(run: RunSnapshot, place: Placed, now: datetime) -> tuple[Text | str, ...]:
    step = place.step
    name = Text.assemble((place.guide, "dim"), step.name)
    if not step.state:
        return (name, *[""] * (len(_HEADERS) - 1))
    took = terminal.took(step.started_at, step.finished_at, now)
    tries = str(step.attempts) if step.attempts else ""
    return name, terminal.state(step.state), took, tries, step.runner, Text("; ").join(_remarks(run, place))


def _remarks(run: RunSnapshot, place: Placed) -> Iterator[Text]:
    """Yield what there is to say about a step: that it is an earlier run's, the error, why it waits, what it needs."""
    step = place.step
    if run.keeps(step):
        yield Text("kept", style="dim")
    if error := terminal.last_error(step):
        yield Text(terminal.error_line(error, _WIDTH), style="red" if step.state == "Failed" else "dim")
    if step.note:
        yield Text(step.note[:_WIDTH], style="yellow")
    if place.also:
        yield Text(f"needs {', '.join(place.also)}, too", style="dim")
