"""Every file and every command of the tutorial, in a folder of their own."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"
BLOCK = re.compile(r"(?:<!-- file: (?P<file>\S+) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)```", re.DOTALL)


def commands(console: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each command with the lines that are shown below it."""
    for part in console.split("$ ")[1:]:
        command, *shown = part.splitlines()
        yield command, shown


def said(command: str, folder: Path) -> list[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", f"{{ {command}; }} 2>&1"],
        cwd=folder,
        env={**os.environ, "PATH": path, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.stdout.splitlines()


def test_the_tutorial_says_what_happens(tmp_path):
    tried = 0
    for block in BLOCK.finditer(PAGE.read_text()):
        if block["file"]:
            (tmp_path / block["file"]).write_text(block["text"])
        for command, shown in commands(block["text"]) if block["language"] == "console" else ():
            lines = said(command, tmp_path)
            for line in shown:
                pattern = re.escape(line).replace(re.escape("..."), ".*")
                assert any(re.match(pattern, found) for found in lines), (command, line, lines)
            tried += 1
    assert tried == 8
