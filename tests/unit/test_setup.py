"""What hack/setup says on a machine that lacks something."""

import shutil
import subprocess
from pathlib import Path

import pytest

SETUP = Path(__file__).parents[2] / "hack" / "setup"


@pytest.fixture
def machine(tmp_path):
    """A bare machine with a tree that was just cloned: `bin` is all of its PATH."""
    for folder in ("hack", "bin"):
        (tmp_path / folder).mkdir()
    shutil.copy(SETUP, tmp_path / "hack" / "setup")
    for tool in ("dirname", "mkdir", "rm"):
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool))
    return tmp_path


def setup(machine):
    done = subprocess.run(
        ["/bin/sh", machine / "hack" / "setup"],
        check=False,
        capture_output=True,
        text=True,
        env={"PATH": str(machine / "bin")},
    )
    assert done.returncode == 1
    return done.stderr


def python(machine, script):
    (machine / "bin" / "python3").write_text(f"#!/bin/sh\n{script}\n")
    (machine / "bin" / "python3").chmod(0o755)


def test_no_python_is_answered_with_how_to_get_one(machine):
    assert "Python >= 3.11 is missing: sudo apt-get install python3" in setup(machine)
    assert "brew install python" in setup(machine)


def test_a_python_that_is_too_old_counts_as_none(machine):
    python(machine, "exit 1")
    assert "Python >= 3.11 is missing" in setup(machine)


def test_a_python_without_venv_is_answered_with_the_package_that_has_it(machine):
    python(machine, '[ "$1" = -c ]')
    assert "no venv module: sudo apt-get install python3-venv" in setup(machine)
