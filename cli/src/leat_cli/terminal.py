"""How runs look to people: times, states, trees and tables."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TextIO

from rich.console import Console, Group, RenderableType
from rich.progress import track
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from leat_cli.snapshot import ChildSnapshot, RunSnapshot, StepSnapshot

_STYLES = {
    "Succeeded": ("✓", "green"),
    "Failed": ("✗", "red"),
    "Skipped": ("-", "dim"),
    "Cancelled": ("⊘", "yellow"),
    "Running": ("●", "cyan"),
    "Delayed": ("◔", "cyan"),
    "Ready": ("○", "default"),
    "Suspended": ("‖", "yellow"),
}
_WIDE = 100_000  # characters
_UNSTARTED = ("·", "dim")
_QUIET = frozenset(
    {"Pending", "Waiting", "Succeeded", "Skipped"}
)  # what may be left out first when the terminal is too short


def out() -> Console:
    """Return the console of stdout. Made when it is used, so that it is the stdout of that moment."""
    return Console(highlight=False, soft_wrap=True, width=_width(sys.stdout))


def err() -> Console:
    """Return the console of stderr."""
    return Console(stderr=True, highlight=False, soft_wrap=True, width=_width(sys.stderr))


def counted(count: int, done: str) -> Iterator[int]:
    """Yield the numbers below ``count``, and show on a terminal how far that is: ``done`` is what is done with each."""
    console = err()
    yield from track(range(count), done, console=console, transient=True, disable=not console.is_terminal)


def _width(stream: TextIO) -> int | None:
    """Return how wide a line may be: as wide as the terminal; anywhere else nothing is cut."""
    return None if stream.isatty() else _WIDE


def duration(seconds: float) -> str:
    """Return a length of time in at most two units: ``3ms``, ``1.2s``, ``4m05s``, ``2h10m``, ``3d4h``."""
    if seconds < 0.9995:  # would round to 1000ms
        return f"{round(seconds * 1000)}ms"
    if seconds < 59.95:  # would round to 60.0s
        return f"{seconds:.1f}s"
    whole = round(seconds)
    for size, unit, inner_size, inner in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            return f"{whole // size}{unit}{whole % size // inner_size:02}{inner}"
    raise AssertionError(seconds)


def took(started: datetime | None, finished: datetime | None, now: datetime) -> str:
    """Return how long something has run, or ran; "" when it did not start."""
    if started is None:
        return ""
    return duration(max(((finished or now) - started) / timedelta(seconds=1), 0.0))


def age(at: datetime | None, now: datetime) -> str:
    """Return how long ago something was, in whole seconds at the finest."""
    return "" if at is None else duration(max(int((now - at).total_seconds()), 1)).replace(".0s", "s")


def state(label: str) -> Text:
    """Return a state or phase as people see it."""
    mark, style = _STYLES.get(label, _UNSTARTED)
    return Text(f"{mark} {label}", style=style)


def error_line(error: Mapping[str, Any] | None, width: int = 160) -> str:
    """Return an error as data on one line, cut to ``width`` characters."""
    if not error:
        return ""
    text = f"{error.get('reason') or error.get('type', '')}: {error.get('message', '')}"
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"


def tree(run: RunSnapshot, now: datetime, rows: int | None = None) -> RenderableType:
    """Return the run and its steps as a tree of at most ``rows`` lines; what moves or failed is shown first."""
    lines = Tree(head(run, now), guide_style="dim")
    steps = run.steps or ()
    shown = worth_showing(steps, rows)
    widths = max((len(step.name) for step in shown), default=0), max((len(step.state) for step in shown), default=0) + 2
    for step in shown:
        _add_children(lines.add(_step_line(step, widths, now)), step.children, now)
    if len(shown) < len(steps):
        lines.add(Text(f"… {len(steps) - len(shown)} more", style="dim"))
    _add_children(lines, run.children, now)
    return Group(lines, *complaints(run))


def _add_children(branch: Tree, children: Sequence[ChildSnapshot], now: datetime) -> None:
    """Hang runs that a step started below it."""
    for child in children:
        facts = f"{child.progress}  {took(child.started_at, child.finished_at, now)}"
        line = Text.assemble("» ", child.name, "  ", state(child.phase), "  ", (facts, "dim"))
        _add_children(branch.add(line), child.children, now)


def head(run: RunSnapshot, now: datetime) -> Text:
    """Return the line that stands above a run's steps."""
    moved = took(run.started_at, run.finished_at, now)
    line = Text.assemble((run.name, "bold"), "  ", state(run.phase), "  ", run.progress, "  ", (moved, "dim"))
    if rest := outlook(run, now):
        line.append(f"  {rest}", style="cyan")
    for word, other in (("rerun of", run.rerun_of), ("child of", run.parent)):
        if other:
            line.append(f"  {word} {other}", style="dim")
    return line


