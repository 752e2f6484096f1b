"""Shows where a runner's time goes while Leat is saturated: a table, and the stacks for a flame graph.

``python -m bench.profile [--seconds N]``. Samples the process from outside (py-spy), so that it runs at full speed.
"""

# ruff: noqa: A005 - within its package it shadows nothing

import argparse
import asyncio
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

from bench import leat, leat_drive, parts
from bench.load import Load
from leat_stack import Endpoints, Part
from leat_stack.apiserver import OPERATOR_NAMESPACE
from leat_stack.daemons import Program

REQUIREMENTS = ("py-spy==0.4.3",)
SAMPLES_PER_S = 200
SHOWN = 30
STACKS = parts.HOME / "profile.folded"


def main() -> None:
    """Saturate two runners, sample one of them, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=Load.seconds, help="length of a window (default: %(default)s)")
    load = Load(seconds=parser.parse_args().seconds)
    sampler = parts.venv("profile", REQUIREMENTS) / "py-spy"
    with parts.stack(Part.POSTGRES, Part.RABBITMQ) as endpoints, leat.runners(endpoints) as runners:
        runs = uvloop.run(_sample(endpoints, load, sampler, runners[0]))
    stacks = STACKS.read_text().splitlines()
    console = Console()
    own = own_time(stacks)
    console.print(_table("Functions that were running", own, own.total()))
    console.print(_table("Functions of Leat that were running or had called", total_time(stacks), own.total()))
    print(f"{runs} runs meanwhile. Stacks, for a flame graph: {STACKS}")


async def _sample(endpoints: Endpoints, load: Load, sampler: Path, runner: int) -> int:
    # Only what holds the GIL: other threads wait, and waiting is no cost.
    options = ["--gil", "--rate", str(SAMPLES_PER_S), "--duration", str(round(load.observed)), "--format", "raw"]
    program = Program("profiler", [str(sampler), "record", "--pid", str(runner), "--output", str(STACKS), *options])
    async with leat_drive.connected(endpoints, OPERATOR_NAMESPACE) as driver:
        saturated = asyncio.create_task(driver.saturate(load))
        await asyncio.sleep(load.warm_up)
        await asyncio.to_thread(parts.output, program)
        return len(await saturated)


def own_time(stacks: Iterable[str]) -> Counter[str]:
    """Samples by function that was running. A stack is ``FRAME;FRAME;... COUNT``, a frame ``NAME (FILE:LINE)``."""
    counted: Counter[str] = Counter()
    for frames, count in map(_parsed, stacks):
        counted[frames[-1]] += count
    return counted


def total_time(stacks: Iterable[str]) -> Counter[str]:
    """Samples by function of Leat that was on the stack; once per sample, however deep it recurs."""
    counted: Counter[str] = Counter()
    for frames, count in map(_parsed, stacks):
        for frame in {frame for frame in frames if "leat_" in frame}:
            counted[frame] += count
    return counted


def _parsed(stack: str) -> tuple[list[str], int]:
    frames, _, count = stack.rpartition(" ")
    return [frame.rpartition(":")[0] + ")" if ":" in frame else frame for frame in frames.split(";")], int(count)


def _table(title: str, counted: Counter[str], whole: int) -> Table:
    table = Table("share", "function", title=title)
    for function, count in counted.most_common(SHOWN):
        table.add_row(f"{count / whole:.1%}", function)
    return table


if __name__ == "__main__":
    main()
