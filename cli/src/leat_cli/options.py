"""Options that several commands share, each with the same name, meaning and help in all of them."""

from enum import StrEnum
from typing import Annotated

import typer

from leat_cli import complete
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
    typer.Option(
        "--context",
        metavar="NAME",
        help="Context of the kubeconfig; the current one unless stated.",
        autocompletion=complete.contexts,
    ),
]
Kubeconfig = Annotated[
    str | None,
    typer.Option("--kubeconfig", metavar="FILE", help="The kubeconfig; KUBECONFIG or ~/.kube/config unless stated."),
]
Namespace = Annotated[
    str | None,
    typer.Option(
        "--namespace",
        "-n",
        metavar="NAME",
        help="Namespace; the context's unless stated.",
        autocompletion=complete.namespaces,
    ),
]
AllNamespaces = Annotated[bool, typer.Option("--all-namespaces", "-A", help="Of every namespace.")]
Selector = Annotated[
    str, typer.Option("--selector", "-l", metavar="LABELS", help="Only with these labels, as kubectl takes them.")
]
Limit = Annotated[int, typer.Option(min=1, help="At most so many runs, the newest first.")]
Output = Annotated[Format | None, typer.Option("--output", "-o", help="For programs, on stdout.")]
Run = Annotated[str, typer.Argument(help="Name of the run.", autocompletion=complete.runs)]

File = Annotated[
    str, typer.Argument(metavar="FILE", help="YAML with a Workflow and, maybe, its WorkflowRun; - is stdin.")
]
Inputs = Annotated[
    list[str] | None,
    typer.Option("--input", "-i", metavar="NAME=VALUE", help="An input: JSON, or text where the input is a string."),
]
InputsFile = Annotated[
    str | None,
    typer.Option("--inputs-file", metavar="FILE", help="YAML or JSON with inputs by name; -i overrides it."),
]
Functions = Annotated[
    list[str] | None,
    typer.Option(
        "--functions", metavar="MODULE|FILE", help="Where the @leat.step functions are: a module, or a .py file."
    ),
]
SecretsFile = Annotated[
    str | None,
    typer.Option(
        "--secrets-file", metavar="FILE", help="YAML with secrets: NAME: {KEY: VALUE}. Else LEAT_SECRET_NAME_KEY."
    ),
]

Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="An input that differs: JSON, or text where the input is a string."
    ),
]


class View(StrEnum):
    """Forms of a list: for programs, the table with more columns, or names as kubectl takes them."""

    JSON = "json"
    YAML = "yaml"
    WIDE = "wide"
    NAME = "name"


Viewed = Annotated[View | None, typer.Option("--output", "-o", help="Wider, or for programs.")]


class PhaseName(StrEnum):
    """Phases of a run, as `kubectl get` shows them."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUSPENDED = "Suspended"
    COMPENSATING = "Compensating"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"


Phases = Annotated[
    list[PhaseName] | None,
    typer.Option(
        "--phase",
        case_sensitive=False,
        metavar="PHASE",
        help="Only in this phase, such as Running or Failed; may be given several times.",
    ),
]
