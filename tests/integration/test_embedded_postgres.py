"""The server of `leat run`: there in a moment, gone with whoever started it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import asyncpg
import pytest

from leat_cli import postgres


def folder_of(dsn):
    return Path(dsn.partition("host=")[2]).parent


def wait_until_gone(folder):
    deadline = time.monotonic() + 30
    while folder.exists():
        assert time.monotonic() < deadline, f"{folder} is still there"
        time.sleep(0.01)


async def test_a_temporary_server_is_fresh_and_leaves_nothing():
    with postgres.temporary() as dsn:
        connection = await asyncpg.connect(dsn)
        assert await connection.fetchval("select current_database()") == "leat"
        await connection.close()
    assert not folder_of(dsn).exists()


async def test_two_temporary_servers_do_not_meet():
    with postgres.temporary() as one, postgres.temporary() as other:
        assert one != other


@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGTERM])
def test_a_temporary_server_goes_with_a_process_that_is_killed(death):
    code = "from leat_cli import postgres\nwith postgres.temporary() as dsn: print(dsn, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as leat:
        folder = folder_of(leat.stdout.readline().strip())
        assert folder.exists()
        os.kill(leat.pid, death)
    wait_until_gone(folder)


@pytest.fixture
def no_user_namespaces(monkeypatch):
    """As in most containers."""
    found = shutil.which
    monkeypatch.setattr(postgres.shutil, "which", lambda name: None if name == "unshare" else found(name))
    postgres._as_account.cache_clear()
    yield
    postgres._as_account.cache_clear()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
@pytest.mark.usefixtures("no_user_namespaces")
async def test_root_in_a_container_gets_a_server_that_runs_as_nobody():
    with postgres.temporary() as dsn:
        assert folder_of(dsn).joinpath("data").owner() == "nobody"
        connection = await asyncpg.connect(dsn)
        assert await connection.fetchval("select 1") == 1
        await connection.close()


def test_an_interrupted_first_start_is_not_taken_for_a_database(tmp_path):
    data = tmp_path / "data"
    (tmp_path / "data.new").mkdir()
    (tmp_path / "data.new" / "PG_VERSION").write_text("18\n")
    postgres.initialise(data)
    assert (data / "global" / "pg_control").exists()
    assert not (tmp_path / "data.new").exists()


def test_a_path_too_long_for_a_socket_gets_a_short_one(tmp_path):
    data = tmp_path / ("long" * 30)
    assert len(str(postgres.socket_folder(data))) < 80
    assert postgres.socket_folder(data) == postgres.socket_folder(data)
    assert postgres.socket_folder(Path("/short")) == Path("/short")
