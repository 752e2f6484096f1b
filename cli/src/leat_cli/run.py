"""`leat run`: a workflow on this machine, with no cluster."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, redirect_stdout

import typer

from leat_cli import options
from leat_cli.output import Format, print_value
from leat_cli.problems import Unavailable


def run(  # noqa: PLR0913 - an option is a parameter
    file: options.File,
    *,
    inputs: options.Inputs = None,
    inputs_file: options.InputsFile = None,
    functions: options.Functions = None,
    secrets_file: options.SecretsFile = None,
    output: options.Output = None,
) -> None:
    """Run a workflow on this machine, with no cluster.

    The file may hold several documents: its WorkflowRun is run, or else its last Workflow.

    Exits with 0 when the run succeeded, 1 when it failed or was cancelled, 2 when something written is wrong.
    Ctrl-C cancels the run, a second one kills it.
    """
    from leat_cli import postgres
    from leat_cli.order import order_of

    order = order_of(file, tuple(inputs or ()), inputs_file)
    with ExitStack() as stack, ThreadPoolExecutor(1) as aside:
        # Postgres starts while the engine and the runner are imported: it takes each of them most of a second.
        url = aside.submit(stack.enter_context, postgres.temporary())
        from leat_cli.local import Means, run_here
        from leat_cli.progress import progress
        from leat_cli.secrets import secrets_of

        means = Means(tuple(functions or ()), secrets_of(secrets_file), os.environ.get("LEAT_ARTIFACTS_URL", ""))

        # What a function prints is no result: stdout is for the result alone.
        with redirect_stdout(sys.stderr), progress() as shown:
            try:
                end = run_here(order, means, url.result(), shown)
            except postgres.PostgresUnavailableError as error:
                raise Unavailable(str(error)) from error
    if output is not None:
        print_value(end.run.result(), output)
    elif end.run.output is not None:
        print_value(end.run.output, Format.JSON)
    raise typer.Exit(end.code)
