"""Measures Leat: two runners driven through the store, then through the API server and back."""

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass

import uvloop

from bench import leat_drive, parts
from bench.load import Load, Measured, figures
from leat_stack import Endpoints, Part, programs
from leat_stack.apiserver import OPERATOR_NAMESPACE
from leat_stack.daemons import free_ports

RUNNERS = 2
SETTLE = 12.0  # seconds: an idle Postgres session reports its statistics after ten, RabbitMQ every one


@dataclass(frozen=True)
class Costs:
    """What one run of five steps costs the parts around, its start included."""

    sql_statements: float
    messages: float


@dataclass(frozen=True)
class LeatMeasured(Measured):
    """Leat's figures, and what a run costs."""

    costs: Costs


def measure(load: Load) -> LeatMeasured:
    """The figures of two runners on one machine."""
    with parts.stack(Part.POSTGRES, Part.RABBITMQ) as endpoints, ExitStack() as running:
        parts.output(programs.migration(endpoints))
        functions = str(parts.ROOT / "bench" / "leat_app.py")
        for number, port in enumerate(free_ports(RUNNERS), 1):
            program = programs.runner(endpoints, number, metrics_port=port, functions=functions)
            running.enter_context(parts.running(program))
        return uvloop.run(_through_the_store(endpoints, load))


async def _through_the_store(endpoints: Endpoints, load: Load) -> LeatMeasured:
    async with leat_drive.connected(endpoints, OPERATOR_NAMESPACE) as driver:
        statements, messages = await driver.transactions(), await _published(endpoints)
        saturated = await driver.saturate(load)
        paced = await driver.pace(load)
        await asyncio.sleep(SETTLE)
        runs = len(driver.done)
        costs = Costs(
            sql_statements=(await driver.transactions() - statements) / runs,
            messages=(await _published(endpoints) - messages) / runs,
        )
        overview = await parts.rabbitmq_overview(endpoints)
        versions = {"postgres": driver.postgres_version(), "rabbitmq": overview["rabbitmq_version"]}
    setting = f"{RUNNERS} runners"
    return LeatMeasured([figures(setting, saturated, paced, load.seconds)], versions, costs)


async def _published(endpoints: Endpoints) -> int:
    """Messages that were published since the broker has started."""
    overview = await parts.rabbitmq_overview(endpoints)
    return int(overview["message_stats"].get("publish", 0))
