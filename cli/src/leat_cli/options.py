"""Options that several commands share, each with the same name, meaning and help in all of them."""

from enum import StrEnum
from typing import Annotated

import typer

from leat_cli.output import Format

Database = Annotated[
    str | None,
    typer.Option(
        "--database",
        envvar="LEAT_DATABASE_URL",
        metavar="URL",
        help="Read the runs from this database, with all their steps: postgresql://USER:PASSWORD@HOST/NAME",
    ),
]
Context = Annotated[
    str | None,
    typer.Option("--context", metavar="NAME", help="Context of the kubeconfig; the current one unless stated."),
]
Namespace = Annotated[
    str | None, typer.Option("--namespace", "-n", metavar="NAME", help="Namespace; the context's unless stated.")
]
Output = Annotated[Format | None, typer.Option("--output", "-o", help="For programs, on stdout.")]


class View(StrEnum):
    """Forms of a list: for programs, or the table with more columns."""

    JSON = "json"
    YAML = "yaml"
    WIDE = "wide"
