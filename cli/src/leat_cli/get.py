"""`leat get`: what runs and workflows there are."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from leat_cli import complete, options
from leat_cli.problems import Invalid

if TYPE_CHECKING:
    from leat_cli.listing import Look
    from leat_cli.resources import WorkflowSnapshot
    from leat_cli.source import Source

_RUNS = frozenset({"runs", "run", "workflowruns", "workflowrun", "wfr"})
_WORKFLOWS = frozenset({"workflows", "workflow", "wfl"})
_BREAKERS = frozenset({"breakers", "breaker"})


def get(  # noqa: PLR0913 - the options of a command are its parameters
    what: Annotated[str, typer.Argument(metavar="[runs|workflows|breakers]", help="What to list.")] = "runs",
    name: Annotated[
        str | None, typer.Argument(help="Only this one, with its values.", autocompletion=complete.things)
    ] = None,
    *,
    namespace: options.Namespace = None,
    all_namespaces: options.AllNamespaces = False,
    database: options.Database = None,
    context: options.Context = None,
    kubeconfig: options.Kubeconfig = None,
    limit: options.Limit = 50,
    output: options.Viewed = None,
) -> None:
    """List runs or workflows of a cluster, runs or breakers of a database, or show one run. `leat runs` can filter."""
    from leat_cli.listing import Look
    from leat_cli.source import Place

    if what in _BREAKERS:
        _breakers(database, None if all_namespaces else namespace, output)
        return
    if what not in _RUNS | _WORKFLOWS:
        if name is not None:
            raise Invalid.because(
                f"found `leat get {what} {name}`, expected `leat get [runs|workflows|breakers] [NAME]`"
            )
        what, name = "runs", what

    async def ask() -> None:
        async with Place(database, context, kubeconfig).open() as source:
            where = None if all_namespaces and name is None else namespace or source.namespace
            if what in _WORKFLOWS:
                await _workflows(source, name, Look(where, output))
            else:
                await _runs(source, name, Look(where, output), limit)

    asyncio.run(ask())


def _breakers(database: str | None, namespace: str | None, view: options.View | None) -> None:
    from leat_cli.limits import look, show_breakers
    from leat_cli.output import Format

    found = look(database, namespace)
    show_breakers(found, Format(view) if view in {options.View.JSON, options.View.YAML} else None)


async def _runs(source: "Source", name: str | None, look: "Look", limit: int) -> None:
    from leat_cli.listing import print_runs
    from leat_cli.source import RunQuery, named_run

    if name is None or look.namespace is None:
        print_runs(await source.runs(RunQuery(look.namespace, limit=limit)), look)
        return
    run = await named_run(source, look.namespace, name)
    print_runs([run], look, run.as_json())


async def _workflows(source: "Source", name: str | None, look: "Look") -> None:
    from leat_cli.listing import print_workflows

    if name is None or look.namespace is None:
        print_workflows(await source.workflows(look.namespace), look)
        return
    workflow = await _named_workflow(source, look.namespace, name)
    print_workflows([workflow], look, workflow.as_json())


async def _named_workflow(source: "Source", namespace: str, name: str) -> "WorkflowSnapshot":
    found = await source.workflow(namespace, name)
    if found is None:
        message = f"found no workflow {name!r} in namespace {namespace!r} of {source.where}"
        raise Invalid.because(f"{message}: `leat get workflows -A` lists what is there")
    return found
