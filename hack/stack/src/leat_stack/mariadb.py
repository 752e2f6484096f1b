"""MariaDB of one stack: its own port, its own data. Clients log in, in clear text or by TLS."""

import getpass
import json
import logging
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from leat_stack.certificates import loopback_certificate
from leat_stack.daemons import Daemons, Program, free_ports
from leat_stack.endpoints import Endpoints, Part
from leat_stack.errors import StackError

log = logging.getLogger(__name__)

_START_SECONDS = 60.0
_SBIN = "/usr/sbin:/usr/local/sbin"
"""Where servers are, which is not on the PATH of every user."""


@dataclass(frozen=True)
class Server:
    """What a server keeps over its restarts: who may enter, and where."""

    password: str
    port: int

    @property
    def url(self) -> str:
        """The way there, for the user that may do everything."""
        return f"mariadb://leat:{self.password}@127.0.0.1:{self.port}"


def missing(env: Mapping[str, str]) -> str | None:
    """Return why there can be no MariaDB on this machine, and what to install; None if there can."""
    for name in ("mariadbd", "mariadb-install-db"):
        if _which(name, env) is None:
            install = "install it (Debian: apt-get install --no-install-recommends mariadb-server)"
            return f"MariaDB needs {name}, and there is none: {install}"
    return None


def start(home: Path, daemons: Daemons) -> Endpoints:
    """Start the server, or find it running, and return its address when it answers."""
    root = home / "mariadb"
    try:
        server = Server(**json.loads((root / "server.json").read_text()))
    except FileNotFoundError:
        server = None
    if server is None or daemons.find(Part.MARIADB) is None:
        if (reason := missing(os.environ)) is not None:
            raise StackError(reason)
        log.info("starting MariaDB")
        if server is None:
            server = _made(root)
        daemons.start(Program(Part.MARIADB, _command(root, server)))
    daemons.wait_until(lambda: _answers(server), Part.MARIADB, _START_SECONDS)
    return Endpoints(mariadb_url=server.url, mariadb_certificate=str(root / "ca.pem"))


def _made(root: Path) -> Server:
    """Make the data folder of a new server, with its one user."""
    shutil.rmtree(root, ignore_errors=True)  # of one that was not made to the end
    root.mkdir(parents=True, mode=0o700)  # it holds the password
    server = Server(secrets.token_urlsafe(16), *free_ports(1))
    key, _ = loopback_certificate(root)
    (root / "key.pem").write_text(key)
    (root / "init.sql").write_text(
        f"create user if not exists leat@'127.0.0.1' identified by '{server.password}';\n"
        "grant all on *.* to leat@'127.0.0.1' with grant option;\n"
    )
    command = [
        str(_which("mariadb-install-db", os.environ)), "--no-defaults", "--auth-root-authentication-method=socket",
        f"--auth-root-socket-user={getpass.getuser()}", f"--user={getpass.getuser()}", "--skip-test-db",
        f"--datadir={root / 'data'}",
    ]  # fmt: skip
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise StackError(f"MariaDB could not make its data folder: {(done.stdout + done.stderr).strip()[-1000:]}")
    (root / "server.json").write_text(json.dumps(asdict(server)))  # last: without it everything is made anew
    return server


def _command(root: Path, server: Server) -> list[str]:
    return [
        str(_which("mariadbd", os.environ)),
        "--no-defaults",  # first, as it must be
        f"--user={getpass.getuser()}",
        f"--datadir={root / 'data'}",
        f"--init-file={root / 'init.sql'}",
        "--socket=socket",  # in the data folder: a whole path may be longer than a socket's can be
        f"--pid-file={root / 'pid'}",
        "--bind-address=127.0.0.1",
        f"--port={server.port}",
        "--skip-name-resolve",
        f"--ssl-cert={root / 'ca.pem'}",
        f"--ssl-key={root / 'key.pem'}",
        "--character-set-server=utf8mb4",
        "--innodb-buffer-pool-size=32M",
        "--innodb-log-file-size=16M",
        "--performance-schema=off",
        "--max-connections=100",
    ]


def _which(name: str, env: Mapping[str, str]) -> str | None:
    return shutil.which(name, path=f"{env.get('PATH', '')}:{_SBIN}")


def _answers(server: Server) -> bool:
    """Whether the listener is open, which comes after the one user is made."""
    try:
        socket.create_connection(("127.0.0.1", server.port), timeout=5).close()
    except OSError:
        return False
    return True
