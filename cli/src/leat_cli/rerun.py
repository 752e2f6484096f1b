"""`leat rerun`: a new run that goes on from one that has ended."""

import asyncio
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from leat_cli import complete, options
from leat_cli.output import print_value
from leat_cli.problems import Exit, Invalid

if TYPE_CHECKING:
    from leat_cli.again import Again
    from leat_cli.remote import Cluster
    from leat_cli.snapshot import RunSnapshot

_EVERY = 0.5  # seconds between two looks whether it has ended


def rerun(  # noqa: PLR0913 - the options of a command are its parameters
    name: options.Run,
    *,
    start: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="STEP",
            help="Run this step again, and all that need it; may be given several times. Else those that failed.",
            autocompletion=complete.steps,
        ),
    ] = None,
    compensate: Annotated[
        bool, typer.Option("--compensate", help="Run no step again: undo what is left, where a compensation failed.")
    ] = False,
    changes: options.Changes = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it has ended.")] = False,
    namespace: options.Namespace = None,
    context: options.Context = None,
    kubeconfig: options.Kubeconfig = None,
    output: options.Output = None,
) -> None:
    """Run again what failed, or what is named: a new run, which keeps the results of all other steps.

    With --wait it exits as `leat run` does: 0 succeeded, 1 failed or cancelled.
    """
    from leat_cli.again import Again
    from leat_cli.remote import Cluster
    from leat_cli.source import Place

    async def go() -> "RunSnapshot":
        cluster = Cluster.connect(Place(context=context, kubeconfig=kubeconfig))
        try:
            where = namespace or cluster.namespace
            new = await _create(
                cluster, where, name, Again(tuple(start or ()), compensate=compensate), tuple(changes or ())
            )
            if output is None:
                _say(f"workflowrun.leat.dev/{new.name} created: goes on from {name}")
            return await _ended(cluster, new) if wait else new
        finally:
            await cluster.close()

    new = asyncio.run(go())
    if output is not None:
        print_value(new.summary(), output)
    elif wait:
        _say(f"workflowrun.leat.dev/{new.name} {new.phase}" + (f": {new.message}" if not new.succeeded else ""))
    if wait and not new.succeeded:
        raise typer.Exit(Exit.FAILED)


async def _create(
    cluster: "Cluster", namespace: str, name: str, again: "Again", changes: tuple[str, ...]
) -> "RunSnapshot":
    from leat_cli.again import successor
    from leat_cli.resources import run_of_resource
    from leat_cli.source import no_run

    old = await cluster.run_resource(namespace, name)
    if old is None:
        raise no_run(cluster, namespace, name)
    run = run_of_resource(old, None)
    if not run.done:
        message = f"run {name} is {run.phase}, expected one that has ended: wait for its end, or `leat cancel {name}`"
        raise Invalid.because(message)
    inputs = await cluster.changed_inputs(namespace, old["spec"], changes)
    created = await cluster.create_run(namespace, successor(old, replace(again, inputs=inputs)))
    return run_of_resource(created, None)


async def _ended(cluster: "Cluster", run: "RunSnapshot") -> "RunSnapshot":
    from leat_cli.follow import Patience

    patience = Patience(lambda text: print(text, file=sys.stderr), _EVERY)  # noqa: T201 - to people
    namespace, name = run.namespace, run.name
    while not run.done:
        await asyncio.sleep(_EVERY)
        run = await patience.ask(lambda: cluster.brief(namespace, name))
    return run


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
