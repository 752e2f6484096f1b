"""Measures Leat and its peers on this machine: a table, and as the last line one JSON object."""

import argparse
import json
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import leat
from bench.leat import LeatMeasured
from bench.load import STEPS, Load, Measured
from bench.peers import celery, restate

ENGINES: Mapping[str, Callable[[Load], Measured]] = {
    "leat": leat.measure,
    "celery": celery.measure,
    "restate": restate.measure,
}


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
    """The JSON object without its conditions; what was not measured is missing."""
    summary: dict[str, Any] = {}
    ours = measured.get("leat")
    if isinstance(ours, LeatMeasured):
        summary = {
            "runs_per_s": ours.best.runs_per_s,
            "steps_per_s": ours.best.runs_per_s * STEPS,
            "p50_ms": ours.best.p50_ms,
            "p99_ms": ours.best.p99_ms,
            "create_to_succeeded_p50_ms": ours.created.p50_ms,
            "create_to_succeeded_p99_ms": ours.created.p99_ms,
            "api_writes_per_run": ours.created.api_writes,
            "sql_statements_per_run": ours.costs.sql_statements,
            "messages_per_run": ours.costs.messages,
        }
    for name, peer in measured.items():
        if peer is ours:
            continue
        summary[name] = _rounded(asdict(peer.best))
        if ours:
            summary[f"ratio_{name}"] = ours.best.runs_per_s / peer.best.runs_per_s
    return _rounded(summary)


def _rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: round(value, 2) if isinstance(value, float) else value for key, value in values.items()}
