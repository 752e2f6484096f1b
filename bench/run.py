"""Measures Leat and its peers on this machine: a table, and as the last line one JSON object.

``uv run python bench/run.py [--only leat,celery,restate] [--seconds N]``
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# ruff: noqa: E402 - as a script, this file has brought its own folder; the room is imported by its name.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from rich.console import Console
from rich.table import Table

from bench.load import STEPS, Load, Measured
from bench.peers import celery, restate

ENGINES: Mapping[str, Callable[[Load], Measured]] = {"celery": celery.measure, "restate": restate.measure}


def main() -> None:
    """Measure one engine after the other and print."""
    arguments = _arguments()
    console = Console(stderr=True)
    conditions = _conditions()
    measured: dict[str, Measured] = {}
    for name in arguments.only:
        with console.status(f"measuring {name}, {arguments.seconds:.0f} s a window"):
            measured[name] = ENGINES[name](Load(seconds=arguments.seconds))
        conditions |= measured[name].versions
    Console().print(_table(measured))
    print(json.dumps(_summary(measured) | {"conditions": conditions}))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=_engines, default=list(ENGINES), help=f"of {','.join(ENGINES)} (default: all)")
    parser.add_argument("--seconds", type=float, default=Load.seconds, help="length of a window (default: %(default)s)")
    return parser.parse_args()


def _engines(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in ENGINES:
            raise argparse.ArgumentTypeError(f"found {name!r}, expected some of {','.join(ENGINES)}")
    return names


def _conditions() -> dict[str, Any]:
    """What the figures hold for; the load average tells whether the machine had anything else to do."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpus": os.cpu_count(),
        "load_1m": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
    }


def _table(measured: Mapping[str, Measured]) -> Table:
    table = Table("engine", "setting", "runs/s", "p50 ms", "p99 ms", title=f"{STEPS} sequential no-op steps")
    for name, engine in measured.items():
        for one in engine.settings:
            best = "bold" if one is engine.best else ""
            numbers = (f"{value:.1f}" for value in (one.runs_per_s, one.p50_ms, one.p99_ms))
            table.add_row(name, one.setting, *numbers, style=best)
    return table


def _summary(measured: Mapping[str, Measured]) -> dict[str, Any]:
    """The JSON object without its conditions; what was not measured is null."""
    return {name: asdict(measured[name].best) if name in measured else None for name in ENGINES}


if __name__ == "__main__":
    main()
