"""What `make demo` and `make demo-down` do, from nothing to nothing."""

import subprocess
import sys

import psutil
import pytest

from leat_stack import down
from leat_stack.daemons import MARK


@pytest.fixture
def home(tmp_path):
    yield tmp_path / "demo"
    down(tmp_path / "demo")


def demo(home, command):
    done = subprocess.run(
        [sys.executable, "-m", "leat_stack.demo", command, "--home", home], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def processes_of(home):
    return [
        each for each in psutil.process_iter(["environ"]) if str(home) in (each.info["environ"] or {}).get(MARK, "")
    ]


def test_the_demo_ends_with_a_result_and_a_way_on_also_the_second_time_and_leaves_nothing(home):
    for _ in range(2):
        said = demo(home, "up")
        assert '"shop":"east"' in said
        assert f"export KUBECONFIG={home}/kubernetes/admin.kubeconfig" in said
    assert processes_of(home)
    demo(home, "down")
    assert not processes_of(home)
    assert not home.exists()
