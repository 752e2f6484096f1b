"""`leat describe`: everything about one run."""

import asyncio
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from leat_cli import options
from leat_cli.output import print_value

if TYPE_CHECKING:
    from leat_cli.snapshot import RunSnapshot, StepSnapshot

_NUMBERED = ("item", "iteration")
_WIDTH = 2000  # characters of one value; `-o json` has all of it


def describe(  # noqa: PLR0913 - the options of a command are its parameters
    name: options.Run,
    *,
    namespace: options.Namespace = None,
    database: options.Database = None,
    context: options.Context = None,
    kubeconfig: options.Kubeconfig = None,
    output: options.Output = None,
) -> None:
    """Show everything about one run.

    Its inputs, output and error, and of each step the output and every attempt; of a step with bodies some of what is
    in them. `leat tree --scope` shows the others.
    """
    from leat_cli.source import Place, named_run

    async def ask() -> "RunSnapshot":
        async with Place(database, context, kubeconfig).open() as source:
            return await named_run(source, namespace or source.namespace, name)

    run = asyncio.run(ask())
    if output is not None:
        print_value(run.as_json(), output)
        return
    from leat_cli import terminal
    from leat_cli.branches import branches

    now = datetime.now(UTC)
    console = terminal.out()
    for line in facts(run, now):
        console.print(line, markup=False)
    console.print()
    console.print(branches(run, now))
    if run.steps is None:
        terminal.err().print(f"no steps to show: {run.gap}", markup=False)
    for path, step in everything(run.steps or ()):
        for line in details(path, step, now):
            console.print(line, markup=False)


def facts(run: "RunSnapshot", now: datetime) -> Iterator[str]:
    """Yield a line for each fact about the run."""
    from leat_cli import terminal

    known = {
        "Name": run.name,
        "Namespace": run.namespace,
        "Workflow": run.workflow,
        "Revision": run.revision,
        "Run id": run.run_id,
        "Phase": f"{run.phase} {run.progress}".strip(),
        "Message": run.message,
        "Reason": run.reason,
        "Rerun of": run.rerun_of,
        "Parent": run.parent,
        "Started": _moment(run.started_at),
        "Finished": _moment(run.finished_at),
        "Took": terminal.took(run.started_at, run.finished_at, now),
        "Estimate": _estimate(run, now),
        "Critical": terminal.critical_path(run),
        "Inputs": _value(run.inputs) if run.inputs else "",
        "Output": _value(run.output) if run.output is not None else "",
        "Error": _value(run.error) if run.error else "",
    }
    for label, value in known.items():
        if value:
            yield f"{label + ':':<11} {value}"


def everything(steps: "Iterable[StepSnapshot]", before: str = "") -> "Iterator[tuple[str, StepSnapshot]]":
    """Yield every step, and below it those that are shown of its bodies, each with its path, as in `--scope`."""
    for step in steps:
        name = before + step.name
        yield name, step
        for scope in step.scopes.shown if step.scopes else ():
            number = f"[{scope.index}]" if scope.label.startswith(_NUMBERED) else ""
            yield from everything(scope.steps, f"{name}{number}/")


def details(name: str, step: "StepSnapshot", now: datetime) -> Iterator[str]:
    """Yield what the tree leaves out of a step: its attempts and its output."""
    from leat_cli import terminal

    lines = []
    for tried in step.earlier:
        took = terminal.took(tried.started_at, tried.finished_at, now)
        lines.append(f"  attempt {tried.attempt}: {took} {terminal.error_line(tried.error, _WIDTH)}")
    if step.error:
        lines.append(f"  error: {_value(step.error)}")
    if step.output is not None:
        lines.append(f"  output: {_value(step.output)}")
    if lines:
        yield f"\n{name} ({step.kind})"
        yield from lines


def _estimate(run: "RunSnapshot", now: datetime) -> str:
    from leat_cli import terminal

    if run.outlook is None or run.done:
        return ""
    if run.outlook.finish_at is not None:
        return f"{terminal.outlook(run, now)}, at {_moment(run.outlook.finish_at)}"
    why = [f"{', '.join(run.outlook.unknown)}: never ended yet"] if run.outlook.unknown else []
    why += [f"{', '.join(run.outlook.people)}: for somebody to answer"] if run.outlook.people else []
    return f"not known ({'; '.join(why)})"


def _moment(at: datetime | None) -> str:
    return "" if at is None else at.isoformat(sep=" ", timespec="milliseconds")


def _value(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _WIDTH else f"{text[:_WIDTH]}… ({len(text)} characters: -o json shows all)"
