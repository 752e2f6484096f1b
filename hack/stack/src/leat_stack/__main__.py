"""`leat-stack`: the stack from a shell."""

import argparse
import logging
import shlex
import sys
import time
from pathlib import Path

from leat_cli.postgres import PostgresUnavailableError
from leat_stack import STANDARD, Endpoints, Part, StackError, down, status, up

DEFAULT_HOME = Path(".leat/stack")


def main() -> None:
    """Run one command; a part that cannot be had is a message and exit code 1."""
    arguments = _parser().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    commands = {"up": _up, "down": _down, "status": _status, "env": _env}
    try:
        commands[arguments.command](arguments)
    except (StackError, PostgresUnavailableError) as error:
        sys.exit(f"error: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="leat-stack", description="Start the real parts of Leat on this machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("up", "start the parts that do not run"),
        ("down", "end all processes and remove all data"),
        ("status", "show what runs"),
        ("env", "print export lines for a shell"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument(
            "--home", type=Path, default=DEFAULT_HOME, help="folder of the stack (default: %(default)s)"
        )
        if name == "up":
            command.add_argument(
                "parts",
                nargs="*",
                type=Part,
                metavar="PART",
                help=f"any of {', '.join(Part)}; default: {', '.join(STANDARD)}",
            )
    return parser


def _up(arguments: argparse.Namespace) -> None:
    start = time.monotonic()
    up(arguments.home, arguments.parts or STANDARD)
    home = shlex.quote(str(arguments.home))
    print(f'up after {time.monotonic() - start:.1f} s. Next: eval "$(leat-stack env --home {home})"')


def _down(arguments: argparse.Namespace) -> None:
    down(arguments.home)
    print(f"down: no process left, {arguments.home} removed. Next: leat-stack up")


def _status(arguments: argparse.Namespace) -> None:
    found = status(arguments.home)
    for name, running in found.items():
        print(f"{name:16} {'running' if running else 'stopped'}   log: {arguments.home / 'log' / name}.log")
    if not found:
        print(f"nothing runs in {arguments.home}. Next: leat-stack up")


def _env(arguments: argparse.Namespace) -> None:
    for name, value in Endpoints.load(arguments.home).environment().items():
        print(f"export {name}={shlex.quote(value)}")


if __name__ == "__main__":
    main()
