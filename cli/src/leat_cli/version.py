"""`leat version`: which Leat this is."""

from importlib.metadata import version as installed

import typer

from leat_cli import options
from leat_cli.output import print_value


def version(output: options.Output = None) -> None:
    """Print the version of this program."""
    found = installed("leat-cli")
    if output is None:
        typer.echo(f"leat {found}")
    else:
        print_value({"version": found}, output)
