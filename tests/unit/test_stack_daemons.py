"""Whose process is whose."""

import subprocess
import sys

import psutil
import pytest

from leat_stack import StackError
from leat_stack.daemons import Daemons, Program, free_ports

SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]


def ended(process):
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.fixture
def daemons(tmp_path):
    found = Daemons(tmp_path)
    yield found
    found.kill_all()


def test_a_daemon_that_runs_is_found_and_not_started_again(daemons):
    first = daemons.start(Program("sleeper", SLEEPER))
    assert daemons.start(Program("sleeper", SLEEPER)) == first
    assert daemons.find("sleeper").pid == first


def test_a_daemon_without_an_environment_as_each_is_while_it_begins_is_found(daemons):
    bare = daemons.start(Program("bare", ["/usr/bin/env", "-i", *SLEEPER]))
    daemons.wait_until(lambda: not psutil.Process(bare).environ(), "bare", 30)
    assert daemons.find("bare").pid == bare
    daemons.kill_all()
    assert daemons.find("bare") is None


def test_a_stale_process_id_of_a_stranger_is_neither_trusted_nor_killed(daemons, tmp_path):
    with subprocess.Popen(SLEEPER) as stranger:
        (tmp_path / "pid").mkdir()
        (tmp_path / "pid" / "sleeper.pid").write_text(f"{stranger.pid} 0.0")
        assert daemons.find("sleeper") is None
        daemons.stop("sleeper")
        daemons.kill_all()
        assert stranger.poll() is None
        stranger.kill()


def test_a_daemon_of_another_home_is_not_touched(daemons, tmp_path):
    neighbour = Daemons(tmp_path / "neighbour")
    process = psutil.Process(neighbour.start(Program("sleeper", SLEEPER)))
    daemons.kill_all()
    assert not ended(process)
    neighbour.kill_all()
    assert ended(process)


def test_children_end_with_their_daemon_even_if_their_ids_are_written_nowhere(daemons):
    forking = "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=-1); p.wait()"
    parent = psutil.Process(daemons.start(Program("parent", [sys.executable, "-c", forking])))
    daemons.wait_until(lambda: len(parent.children()) == 1, "parent", 30)
    child = parent.children()[0]
    daemons.stop("parent")
    assert ended(parent)
    assert ended(child)


def test_a_daemon_that_ignores_the_request_to_end_is_killed(daemons):
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    )
    process = psutil.Process(daemons.start(Program("deaf", [sys.executable, "-c", deaf])))
    daemons.wait_until(lambda: "deaf" in daemons.log("deaf").read_text(), "deaf", 30)
    daemons.stop("deaf", grace=0.1)
    assert ended(process)


def test_a_daemon_that_ends_while_starting_is_reported_with_its_last_words(daemons):
    daemons.start(Program("short", [sys.executable, "-c", "raise SystemExit('no such disk')"]))
    with pytest.raises(StackError, match=r"(?s)short has ended.*no such disk"):
        daemons.wait_until(lambda: False, "short", 30)


def test_free_ports_are_different_from_one_another():
    assert len(set(free_ports(20))) == 20
