"""Processes that have used an object store end with their own exit code, and with all that they have said."""

import subprocess
import sys

import pytest

SCRIPT = """
import atexit, sys
from leat_engine.leave import left_alone
{client}
atexit.register(lambda: print("last"))
with left_alone():
    print("first")
    {end}
"""


@pytest.mark.parametrize("client", ["import obstore", ""], ids=["with a client", "without one"])
@pytest.mark.parametrize(
    ("end", "code", "said"),
    [("pass", 0, ""), ("sys.exit(3)", 3, ""), ("sys.exit()", 0, ""), ("sys.exit('why')", 1, "why\n")],
)
def test_the_exit_code_is_that_of_the_work(client, end, code, said):
    script = SCRIPT.format(client=client, end=end)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, "first\nlast\n", said)


def test_a_defect_is_told_with_its_traceback():
    script = SCRIPT.format(client="import obstore", end="1 / 0")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, "ZeroDivisionError" in done.stderr) == (1, True)
