"""`leat get`: what runs and workflows there are."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from leat_cli import options
from leat_cli.output import Format, print_value
from leat_cli.problems import Invalid

if TYPE_CHECKING:
    from rich.text import Text

    from leat_cli.resources import WorkflowSnapshot
    from leat_cli.snapshot import RunSnapshot
    from leat_cli.source import Place, Source

_RUNS = frozenset({"runs", "run", "workflowruns", "workflowrun", "wfr"})
_WORKFLOWS = frozenset({"workflows", "workflow", "wfl"})

Cells = Sequence["str | Text"]


@dataclass(frozen=True, slots=True)
class Query:
    """What was asked for. ``name`` None means all of them, ``namespace`` None those of every namespace."""

    name: str | None
    namespace: str | None
    limit: int
    form: options.View | None

    @property
    def columns(self) -> slice:
        """Which columns are shown: the namespace where there are several, the last ones when wide."""
        return slice(0 if self.namespace is None else 1, None if self.form is options.View.WIDE else -2)


def get(  # noqa: PLR0913 - the options of a command are its parameters
    what: Annotated[str, typer.Argument(metavar="[runs|workflows]", help="What to list.")] = "runs",
    name: Annotated[str | None, typer.Argument(help="Only this one, with its values.")] = None,
    *,
    namespace: options.Namespace = None,
    all_namespaces: Annotated[bool, typer.Option("--all-namespaces", "-A", help="Of every namespace.")] = False,
    database: options.Database = None,
    context: options.Context = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many runs, the newest first.")] = 50,
    output: Annotated[options.View | None, typer.Option("--output", "-o", help="Wider, or for programs.")] = None,
) -> None:
    """List runs or workflows of a cluster, or runs of a database."""
    from leat_cli.source import Place

    if what not in _RUNS | _WORKFLOWS:
        if name is not None:
            raise Invalid.because(f"found `leat get {what} {name}`, expected `leat get [runs|workflows] [NAME]`")
        what, name = "runs", what
    answer = _get_runs if what in _RUNS else _get_workflows

    async def ask(place: "Place") -> None:
        async with place.open() as source:
            where = None if all_namespaces and name is None else namespace or source.namespace
            await answer(source, Query(name, where, limit, output))

    asyncio.run(ask(Place(database, context)))


async def _get_runs(source: "Source", query: Query) -> None:
    from leat_cli.source import named_run

    value: object
    if query.name is not None and query.namespace is not None:
        run = await named_run(source, query.namespace, query.name)
        found, value = [run], run.as_json()
    else:
        found = await source.runs(query.namespace, query.limit)
        value = [run.summary() for run in found]
    headers = ("NAMESPACE", "NAME", "WORKFLOW", "PHASE", "PROGRESS", "TOOK", "AGE", "REVISION", "RUN ID")
    _print(query, value, headers, map(_run_cells, found))


async def _get_workflows(source: "Source", query: Query) -> None:
    value: object
    if query.name is not None and query.namespace is not None:
        workflow = await source.workflow(query.namespace, query.name)
        if workflow is None:
            message = f"found no workflow {query.name!r} in namespace {query.namespace!r} of {source.where}"
            raise Invalid.because(f"{message}: `leat get workflows -A` lists what is there")
        found, value = [workflow], workflow.as_json()
    else:
        found = await source.workflows(query.namespace)
        value = [workflow.summary() for workflow in found]
    headers = ("NAMESPACE", "NAME", "READY", "STEPS", "AGE", "MESSAGE", "REVISION", "DESCRIPTION")
    _print(query, value, headers, map(_workflow_cells, found))


def _print(query: Query, value: object, headers: Cells, rows: Iterable[Cells]) -> None:
    if query.form in {options.View.JSON, options.View.YAML}:
        print_value(value, Format(query.form))
        return
    from leat_cli import terminal

    shown = [row[query.columns] for row in rows]
    if shown:
        terminal.out().print(terminal.table([str(header) for header in headers[query.columns]], shown))
    else:
        where = "any namespace" if query.namespace is None else f"namespace {query.namespace}"
        terminal.err().print(f"found nothing in {where}", markup=False)


def _run_cells(run: "RunSnapshot") -> Cells:
    from leat_cli import terminal

    now = datetime.now(UTC)
    took = terminal.took(run.started_at, run.finished_at, now)
    age = terminal.age(run.started_at, now)
    phase = terminal.state(run.phase)
    return (run.namespace, run.name, run.workflow, phase, run.progress, took, age, run.revision, run.run_id)


def _workflow_cells(workflow: "WorkflowSnapshot") -> Cells:
    from leat_cli import terminal

    age = terminal.age(workflow.created_at, datetime.now(UTC))
    facts = (workflow.namespace, workflow.name, workflow.ready, str(workflow.steps), age, workflow.message)
    return (*facts, workflow.revision, workflow.description)
