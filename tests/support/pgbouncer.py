"""PgBouncer in transaction mode before a Postgres that listens on a unix socket."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest


@contextmanager
def pooled(dsn: str, folder: Path) -> Iterator[str]:
    """Give a DSN that leads to the same database through a pooler of two server connections; ends the pooler after."""
    url = urlsplit(dsn)
    database, user, host = url.path[1:], url.username or "postgres", parse_qs(url.query)["host"][0]
    config = folder / "pgbouncer.ini"
    config.write_text(
        f"[databases]\n* = host={host} user={user}\n[pgbouncer]\n"
        f"listen_addr =\nlisten_port = 6432\nunix_socket_dir = {folder}\nauth_type = any\n"
        "pool_mode = transaction\ndefault_pool_size = 2\nmax_client_conn = 50\n"
    )
    with subprocess.Popen(
        [*_without_root(), _program(), str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            _wait_for(folder / ".s.PGSQL.6432", process)
            yield f"postgresql://{user}@/{database}?host={folder}&port=6432"
        finally:
            process.kill()


def _program() -> str:
    found = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        pytest.skip("PgBouncer is not installed (apt-get install pgbouncer)")
    return found


def _without_root() -> list[str]:
    """It refuses to run as root; a user namespace gives root another name and leaves it its files."""
    return ["unshare", "--user", "--map-user=1000", "--map-group=1000"] if os.geteuid() == 0 else []


def _wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        assert process.poll() is None, "PgBouncer ended at once"
        with socket.socket(socket.AF_UNIX) as client:
            if client.connect_ex(str(path)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"PgBouncer does not listen at {path}")
