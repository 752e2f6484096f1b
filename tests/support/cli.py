"""The command `leat` as a process, as a user starts it."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from typer.testing import CliRunner

from leat_cli.__main__ import app
from leat_cli.problems import CommandError

LEAT = (sys.executable, "-m", "leat_cli")


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def invoked(*arguments: str, stdin: str = "") -> Done:
    """Run a command in this process, which takes a hundredth of the time."""
    done = CliRunner().invoke(app, arguments, input=stdin)
    if isinstance(done.exception, CommandError):
        return Done(done.exception.code, done.stdout, f"{done.stderr}{done.exception}\n")
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Done(done.exit_code, done.stdout, done.stderr)


def leat(*arguments: str, stdin: str = "", env: dict[str, str] | None = None) -> Done:
    """Run a command to its end. Nobody's cluster and database are found by chance."""
    clean = {name: value for name, value in os.environ.items() if name not in {"KUBECONFIG", "LEAT_DATABASE_URL"}}
    process = subprocess.run(
        [*LEAT, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**clean, "KUBECONFIG": "/nonexistent", "COLUMNS": "200", **(env or {})},
    )
    return Done(process.returncode, process.stdout, process.stderr)
