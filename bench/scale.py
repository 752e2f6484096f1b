"""``python -m bench.scale``: what many resources cost, finished ones and live ones, and a restart among them.

Prints a table, and as the last line one JSON object. It takes about a quarter of an hour with its defaults.
"""

import argparse
import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

import aiohttp
import psutil
import uvloop
from rich.console import Console
from rich.table import Table

from bench import crowd, leat, parts
from bench.crowd import Crowd
from bench.leat_drive import workflow
from bench.load import percentile
from leat_engine.store import Store
from leat_stack import Endpoints, Part, programs
from leat_stack.daemons import free_ports

PACED = "five"
"""A Workflow of five steps, as in the other measurements."""
LIVE = {
    "inputs": {"until": {"type": "string"}},
    "steps": [
        {"name": "first", "wait": {"until": "${ inputs.until }"}},
        {"name": "second", "needs": ["first"], "wait": {"duration": "1d"}},
    ],
}
"""All its runs take one step at the moment that they are given, and then live on."""
SETTLE = 5.0
PATIENCE = 1800.0


@dataclass(frozen=True)
class Plan:
    """How much of everything. ``hold``: seconds for which live runs stand still, while there come to be that many."""

    finished: int
    live: tuple[int, ...]
    rate: float
    seconds: float
    hold: float


@dataclass(frozen=True)
class Paced:
    """Runs created by the clock. ``cpu_ms``: of the operator, for each run; ``idle_cpu``: of one core, before them."""

    among: str
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    idle_cpu: float


@dataclass(frozen=True)
class Memory:
    """Resident memory of the operator, in MB, and per live run, in KB, above that without any."""

    live: int
    rss_mb: float
    per_run_kb: float


@dataclass(frozen=True)
class Restart:
    """Seconds from the start of a new operator, and the API server's count of requests for our resources meanwhile.

    Attributes:
        active: It holds the Lease and has read what was there.
        first_run: A run that was created in the same moment has succeeded.
        current: Every live run shows what it did while there was no operator.
    """

    live: int
    active: float
    first_run: float
    current: float
    requests: dict[str, float]


def main() -> None:
    """Measure and print."""
    plan = _arguments()
    console = Console(stderr=True)
    conditions = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpus": os.cpu_count(),
        "load_1m": round(os.getloadavg()[0], 2),
    }
    with parts.stack(Part.POSTGRES, Part.RABBITMQ, Part.KUBERNETES) as endpoints, ExitStack() as running:
        running.enter_context(leat.runners(endpoints))
        paced, memory, restart, seconds = uvloop.run(Scale(endpoints, plan, console).measure())
    print_tables(paced, memory, restart)
    found = {
        "paced": [asdict(one) for one in paced],
        "memory": [asdict(one) for one in memory],
        "restart": asdict(restart),
        "seconds_to_finish": {str(plan.finished): round(seconds, 1)},
        "conditions": conditions,
    }
    print(json.dumps(found))


