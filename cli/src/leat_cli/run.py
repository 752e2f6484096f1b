"""`leat run`: a workflow on this machine, with no cluster."""

import sys
from contextlib import redirect_stdout
from typing import Annotated

import typer

from leat_cli import options
from leat_cli.output import Format, print_value


def run(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="YAML with a Workflow and, maybe, its WorkflowRun; - is stdin.")
    ],
    *,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input", "-i", metavar="NAME=VALUE", help="An input: JSON, or text where the input is a string."
        ),
    ] = None,
    inputs_file: Annotated[
        str | None,
        typer.Option("--inputs-file", metavar="FILE", help="YAML or JSON with inputs by name; -i overrides it."),
    ] = None,
    functions: Annotated[
        list[str] | None,
        typer.Option(metavar="MODULE|FILE", help="Where the @leat.step functions are: a module, or a .py file."),
    ] = None,
    output: options.Output = None,
) -> None:
    """Run a workflow on this machine, with no cluster.

    The file may hold several documents: its WorkflowRun is run, or else its last Workflow.

    Exits with 0 when the run succeeded, 1 when it failed or was cancelled, 2 when something written is wrong.
    Ctrl-C cancels the run, a second one kills it.
    """
    from leat_cli.local import run_here  # noqa: PLC0415 - see the law of the room
    from leat_cli.order import order_of  # noqa: PLC0415 - see the law of the room
    from leat_cli.progress import progress  # noqa: PLC0415 - see the law of the room

    order = order_of(file, tuple(inputs or ()), inputs_file)
    # What a function prints is no result: stdout is for the result alone.
    with redirect_stdout(sys.stderr), progress() as shown:
        end = run_here(order, tuple(functions or ()), shown)
    if output is not None:
        print_value(end.run.result(), output)
    elif end.run.output is not None:
        print_value(end.run.output, Format.JSON)
    raise typer.Exit(end.code)
