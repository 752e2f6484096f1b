"""`leat watch`: one run, until it ends."""

import asyncio
from typing import TYPE_CHECKING

import typer

from leat_cli import options
from leat_cli.output import print_value

if TYPE_CHECKING:
    from leat_cli.snapshot import RunSnapshot

_EVERY = 0.5  # seconds between two readings


def watch(  # noqa: PLR0913 - the options of a command are its parameters
    name: options.Run,
    *,
    namespace: options.Namespace = None,
    database: options.Database = None,
    context: options.Context = None,
    kubeconfig: options.Kubeconfig = None,
    output: options.Output = None,
) -> None:
    """Watch one run until it ends. Exits as `leat run` does: 0 succeeded, 1 failed or cancelled."""
    from leat_cli.follow import exit_code, follow
    from leat_cli.progress import progress
    from leat_cli.source import Place, named_run

    async def wait() -> "RunSnapshot":
        async with Place(database, context, kubeconfig).open() as source:
            with progress() as shown:
                return await follow(lambda: named_run(source, namespace or source.namespace, name), shown, _EVERY)

    run = asyncio.run(wait())
    if output is not None:
        print_value(run.result(), output)
    raise typer.Exit(exit_code(run))