class Scale:
    """One measurement from its beginning to its end. Operators come and go in it."""

    def __init__(self, endpoints: Endpoints, plan: Plan, console: Console) -> None:
        self._endpoints = endpoints
        self._plan = plan
        self._console = console
        (self._port,) = free_ports(1)

    async def measure(self) -> tuple[list[Paced], list[Memory], Restart, float]:
        """All figures, and the seconds that the many finished runs took."""
        plan = self._plan
        async with crowd.connected(self._endpoints) as user:
            await user.apply("Workflow", PACED, workflow())
            await user.apply("Workflow", "live", LIVE)
            async with self._operator() as operator:
                paced = [await self._pace(user, operator, "none")]
                began = time.time()
                self._tell(f"finishing {plan.finished} runs")
                names = await user.many("finished", plan.finished, PACED)
                took = await user.until(names, lambda shown: shown.phase == "Succeeded", PATIENCE) - began
                paced.append(await self._pace(user, operator, f"{plan.finished} finished"))
            until = datetime.now(UTC) + timedelta(seconds=plan.hold)
            async with self._operator() as operator:
                memory, names = await self._fill(user, operator, until.isoformat())
                paced.append(await self._pace(user, operator, f"{len(names)} live"))
            restart = await self._restart(user, names, until)
        return paced, memory, restart, took

    async def _pace(self, user: Crowd, operator: psutil.Process, among: str) -> Paced:
        self._tell(f"creating {self._plan.rate:g} runs a second among {among}")
        await asyncio.sleep(SETTLE)
        idle = _cpu(operator)
        await asyncio.sleep(SETTLE)
        before = _cpu(operator)
        samples = await user.pace(f"paced-{among.replace(' ', '-')}", PACED, self._plan.rate, self._plan.seconds)
        spent = _cpu(operator) - before
        latencies = [1000 * (sample.finished - sample.started) for sample in samples]
        return Paced(
            among=among,
            p50_ms=percentile(latencies, 0.50),
            p99_ms=percentile(latencies, 0.99),
            cpu_ms=1000 * spent / len(samples),
            idle_cpu=(before - idle) / SETTLE,
        )

    async def _fill(self, user: Crowd, operator: psutil.Process, until: str) -> tuple[list[Memory], list[str]]:
        await asyncio.sleep(2 * SETTLE)  # it has listed what is finished
        empty = _rss(operator)
        memory, names = [Memory(0, empty, 0.0)], list[str]()
        for live in self._plan.live:
            self._tell(f"letting {live} runs live")
            new = await user.many(f"live-{live}", live - len(names), "live", until=until)
            await user.until(new, lambda shown: shown.phase == "Running", PATIENCE)
            names += new
            await asyncio.sleep(SETTLE)
            rss = _rss(operator)
            memory.append(Memory(live, rss, 1000 * (rss - empty) / live))
        return memory, names

    async def _restart(self, user: Crowd, names: list[str], until: datetime) -> Restart:
        if datetime.now(UTC) >= until:
            raise RuntimeError(f"the live runs went on before all of them were there: raise --hold ({self._plan.hold})")
        self._tell("letting all of them take a step while there is no operator")
        await self._all_moved(len(names))
        self._tell("starting an operator")
        before, began = await user.requests(), time.time()
        async with self._operator():
            active = time.time() - began
            await user.run("first-after-restart", PACED)
            first, current = await asyncio.gather(
                user.until(["first-after-restart"], lambda shown: shown.phase == "Succeeded", PATIENCE),
                user.until(names, lambda shown: shown.progress == "1/2", PATIENCE),
            )
            after = await user.requests()
        requests = {verb: after[verb] - before.get(verb, 0.0) for verb in sorted(after)}
        return Restart(
            len(names), active, first - began, current - began, {verb: n for verb, n in requests.items() if n}
        )

    async def _all_moved(self, count: int) -> None:
        store = await Store.connect(self._endpoints.postgres_dsn, size=1)
        try:
            moved = 0
            while moved < count:
                await asyncio.sleep(1.0)
                moved, after = 0, None
                while page := await store.reports.unfinished(after, 1000):
                    moved += sum(run.succeeded == 1 for run in page)
                    after = page[-1].run_id
        finally:
            await store.close()

    @asynccontextmanager
    async def _operator(self) -> AsyncIterator[psutil.Process]:
        """An operator that is active."""
        with parts.running(programs.operator(self._endpoints, metrics_port=self._port)) as pid:
            async with asyncio.timeout(PATIENCE):
                await self._is_active()
            yield psutil.Process(pid)

    async def _is_active(self) -> None:
        """Return when the operator holds the Lease."""
        async with aiohttp.ClientSession() as asking:
            text = ""
            while "leat_operator_active 1.0" not in text:
                await asyncio.sleep(0.02)
                with suppress(aiohttp.ClientConnectionError):
                    async with asking.get(f"http://127.0.0.1:{self._port}/metrics") as answer:
                        text = await answer.text()

    def _tell(self, what: str) -> None:
        self._console.print(f"{datetime.now(UTC):%H:%M:%S} {what}", style="dim")


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _rss(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 1e6


def print_tables(paced: list[Paced], memory: list[Memory], restart: Restart) -> None:
    """What was found, for people."""
    console = Console()
    table = Table("among", "p50 ms", "p99 ms", "operator ms/run", "idle CPU", title="create to Succeeded")
    for one in paced:
        numbers = f"{one.p50_ms:.0f}", f"{one.p99_ms:.0f}", f"{one.cpu_ms:.1f}", f"{one.idle_cpu:.1%}"
        table.add_row(one.among, *numbers)
    console.print(table)
    table = Table("live runs", "operator MB", "KB/run", title="memory")
    for each in memory:
        table.add_row(str(each.live), f"{each.rss_mb:.0f}", f"{each.per_run_kb:.1f}")
    console.print(table)
    table = Table(
        "active s", "first run s", "all current s", "requests", title=f"restart with {restart.live} live runs"
    )
    requests = ", ".join(f"{count:.0f} {verb}" for verb, count in restart.requests.items())
    table.add_row(f"{restart.active:.1f}", f"{restart.first_run:.1f}", f"{restart.current:.1f}", requests)
    console.print(table)


def _arguments() -> Plan:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--finished", type=int, default=10_000, help="finished runs (default: %(default)s)")
    parser.add_argument("--live", default="1000,5000", help="live runs, ascending (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=20.0, help="runs a second (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of a window (default: %(default)s)")
    parser.add_argument("--hold", type=float, default=300.0, help="seconds until live runs move (default: %(default)s)")
    given = parser.parse_args()
    live = tuple(int(number) for number in given.live.split(","))
    return Plan(given.finished, live, given.rate, given.seconds, given.hold)


if __name__ == "__main__":
    main()
