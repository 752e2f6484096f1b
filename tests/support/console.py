"""Pages that show a console: their commands, and whether what is shown is what is said."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

BLOCK = re.compile(r"(?:<!-- file: (?P<file>\S+) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)```", re.DOTALL)


def commands(console: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each command with the lines that are shown below it."""
    for part in console.split("$ ")[1:]:
        command, *shown = part.splitlines()
        yield command, shown


def tried(page: str, folder: Path, environment: Mapping[str, str] | None = None) -> int:
    """Write the page's files, run its commands, hold every shown line against what was said; the count of commands.

    ``...`` in a shown line stands for anything, runs of spaces for at least one, an age at its end for any age.
    """
    count = 0
    for block in BLOCK.finditer(page):
        if block["file"]:
            (folder / block["file"]).write_text(block["text"])
        for command, shown in commands(block["text"]) if block["language"] == "console" else ():
            lines = _said(command, folder, environment or {})
            for line in shown:
                pattern = re.escape(line).replace(re.escape("..."), ".*")
                pattern = re.sub(r"(?:\\ ){2,}", r"\\s+", pattern)
                pattern = re.sub(r"\b\d+s$", r"\\d+s", pattern)
                assert any(re.match(pattern, found) for found in lines), (command, line, lines)
            count += 1
    return count


def _said(command: str, folder: Path, environment: Mapping[str, str]) -> list[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", f"{{ {command}; }} 2>&1"],
        cwd=folder,
        env={**os.environ, **environment, "PATH": path, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.stdout.splitlines()
