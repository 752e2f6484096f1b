"""The command `leat`; also `kubectl leat`, when `kubectl-leat` is on the PATH, and `python -m leat_cli`."""

import sys

import typer
from leat_engine.errors import LeatError, Rejected

from leat_cli import db
from leat_cli.describe import describe
from leat_cli.get import get
from leat_cli.lint import lint
from leat_cli.problems import CommandError, Exit, Invalid
from leat_cli.run import run
from leat_cli.version import version
from leat_cli.watch import watch

app = typer.Typer(
    help="Run workflows on this machine, and look at those of a cluster.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a traceback here is a defect of Leat: it is shown as it is
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (run, lint, get, describe, watch, version):
    app.command()(command)
app.add_typer(db.app, name="db")


def main() -> None:
    """Run the command line, and say what went wrong without a traceback."""
    try:
        app()
    except Rejected as error:
        _refuse(Invalid.of_reasons(error.reasons), Exit.INVALID)
    except CommandError as error:
        _refuse(error, error.code)
    except LeatError as error:
        _refuse(error, Exit.UNAVAILABLE)


def _refuse(error: Exception, code: Exit) -> None:
    for line in str(error).splitlines():
        sys.stderr.write(f"leat: {line}\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
