"""Up, down, and what is there."""

import fcntl
import logging
import os
import shutil
import signal
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path

import psutil

from leat_cli import postgres
from leat_stack import apiserver, kafka, mariadb, rabbitmq
from leat_stack.daemons import Daemons, Program
from leat_stack.endpoints import STANDARD, Endpoints, Part

log = logging.getLogger(__name__)

DAEMONS = {
    Part.POSTGRES: (Part.POSTGRES,),
    Part.RABBITMQ: (Part.RABBITMQ,),
    Part.KUBERNETES: (apiserver.APISERVER, apiserver.ETCD),
    Part.KAFKA: (Part.KAFKA,),
    Part.MARIADB: (Part.MARIADB,),
}
"""The daemons of each part, in the order in which they are stopped."""

_START_SECONDS = 60.0
_SETTINGS = {"max_connections": "200", "track_commit_timestamp": "on"}  # when a run ended, as the benchmark reads it


def up(home: Path, parts: Collection[Part] = STANDARD) -> Endpoints:
    """Start what does not run yet, in parallel, and return where everything is; also kept as `home/endpoints.json`.

    A part that was stopped or killed comes back at its address with its data.

    Raises:
        StackError, PostgresUnavailableError: a part cannot be started here; with what to do.
    """
    home = home.resolve()
    starts = {
        Part.POSTGRES: _start_postgres,
        Part.RABBITMQ: rabbitmq.start,
        Part.KUBERNETES: apiserver.start,
        Part.KAFKA: kafka.start,
        Part.MARIADB: mariadb.start,
    }
    with _locked(home), ThreadPoolExecutor() as pool:
        daemons = Daemons(home)
        going = [pool.submit(starts[part], home, daemons) for part in parts]
        endpoints = _merged([Endpoints.load(home), *(each.result() for each in going)])
        endpoints.save(home)
    return endpoints


def stop(home: Path, parts: Collection[Part] = STANDARD, *, kill: bool = False) -> None:
    """Stop the parts, in order or by SIGKILL, and keep their data: what a test of an outage needs."""
    daemons = Daemons(home.resolve())
    for part in parts:
        for name in DAEMONS[part]:
            # To Postgres SIGTERM means: wait until every client has left.
            ask = signal.SIGINT if name == Part.POSTGRES else signal.SIGTERM
            daemons.stop(name, by=signal.SIGKILL if kill else ask)


def down(home: Path) -> None:
    """End every process of the stack and remove its folder. A broker given by URL is left as it is."""
    home = home.resolve()
    if not home.exists():
        return
    with _locked(home):
        Daemons(home).kill_all()
        rabbitmq.remove_container(home)
        if (sockets := postgres.socket_folder(home / "postgres")) != home / "postgres":
            shutil.rmtree(sockets, ignore_errors=True)
        shutil.rmtree(home)


def status(home: Path) -> dict[str, bool]:
    """Return for each daemon that this home has known whether it runs."""
    daemons = Daemons(home.resolve())
    return {name: daemons.find(name) is not None for name in daemons.names()}


def _start_postgres(home: Path, daemons: Daemons) -> Endpoints:
    data = home / "postgres"
    if daemons.find(Part.POSTGRES) is None:
        log.info("starting Postgres")
        postgres.initialise(data)
        _clear_after_kill(data)
        daemons.start(Program(Part.POSTGRES, postgres.command(data, _SETTINGS)))
    daemons.wait_until(lambda: postgres.ready(data), Part.POSTGRES, _START_SECONDS)
    return Endpoints(postgres_dsn=postgres.dsn(data))


def _clear_after_kill(data: Path) -> None:
    """End what a killed Postgres left and remove its lock files: the number in them may be somebody else's by now.

    Its backends work in the data folder, and show no mark: they write their titles over their environment.
    """
    orphans = [each for each in psutil.process_iter(["cwd"]) if each.info["cwd"] == str(data)]
    for orphan in orphans:
        with suppress(psutil.NoSuchProcess):
            orphan.kill()
    psutil.wait_procs(orphans, timeout=10)
    (data / "postmaster.pid").unlink(missing_ok=True)
    (postgres.socket_folder(data) / ".s.PGSQL.5432.lock").unlink(missing_ok=True)


def _merged(found: Collection[Endpoints]) -> Endpoints:
    """Return, field by field, the last address that is not empty."""
    names = [field.name for field in fields(Endpoints)]
    return Endpoints(**{name: value for each in found for name in names if (value := getattr(each, name))})


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    """Let one process at a time change the stack of this home."""
    while True:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (home / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if (home / "lock").exists() and os.path.samestat((home / "lock").stat(), os.fstat(file.fileno())):
                yield
                return  # else `down` removed the folder while this one waited
