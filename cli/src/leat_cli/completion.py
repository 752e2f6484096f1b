"""`leat completion`: what a shell needs to complete `leat`; and `kubectl_complete-leat`, which kubectl calls.

kubectl completes a plugin by a program of that name on the PATH: the words after the plugin are its arguments, the last
one is to be completed. It prints a completion per line, a tab before what it means, and last ``:`` with the sum of
cobra's directives.
"""

import os
import shlex
import sys
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from enum import StrEnum
from io import StringIO
from typing import Annotated

import typer

from leat_cli.problems import Exit

VARIABLE = "_LEAT_COMPLETE"
_NO_FILES, _DEFAULT = 4, 0  # cobra.ShellCompDirectiveNoFileComp, cobra.ShellCompDirectiveDefault
_OF_FILES = (["run"], ["lint"])  # commands whose arguments are files


class Shell(StrEnum):
    """Shells that can be completed."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(ctx: typer.Context, shell: Annotated[Shell, typer.Argument(help="The shell that reads it.")]) -> None:
    """Print the script that completes `leat`, to be sourced. `kubectl leat` is completed by kubectl's own script."""
    sys.stdout.write(_answer(ctx.find_root().command, f"source_{shell}"))


def complete_if_asked(app: Callable[..., object]) -> None:
    """Answer a shell that asks what could follow, and end; go on when none asks."""
    if instruction := os.environ.get(VARIABLE):
        sys.stdout.write(_answer(app, instruction))
        sys.exit(Exit.OK)


def kubectl() -> None:
    """Complete `kubectl leat`."""
    from leat_cli.__main__ import app

    words = ["leat", *sys.argv[1:]]
    # fish's form of an answer is cobra's: the completion, a tab, its meaning.
    os.environ["_TYPER_COMPLETE_FISH_ACTION"] = "get-args"
    os.environ["_TYPER_COMPLETE_ARGS"] = shlex.join(words[:-1]) + (" " + words[-1] if words[-1] else " ")
    found = _answer(app, "complete_fish").strip("\n")
    if found:
        sys.stdout.write(f"{found}\n")
    files = not found and (words[1:2] in _OF_FILES or words[-2] == "--kubeconfig")
    sys.stdout.write(f":{_DEFAULT if files else _NO_FILES}\n")


def _answer(app: Callable[..., object], instruction: str) -> str:
    """Return what the command line says to an instruction of its completion's protocol."""
    from typer.completion import get_completion_inspect_parameters

    get_completion_inspect_parameters()  # makes the shells known
    os.environ[VARIABLE] = instruction
    with redirect_stdout(StringIO()) as said, suppress(SystemExit):
        app(prog_name="leat", complete_var=VARIABLE)
    return said.getvalue()
