"""Measures Leat: two runners driven through the store, then through the API server and back."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import uvloop

from bench import leat_create, leat_drive, parts
from bench.load import Figures, Load, Measured, figures, percentile
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
class Created:
    """From POST of a WorkflowRun to the watch event that shows it Succeeded; writes on the way, POST included."""

    p50_ms: float
    p99_ms: float
    api_writes: float


@dataclass(frozen=True)
class LeatMeasured(Measured):
    """Leat's figures, what a run costs, and the way through the API server."""

    costs: Costs
    created: Created


def measure(load: Load) -> LeatMeasured:
    """The figures of two runners, first without Kubernetes (as its peers are measured), then with it."""
    with parts.stack(Part.POSTGRES, Part.RABBITMQ) as endpoints, ExitStack() as running:
        running.enter_context(runners(endpoints))
        one, versions, costs = uvloop.run(_through_the_store(endpoints, load))
        whole = parts.add_to_stack(Part.KUBERNETES)
        (operator_port,) = free_ports(1)
        running.enter_context(parts.running(programs.operator(whole, metrics_port=operator_port)))
        parts.wait_until(lambda: parts.listens(operator_port), "operator")
        created = uvloop.run(_through_the_api_server(whole, operator_port, load))
    return LeatMeasured([one], versions, costs, created)


@contextmanager
def runners(endpoints: Endpoints) -> Iterator[Sequence[int]]:
    """Two runners on a migrated database; their process ids."""
    parts.output(programs.migration(endpoints))
    functions = str(parts.ROOT / "bench" / "leat_app.py")
    ports = free_ports(RUNNERS)
    those = [
        programs.runner(endpoints, number, metrics_port=port, functions=functions)
        for number, port in enumerate(ports, 1)
    ]
    with ExitStack() as running:
        processes = [running.enter_context(parts.running(program)) for program in those]
        for program, port in zip(those, ports, strict=True):
            parts.wait_until(partial(parts.listens, port), program.name)
        yield processes


async def _through_the_store(endpoints: Endpoints, load: Load) -> tuple[Figures, dict[str, str], Costs]:
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
    return figures(f"{RUNNERS} runners", saturated, paced, load.seconds), versions, costs


async def _through_the_api_server(endpoints: Endpoints, operator_port: int, load: Load) -> Created:
    async with leat_create.connected(endpoints) as client:
        await client.apply_workflow()
        before = await leat_create.writes(operator_port)
        samples = await client.pace(load)
        by_operator = await leat_create.writes(operator_port) - before
        latencies = [1000.0 * (sample.finished - sample.started) for sample in samples]
        return Created(
            p50_ms=percentile(latencies, 0.50),
            p99_ms=percentile(latencies, 0.99),
            api_writes=1.0 + by_operator / len(client.done),
        )


async def _published(endpoints: Endpoints) -> int:
    """Messages that were published since the broker has started."""
    overview = await parts.rabbitmq_overview(endpoints)
    return int(overview["message_stats"].get("publish", 0))
