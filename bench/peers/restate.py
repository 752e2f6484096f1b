"""Measures Restate: its server beside a Python service; a run starts with an HTTP call and is done when it answers."""

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import uvloop

from bench import parts
from bench.load import Load, Measured, Sample, figures, schedule
from leat_stack.daemons import Program, free_ports

SERVER = "1.7.12"
REQUIREMENTS = ("restate-sdk[serde]==1.3.0", "hypercorn==0.18.0", "h2==4.4.1", "uvloop==0.23.0")


@dataclass(frozen=True)
class Setting:
    """One way to run Restate; ``server`` is environment of the server beyond what every setting has."""

    name: str
    workers: int
    in_flight: int
    server: dict[str, str] = field(default_factory=dict)


# The invoker fills a connection with streams before it opens another, and a connection belongs to one worker: with the
# default of 128 a second worker may stand idle. More than one partition only helps where there are cores for them.
SPREAD = {"RESTATE_WORKER__INVOKER__HTTP2_STREAMS_PER_CONNECTION_LIMIT": "32"}
SETTINGS = (
    Setting("default server, 1 worker", workers=1, in_flight=200),
    Setting("4 partitions, 2 workers", workers=2, in_flight=200, server={"RESTATE_DEFAULT_NUM_PARTITIONS": "4"}),
    Setting(
        "4 partitions, 2 workers, 32 streams a connection",
        workers=2,
        in_flight=200,
        server=SPREAD | {"RESTATE_DEFAULT_NUM_PARTITIONS": "4"},
    ),
    Setting(
        "1 partition, 2 workers, 32 streams a connection",
        workers=2,
        in_flight=200,
        server=SPREAD | {"RESTATE_DEFAULT_NUM_PARTITIONS": "1"},
    ),
)


@dataclass(frozen=True)
class Ports:
    """Loopback ports of one Restate node and its service."""

    node: int
    ingress: int
    admin: int
    service: int


def measure(load: Load) -> Measured:
    """The figures of every setting."""
    binary = parts.npm("@restatedev/restate-server", SERVER, "node_modules/@restatedev/*/bin/restate-server")
    hypercorn = parts.venv("restate", REQUIREMENTS) / "hypercorn"
    measured = []
    for setting in SETTINGS:
        with _started(setting, binary, hypercorn) as ingress:
            saturated, paced = uvloop.run(_drive(ingress, setting.in_flight, load))
        measured.append(figures(setting.name, saturated, paced, load.seconds))
    return Measured(measured, {"restate": SERVER})


@contextmanager
def _started(setting: Setting, binary: Path, hypercorn: Path) -> Iterator[str]:
    """A fresh server with the service registered; yields the URL that starts a run."""
    data = parts.HOME / "restate-data"
    shutil.rmtree(data, ignore_errors=True)
    ports = Ports(*free_ports(4))
    bind = ["--bind", f"127.0.0.1:{ports.service}", "--workers", str(setting.workers), "--worker-class", "uvloop"]
    service = Program("restate-service", [str(hypercorn), *bind, "bench.peers.restate_app:app"])
    server = Program("restate-server", [str(binary)], _environment(ports, data) | setting.server)
    with parts.running(service), parts.running(server):
        parts.wait_until(lambda: parts.listens(ports.service), service.name)
        parts.wait_until(lambda: parts.listens(ports.ingress) and parts.listens(ports.admin), server.name)
        asyncio.run(_register(ports))
        yield f"http://127.0.0.1:{ports.ingress}/Bench/five"


def _environment(ports: Ports, data: Path) -> dict[str, str]:
    return {
        "RESTATE_NODE_NAME": "bench",
        "RESTATE_BASE_DIR": str(data),
        "RESTATE_LISTEN_MODE": "tcp",
        "RESTATE_BIND_ADDRESS": f"127.0.0.1:{ports.node}",
        "RESTATE_ADVERTISED_ADDRESS": f"http://127.0.0.1:{ports.node}",
        "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{ports.ingress}",
        "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{ports.admin}",
        "RESTATE_DISABLE_TELEMETRY": "true",
        "RESTATE_LOG_FILTER": "warn",
        "RESTATE_TRACING_FILTER": "off",
    }


async def _register(ports: Ports) -> None:
    """Tell the server where the service is; it may need a moment after its ports are open."""
    body = {"uri": f"http://127.0.0.1:{ports.service}", "use_http_11": False}
    deadline = time.monotonic() + parts.START_DEADLINE
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.post(f"http://127.0.0.1:{ports.admin}/deployments", json=body) as answer:
                if answer.ok:
                    return
                problem = await answer.text()
            if time.monotonic() > deadline:
                raise RuntimeError(f"Restate refuses the service: {problem}")
            await asyncio.sleep(0.2)


async def _drive(url: str, in_flight: int, load: Load) -> tuple[list[Sample], list[Sample]]:
    """Both phases; a run waits for its answer on a connection of its own."""
    connector = aiohttp.TCPConnector(limit=0)
    # The service takes no input and refuses a body's content type.
    async with aiohttp.ClientSession(connector=connector, skip_auto_headers=["Content-Type"]) as session:

        async def run() -> Sample:
            started = time.time()
            async with session.post(url) as answer:
                answer.raise_for_status()
            return Sample(started, time.time())

        return await _saturate(run, in_flight, load), await _pace(run, load)


async def _saturate(run: Callable[[], Awaitable[Sample]], in_flight: int, load: Load) -> list[Sample]:
    begins = time.time() + load.warm_up
    ends = begins + load.observed

    async def lane() -> list[Sample]:
        samples = []
        while time.time() < ends:
            samples.append(await run())
        return samples

    lanes = await asyncio.gather(*(lane() for _ in range(in_flight)))
    return [sample for samples in lanes for sample in samples if begins <= sample.finished <= ends]


async def _pace(run: Callable[[], Awaitable[Sample]], load: Load) -> list[Sample]:
    begins = time.time()

    async def start(moment: float) -> Sample:
        await asyncio.sleep(max(moment - time.time(), 0.0))
        return await run()

    samples = await asyncio.gather(*(start(begins + offset) for offset in schedule(load.rate, load.paced)))
    return [sample for sample in samples if sample.started >= begins + load.warm_up]
