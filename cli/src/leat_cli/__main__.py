"""The command `leat`; also `kubectl leat`, when `kubectl-leat` is on the PATH, and `python -m leat_cli`."""

import sys
from pathlib import Path

import typer

from leat_cli import artifacts, catalogue, db
from leat_cli.backfill import backfill
from leat_cli.completion import complete_if_asked, completion
from leat_cli.debug import debug
from leat_cli.describe import describe
from leat_cli.get import get
from leat_cli.graph import graph
from leat_cli.limits import limits
from leat_cli.lint import lint
from leat_cli.logs import logs
from leat_cli.migrate import migrate
from leat_cli.problems import CommandError, Exit
from leat_cli.redrive import redrive
from leat_cli.rerun import rerun
from leat_cli.revisions import revisions
from leat_cli.run import run
from leat_cli.runs import runs
from leat_cli.signal import approve, reject, signal
from leat_cli.simulate import simulate
from leat_cli.steer import cancel, resume, suspend
from leat_cli.test import test
from leat_cli.top import top
from leat_cli.tree import tree
from leat_cli.version import version
from leat_cli.watch import watch
from leat_engine.errors import LeatError
from leat_engine.leave import left_alone

app = typer.Typer(
    help="Run workflows on this machine, and look at those of a cluster.",
    no_args_is_help=True,
    add_completion=False,  # `leat completion` is the one way
    rich_markup_mode=None,  # plain help: the drawn one costs a quarter of a second
    pretty_exceptions_enable=False,  # a traceback here is a defect of Leat: it is shown as it is
    context_settings={"help_option_names": ["-h", "--help"]},
)
_LOOKING = (runs, tree, watch, logs, top, limits, revisions)
_STEERING = (cancel, suspend, resume, signal, approve, reject, migrate)
_STARTING = (rerun, redrive, backfill)
_AUTHORING = (lint, test, debug, graph, simulate)
_COMMANDS = (run, *_AUTHORING, *_LOOKING, *_STEERING, *_STARTING, describe, get, completion, version)
for command in _COMMANDS:
    app.command()(command)
app.add_typer(db.app, name="db")
app.add_typer(catalogue.app, name="catalogue")
app.add_typer(artifacts.app, name="artifacts")


def main() -> None:
    """Run the command line, and say what went wrong without a traceback."""
    with left_alone():
        try:
            complete_if_asked(app)
            app(prog_name=_name())
        except CommandError as error:
            _end(str(error), error.code)
        except LeatError as error:
            _end(str(error), Exit.UNAVAILABLE)


def _name() -> str:
    """Return what the user typed, for the usage lines."""
    return "kubectl leat" if Path(sys.argv[0]).name == "kubectl-leat" else "leat"


def _end(message: str, code: Exit) -> None:
    sys.stderr.write(f"{message}\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
