"""Measures what runs that wait for signals cost those that do not: a table, and as the last line one JSON object.

``python -m bench.waiting [--runs N] [--seconds N]``. Two runners, Postgres and RabbitMQ, as in ``bench.leat``.
"""

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import psutil
import uvloop
from rich.console import Console
from rich.table import Table

from bench import leat, leat_drive, parts
from bench.load import Figures, Load, figures
from leat_stack import Endpoints, Part
from leat_stack.apiserver import OPERATOR_NAMESPACE

DEADLINE = 600.0  # seconds
SIGNAL = {"steps": [{"name": "word", "signal": {"name": "word", "timeout": "24h"}}]}


@dataclass(frozen=True)
class Among:
    """Runs of five steps among so many that wait, and the resident memory of the larger of the runners."""

    waiting: int
    runs_per_s: float
    p50_ms: float
    p99_ms: float
    runner_mb: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000, help="runs that wait (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each phase (default: %(default)s)")
    given = parser.parse_args()
    load_1m = round(os.getloadavg()[0], 2)
    with parts.stack(Part.POSTGRES, Part.RABBITMQ) as endpoints, leat.runners(endpoints) as processes:
        alone, among = uvloop.run(_measured(endpoints, processes, given.runs, Load(seconds=given.seconds)))
    table = Table("waiting", "runs/s", "p50 ms", "p99 ms", "runner MB", title="among runs that wait for a signal")
    for each in (alone, among):
        speed = (f"{each.runs_per_s:.0f}", f"{each.p50_ms:.1f}", f"{each.p99_ms:.1f}")
        table.add_row(f"{each.waiting:,}", *speed, f"{each.runner_mb:.0f}")
    Console().print(table)
    slower = {
        "starts_slower_percent": 100 * (1 - among.runs_per_s / alone.runs_per_s),
        "p50_slower_percent": 100 * (among.p50_ms / alone.p50_ms - 1),
    }
    found = {
        "alone": asdict(alone),
        "among": asdict(among),
        **{name: round(value, 1) for name, value in slower.items()},
    }
    print(json.dumps(found | {"conditions": {"cpus": os.cpu_count(), "load_1m": load_1m}}))


async def _measured(endpoints: Endpoints, processes: Sequence[int], runs: int, load: Load) -> tuple[Among, Among]:
    runners = [psutil.Process(pid) for pid in processes]
    alone = await _paced(endpoints, load)
    before = _among(0, alone, runners)
    async with leat_drive.connected(endpoints, OPERATOR_NAMESPACE, SIGNAL) as driver:
        await driver.leave(runs, DEADLINE)
    return before, _among(runs, await _paced(endpoints, load), runners)


async def _paced(endpoints: Endpoints, load: Load) -> Figures:
    async with leat_drive.connected(endpoints, OPERATOR_NAMESPACE) as driver:
        return figures("", await driver.saturate(load), await driver.pace(load), load.seconds)


def _among(waiting: int, seen: Figures, runners: Sequence[psutil.Process]) -> Among:
    largest = max(runner.memory_info().rss for runner in runners) / 1e6
    return Among(waiting, seen.runs_per_s, seen.p50_ms, seen.p99_ms, largest)


if __name__ == "__main__":
    main()
