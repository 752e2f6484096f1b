"""`leat debug`: a run on this machine, step by step."""

import sys
from contextlib import redirect_stdout
from datetime import UTC, datetime
from typing import Annotated

import typer

from leat_cli import options
from leat_cli.output import Format, print_value
from leat_cli.problems import Exit, Invalid


def debug(  # noqa: PLR0913 - an option is a parameter
    file: Annotated[str, typer.Argument(metavar="FILE", help="YAML with a Workflow and, maybe, its WorkflowRun.")],
    *,
    breaks: Annotated[
        list[str] | None, typer.Option("--break", metavar="STEP", help="Go on until this step is about to begin.")
    ] = None,
    inputs: options.Inputs = None,
    inputs_file: options.InputsFile = None,
    functions: options.Functions = None,
    secrets_file: options.SecretsFile = None,
) -> None:
    """Step through a run: stop before steps, look at values, say what a step gives, go on.

    Steps are executed as by `leat run`, but for those whose output you give; time that is only waited for is skipped.
    Without --break it stops before each step. Commands are read from stdin: `help` lists them.

    Exits with 0 when the run succeeded, 1 when it failed or was left, 2 when something written is wrong.
    """
    from leat_cli.order import order_of
    from leat_cli.rehearsal.cast import Secrets
    from leat_cli.rehearsal.debugger import Debugger, Quit
    from leat_cli.rehearsal.scene import Scene
    from leat_cli.rehearsal.score import address_problem
    from leat_cli.rehearsal.stage import play
    from leat_cli.secrets import secrets_of
    from leat_engine.errors import LeatError

    order = order_of(file, tuple(inputs or ()), inputs_file)
    problems = [address_problem(order.plan, step, order.at_hand) for step in breaks or ()]
    for problem in filter(None, problems):
        raise Invalid.because(f"--break: {problem}", file=file)
    began, secrets = datetime.now(UTC), Secrets(secrets_of(secrets_file))
    debugger = Debugger(order, secrets, sys.stdin, sys.stdout, began)
    debugger.breaks = set(breaks or ())
    debugger.stepping = not debugger.breaks
    try:
        with redirect_stdout(sys.stderr):  # what a function prints is no answer
            score = play(Scene(order, debugger, secrets, began, functions=tuple(functions or ())))
    except Quit:
        typer.echo("the run was left where it was")
        raise typer.Exit(Exit.FAILED) from None
    except LeatError as error:
        raise Invalid.because(str(error)) from error
    typer.echo(debugger.verdict(score))
    if score.output is not None:
        print_value(debugger.hidden(score.output), Format.JSON)
    raise typer.Exit(Exit.OK if score.label == "Succeeded" else Exit.FAILED)
