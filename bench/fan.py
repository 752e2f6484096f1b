"""Measures `forEach`: a table, and as the last line one JSON object.

``python -m bench.fan [--runs N] [--items N]``. Two runners, Postgres and RabbitMQ, as in ``bench.leat``; no Kubernetes.
"""

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import uvloop
from rich.console import Console
from rich.table import Table

from bench import leat, leat_drive, parts
from bench.load import percentile
from leat_stack import Endpoints, Part
from leat_stack.apiserver import OPERATOR_NAMESPACE

WIDE = 100
WARM_UP = 5  # runs that are not counted
DEADLINE = 900.0  # seconds


@dataclass(frozen=True)
class Fanned:
    """Runs of `WIDE` items one after the other, in ms from asking for the start to the end; one run of many items.

    Attributes:
        runner_mb: Resident memory of the larger runner before the run of many items.
        items_runner_mb: The most that a runner ever had, after it.
    """

    wide_p50_ms: float
    wide_p99_ms: float
    wide_sql_statements: float
    items: int
    items_seconds: float
    items_per_s: float
    items_sql_statements: float
    runner_mb: float
    items_runner_mb: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100, help=f"runs of {WIDE} items (default: %(default)s)")
    parser.add_argument("--items", type=int, default=100_000, help="items of the large run (default: %(default)s)")
    given = parser.parse_args()
    load_1m = round(os.getloadavg()[0], 2)
    with parts.stack(Part.POSTGRES, Part.RABBITMQ) as endpoints, leat.runners(endpoints) as runners:
        fanned = uvloop.run(_measured(endpoints, runners, given.runs, given.items))
    table = Table("run", "time", "per second", "transactions", title="forEach of no-op functions")
    wide, many = fanned.wide_p50_ms, fanned.items_seconds
    per_item = 1000 * WIDE / wide
    table.add_row(f"{WIDE} items, p50", f"{wide:.1f} ms", f"{per_item:.0f}", f"{fanned.wide_sql_statements:.0f}")
    table.add_row(f"{WIDE} items, p99", f"{fanned.wide_p99_ms:.1f} ms", "", "")
    rate, statements = fanned.items_per_s, fanned.items_sql_statements
    table.add_row(f"{fanned.items:,} items", f"{many:.1f} s", f"{rate:.0f}", f"{statements:.0f}")
    Console().print(table)
    print(
        f"memory of the larger runner: {fanned.runner_mb:.0f} MB, and at most {fanned.items_runner_mb:.0f} MB with many"
    )
    figures = {name: round(value, 2) for name, value in asdict(fanned).items()}
    print(json.dumps(figures | {"conditions": {"cpus": os.cpu_count(), "load_1m": load_1m}}))


async def _measured(endpoints: Endpoints, runners: Sequence[int], runs: int, items: int) -> Fanned:
    async with leat_drive.connected(endpoints, OPERATOR_NAMESPACE, workflow(WIDE)) as driver:
        for _ in range(WARM_UP):
            await driver.once(DEADLINE)
        before = await driver.transactions()
        samples = [await driver.once(DEADLINE) for _ in range(runs)]
        wide = (await driver.transactions() - before) / runs
    resident = max(psutil.Process(runner).memory_info().rss for runner in runners)
    async with leat_drive.connected(endpoints, OPERATOR_NAMESPACE, workflow(items)) as driver:
        before = await driver.transactions()
        many = await driver.once(DEADLINE)
        after = await driver.transactions()
    milliseconds = [1000.0 * (sample.finished - sample.started) for sample in samples]
    seconds = many.finished - many.started
    return Fanned(
        wide_p50_ms=percentile(milliseconds, 0.50),
        wide_p99_ms=percentile(milliseconds, 0.99),
        wide_sql_statements=wide,
        items=items,
        items_seconds=seconds,
        items_per_s=items / seconds,
        items_sql_statements=float(after - before),
        runner_mb=resident / 1e6,
        items_runner_mb=max(map(_most_resident, runners)) / 1e6,
    )


def _most_resident(process: int) -> int:
    """Bytes that a process had resident at most, by the kernel's own count."""
    (line,) = [line for line in Path(f"/proc/{process}/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def workflow(items: int) -> dict[str, Any]:
    """A list that a step gives, and a no-op function for each of it."""
    over = {"name": "numbers", "with": {"count": items}}
    return {
        "steps": [
            {"name": "list", "function": over},
            {"name": "each", "forEach": "${ steps.list.output }", "function": {"name": "noop"}},
        ]
    }


if __name__ == "__main__":
    main()