def outlook(run: RunSnapshot, now: datetime) -> str:
    """Return when the run is likely to end, such as ``ends in 2m05s (9 of 10: 3m10s)``; "" if that is not known."""
    found = run.outlook
    if found is None or found.finish_at is None or run.done:
        return ""
    late = f" (9 of 10: {took(now, found.late_at, now)})" if found.late_at else ""
    return f"ends in {took(now, found.finish_at, now)}{late}"


def critical_path(run: RunSnapshot) -> str:
    """Return the steps that the end of a run depends on, with their shares of the time that is left; or ""."""
    if run.outlook is None or run.done:
        return ""
    return " > ".join(f"{step} {share:.0%}" for step, share in run.outlook.path)


def complaints(run: RunSnapshot) -> Iterator[Text]:
    """Yield what stands below the steps: the critical path, failures that no step shows, and the run's own words."""
    if path := critical_path(run):
        yield Text(f"critical path: {path}", style="dim", overflow="ellipsis", no_wrap=True)
    for failure in () if run.steps else run.failures:
        step, reason, message = (failure.get(name, "") for name in ("step", "reason", "message"))
        yield Text(f"{step}  {reason}: {message}", style="red")
    if run.message and not run.succeeded:
        yield Text(run.message, style=_STYLES.get(run.phase, _UNSTARTED)[1])


def last_error(step: StepSnapshot) -> Mapping[str, Any] | None:
    """Return the error of the last attempt, or of the one before while another one is under way."""
    if step.error or step.state in _QUIET or not step.earlier:
        return step.error
    return step.earlier[-1].error


def worth_showing(steps: Sequence[StepSnapshot], rows: int | None) -> list[StepSnapshot]:
    """Return the steps that fit, in their order: those that move or failed, then the others from the first on."""
    if rows is None or len(steps) <= rows:
        return list(steps)
    by_interest = sorted(enumerate(steps), key=lambda item: (item[1].state in _QUIET, item[0]))
    return [step for _, step in sorted(by_interest[: max(rows, 1)], key=lambda item: item[0])]


def _step_line(step: StepSnapshot, widths: tuple[int, int], now: datetime) -> Text:
    name_width, state_width = widths
    label = state(step.state)
    label.pad_right(max(state_width - len(label), 0))
    tries = f"attempt {step.attempts}" if step.attempts > 1 else ""
    facts = "  ".join(part for part in (took(step.started_at, step.finished_at, now), tries) if part)
    last = last_error(step)
    line = Text.assemble(step.name.ljust(name_width), "  ", label, "  ", (facts, "dim"))
    if last:
        line.append(f"  {error_line(last)}", style="red" if step.state == "Failed" else "dim")
    if step.note:
        line.append(f"  {step.note}", style="yellow")
    line.no_wrap = True
    line.overflow = "ellipsis"
    return line


def table(headers: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> Table:
    """Return a table in the manner of kubectl: no borders, capital headers."""
    drawn = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="")
    for header in headers:
        drawn.add_column(header, no_wrap=True)
    for row in rows:
        drawn.add_row(*row)
    return drawn


def changes(before: RunSnapshot | None, after: RunSnapshot, now: datetime) -> Iterator[str]:
    """Yield a line for everything that is new since ``before``, as a log without a terminal shows it."""
    turned = before is None or before.phase != after.phase
    if turned and not after.done:
        yield f"{after.name}: {after.phase}"
    if (rest := outlook(after, now)) and not (before and outlook(before, now)):
        yield f"{after.name}: {rest}"
    known = {step.name: step for step in (before.steps or ())} if before else {}
    for step in after.steps or ():
        old = known.get(step.name)
        moved = old is None or (old.state, old.attempts) != (step.state, step.attempts)
        if moved and step.state not in {"Pending", "Waiting", "Ready"}:
            parts = (step.state, took(step.started_at, step.finished_at, now) if step.finished_at else "",
                     f"attempt {step.attempts}" if step.attempts > 1 else "", error_line(step.error))  # fmt: skip
            yield f"{after.name}/{step.name}: " + ", ".join(part for part in parts if part)
    if turned and after.done:
        yield f"{after.name}: {after.phase}" + (f": {after.message}" if after.message else "")
