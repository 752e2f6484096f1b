"""`leat tree`: the steps of one run, by what they need."""

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leat_cli import options
from leat_cli.output import Format, print_value

if TYPE_CHECKING:
    from leat_cli.snapshot import RunSnapshot

_MOST = 500  # scopes that are read at once
_EVERY = 0.5  # seconds between two readings


def tree(  # noqa: PLR0913 - the options of a command are its parameters
    name: options.Run,
    *,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on until the run has ended.")] = False,
    scope: Annotated[
        str | None,
        typer.Option(
            metavar="PATH", help="What is inside: one item or iteration, such as each[4], or the list of them: each."
        ),
    ] = None,
    after: Annotated[int, typer.Option(min=0, help="With --scope: the list from this index on.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=_MOST, help="With --scope: at most so many of the list.")] = 20,
    namespace: options.Namespace = None,
    output: options.Output = None,
    database: options.Database = None,
    context: options.Context = None,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Show the steps of one run: what each needs, its state, who has it, and why it waits or what went wrong.

    Below a step with bodies stand twenty of its items, iterations or cases, those first that failed or are under way.
    --scope shows the others.

    With --watch it ends when the run does, and exits as `leat run` does: 0 succeeded, 1 failed or cancelled.
    """
    from leat_cli.source import Place, named_run
    from leat_engine.inside import Within

    within = None if scope is None else Within(scope, after, limit)

    async def ask() -> "RunSnapshot":
        async with Place(database, context, kubeconfig).open() as source:
            if not watch:
                return await named_run(source, namespace or source.namespace, name, within)
            from leat_cli.branches import branches
            from leat_cli.follow import follow
            from leat_cli.progress import progress

            with progress(branches) as shown:
                return await follow(
                    lambda: named_run(source, namespace or source.namespace, name, within), shown, _EVERY
                )

    run = asyncio.run(ask())
    _print(run, output, drawn=watch)
    if watch:
        from leat_cli.follow import exit_code

        raise typer.Exit(exit_code(run))


def _print(run: "RunSnapshot", output: Format | None, *, drawn: bool) -> None:
    if output is not None:
        print_value(as_json(run), output)
        return
    from leat_cli import terminal
    from leat_cli.branches import branches

    out, err = terminal.out(), terminal.err()
    if not (drawn and err.is_terminal and out.is_terminal):
        out.print(branches(run, datetime.now(UTC)))
    if run.after is not None:
        err.print(f"there are more: --after {run.after}", markup=False)
    if run.steps is None:
        err.print(f"no steps to show: {run.gap}", markup=False)


def as_json(run: "RunSnapshot") -> dict[str, Any]:
    """Return the run and its steps; ``steps`` is null when they are not known, and ``gap`` says why.

    Of a list of scopes ``after`` is where the next page begins, if there is one.
    """
    from leat_cli.readapi import step_as_json

    steps = None if run.steps is None else [step_as_json(step) for step in run.steps]
    known = {**run.summary(), "failures": list(run.failures), "gap": run.gap or None, "steps": steps}
    return known if run.after is None else {**known, "after": run.after}
