"""Environments and processes of the measured parts.

Everything lies under ``.leat/bench``, listens on loopback or a socket file only, and ends with its ``with`` block.
"""

import os
import platform
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp

from leat_stack import Endpoints, Part, down, up
from leat_stack.daemons import Daemons, Program

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".leat" / "bench"
STACK = HOME / "stack"
START_DEADLINE = 60.0


class MissingError(Exception):
    """A part cannot be had on this machine; the message says what would provide it."""


def venv(name: str, requirements: Sequence[str]) -> Path:
    """The ``bin`` folder of an own virtual environment with these pinned requirements; made at the first call."""
    home = HOME / name
    if not (home / "bin" / "python").exists():
        _quiet([_uv(), "venv", "--quiet", "--python", platform.python_version(), str(home)])
    _quiet([_uv(), "pip", "install", "--quiet", "--python", str(home / "bin" / "python"), *requirements])
    return home / "bin"


def npm(package: str, version: str, pattern: str) -> Path:
    """The file that matches ``pattern`` in an npm package of an own prefix; install scripts are not run."""
    prefix = HOME / "npm" / f"{package.rpartition('/')[2]}-{version}"
    if not prefix.exists():
        if not shutil.which("npm"):
            raise MissingError("npm is not on PATH; install Node.js with npm")
        prefix.mkdir(parents=True)
        command = ["npm", "install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        _quiet([*command, "--prefix", str(prefix), f"{package}@{version}"])
    found = sorted(prefix.glob(pattern))
    if not found:
        raise MissingError(f"{package} {version} has no {pattern} for {platform.machine()}")
    return found[0]


def redis() -> tuple[Path, dict[str, str]]:
    """A Redis server and the environment it needs: from PATH, or Debian's package, unpacked here and not installed."""
    on_path = shutil.which("redis-server")
    if on_path:
        return Path(on_path), {}
    home = HOME / "redis"
    if not home.exists():
        if not shutil.which("apt-get"):
            raise MissingError("redis-server is not on PATH; install Redis")
        _unpack("redis-server", home)
    libraries = sorted({str(file.parent) for file in home.glob("usr/lib/**/*.so*")})
    return home / "usr" / "bin" / "redis-server", {"LD_LIBRARY_PATH": ":".join(libraries)}


def _unpack(package: str, home: Path) -> None:
    """Download a Debian package with what it needs and the system lacks, and unpack it under ``home``."""
    plan = _quiet(["apt-get", "install", "--simulate", "-qq", "--no-install-recommends", package])
    names = [line.split()[1] for line in plan.splitlines() if line.startswith("Inst ")]
    staging = home.with_suffix(".part")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    _quiet(["apt-get", "download", "-qq", *names], cwd=staging)
    for archive in sorted(staging.glob("*.deb")):
        _quiet(["dpkg", "--extract", str(archive), str(staging)])
    staging.rename(home)


def _uv() -> str:
    """The uv that set this tree up: that of the machine, or the one that `make setup` brought."""
    return shutil.which("uv") or str(ROOT / ".leat" / "uv" / "bin" / "uv")


def _quiet(command: Sequence[str], cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MissingError(f"`{' '.join(command)}` failed:\n{done.stderr.strip()}")
    return done.stdout


@contextmanager
def stack(*wanted: Part) -> Iterator[Endpoints]:
    """Fresh parts for the length of the block, and none of them afterwards."""
    down(STACK)
    try:
        yield up(STACK, wanted)
    finally:
        down(STACK)


def add_to_stack(part: Part) -> Endpoints:
    """Start one part more, within the block of `stack`."""
    return up(STACK, [part])


async def rabbitmq_overview(endpoints: Endpoints) -> dict[str, Any]:
    """What RabbitMQ's management API says of the whole broker."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{endpoints.amqp_management_url}/api/overview") as answer,
    ):
        answer.raise_for_status()
        overview: dict[str, Any] = await answer.json()
    return overview


@contextmanager
def running(program: Program) -> Iterator[int]:
    """A process with its children for the length of the block; its id. Output goes to ``.leat/bench/log/NAME.log``."""
    daemons = Daemons(HOME)
    daemons.log(program.name).unlink(missing_ok=True)
    try:
        yield daemons.start(_from_here(program))
    finally:
        daemons.stop(program.name)


def wait_until(ready: Callable[[], bool], name: str) -> None:
    """Return when ``ready`` says so; a StackError when process ``name`` ended or is too slow."""
    Daemons(HOME).wait_until(ready, name, START_DEADLINE)


def output(program: Program) -> str:
    """What a process prints, once it has ended well; its stderr is ours.

    Raises:
        subprocess.CalledProcessError: it did not end well.
    """
    program = _from_here(program)
    environment = {**os.environ, **program.env}
    return subprocess.run(program.argv, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout


def _from_here(program: Program) -> Program:
    """The same program, able to import this room in whatever environment it runs."""
    return replace(program, env={"PYTHONPATH": str(ROOT), **program.env})


def listens(port: int) -> bool:
    """Whether something accepts connections on a loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
