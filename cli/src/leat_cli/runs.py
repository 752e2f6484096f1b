"""`leat runs`: the runs of a namespace, or those among them that are asked for."""

import asyncio
from typing import Annotated

import typer

from leat_cli import options


def runs(  # noqa: PLR0913 - the options of a command are its parameters
    *,
    phase: options.Phases = None,
    reason: Annotated[
        str, typer.Option(metavar="TYPE", help="Only those that failed with this error, such as HttpStatus.")
    ] = "",
    poisoned: Annotated[
        bool, typer.Option("--poisoned", help="Only dead letters: those with a step that took its runners with it.")
    ] = False,
    selector: options.Selector = "",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Then print each run that changes.")] = False,
    namespace: options.Namespace = None,
    all_namespaces: options.AllNamespaces = False,
    limit: options.Limit = 50,
    output: options.Viewed = None,
    database: options.Database = None,
    context: options.Context = None,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """List runs, the newest first. `leat get` lists workflows, too, and shows one of them with its values."""
    from leat_cli.listing import Look, print_changes, print_runs
    from leat_cli.source import Place, RunQuery
    from leat_engine.result import ErrorType

    async def ask() -> None:
        async with Place(database, context, kubeconfig).open() as source:
            where = None if all_namespaces else namespace or source.namespace
            failed = ErrorType.RUNNER_LOST.value if poisoned else reason
            query = RunQuery(where, frozenset(map(str, phase or ())), selector, limit, failed)
            if watch:
                await print_changes(source, query, Look(where, output))
            else:
                print_runs(await source.runs(query), Look(where, output))

    asyncio.run(ask())
