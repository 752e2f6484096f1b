"""Measures Celery: RabbitMQ as its broker, Redis for results where it can be had, chains of tasks acknowledged late."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from bench import parts
from bench.load import Load, Measured, Sample, figures
from leat_stack import Part
from leat_stack.daemons import Program

CELERY = "5.7.0"
REQUIREMENTS = (f"celery[redis,gevent]=={CELERY}", "hiredis==3.5.0")


class Results(StrEnum):
    """Whose result a chain leaves behind."""

    EACH = "each step's result in Redis"
    LAST = "the last step's result in Redis"


@dataclass(frozen=True)
class Setting:
    """One way to run Celery: ``workers`` processes (or parents of a pool) with these options."""

    name: str
    workers: int
    options: tuple[str, ...]
    prefetch: int
    results: Results = Results.LAST
    in_flight: int = 200


PREFORK = ("--pool=prefork", "--concurrency=2")
SETTINGS = (
    Setting("prefork, 2 processes", workers=1, options=PREFORK, prefetch=32, results=Results.EACH),
    Setting("prefork, 2 processes", workers=1, options=PREFORK, prefetch=32),
    Setting("solo, 2 workers", workers=2, options=("--pool=solo",), prefetch=64),
    Setting("gevent, 2 workers x 50", workers=2, options=("--pool=gevent", "--concurrency=50"), prefetch=1),
)


def measure(load: Load) -> Measured:
    """The figures of every setting."""
    binaries = parts.venv("celery", REQUIREMENTS)
    measured = []
    with parts.stack(Part.RABBITMQ) as endpoints, _redis() as results:
        for number, setting in enumerate(SETTINGS):
            environment = {
                "BENCH_BROKER": endpoints.amqp_url,
                "BENCH_RESULTS": results,
                "BENCH_STEP_RESULTS": str(int(setting.results is Results.EACH)),
                "BENCH_QUEUE": f"celery-{number}",
                "BENCH_DONE": str(parts.HOME / "celery-done.txt"),
                "BENCH_PREFETCH": str(setting.prefetch),
            }
            saturated, paced = _run(setting, binaries, environment, load)
            name = f"{setting.name}; {setting.results if results else 'no results'}"
            measured.append(figures(name, saturated, paced, load.seconds))
        overview = asyncio.run(parts.rabbitmq_overview(endpoints))
    return Measured(measured, {"celery": CELERY, "rabbitmq": overview["rabbitmq_version"]})


@contextmanager
def _redis() -> Iterator[str]:
    """The URL of an own Redis, in memory and on a socket file; empty where there is none."""
    try:
        server, environment = parts.redis()
    except parts.MissingError as missing:
        print(f"Celery runs without results: {missing}")
        yield ""
        return
    socket = parts.HOME / "redis.sock"
    socket.unlink(missing_ok=True)
    # A process title would overwrite the environment, by which the process is known as ours.
    options = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--appendonly", "no", "--set-proc-title", "no"]
    with parts.running(Program("redis", [str(server), *options, "--dir", str(parts.HOME)], environment)):
        parts.wait_until(socket.exists, "redis")
        yield f"redis+socket://{socket}"


def _run(
    setting: Setting, binaries: Path, environment: dict[str, str], load: Load
) -> tuple[list[Sample], list[Sample]]:
    Path(environment["BENCH_DONE"]).write_text("")
    worker = [str(binaries / "celery"), "--quiet", "--app=bench.peers.celery_app", "worker", "--loglevel=WARNING"]
    options = [*setting.options, "--without-gossip", "--without-mingle", "--without-heartbeat"]
    driver = [str(binaries / "python"), "-m", "bench.peers.celery_drive", str(setting.in_flight)]
    with ExitStack() as workers:
        for number in range(setting.workers):
            name = f"celery-worker-{number}"
            command = [*worker, *options, f"--hostname={name}@%h"]
            workers.enter_context(parts.running(Program(name, command, environment)))
        samples = json.loads(parts.output(Program("celery-driver", [*driver, json.dumps(asdict(load))], environment)))
    return [Sample(**one) for one in samples["saturated"]], [Sample(**one) for one in samples["paced"]]
