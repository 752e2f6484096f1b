"""The runner process: ``python -m leat_runner``. Settings come from the environment, see `leat_runner.settings`."""

import asyncio
import ctypes
import gc
import signal
import sys
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from typing import TypeVar

import uvloop
from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from leat_engine.artifacts import Objects
from leat_engine.caretakers import CaretakerOptions, Caretakers
from leat_engine.errors import LeatError, StoreUnavailable
from leat_engine.leave import left_alone
from leat_engine.logs import configure
from leat_engine.queue.rabbit import RabbitQueue
from leat_engine.store import Store
from leat_runner.kinds import KindSettings, KindSetup, ability_of, load_kinds
from leat_runner.overhear import overhearing
from leat_runner.probes import Probes
from leat_runner.secrets import installed, mask_held
from leat_runner.settings import RunnerSettings
from leat_runner.work import Runner, RunnerOptions

PR_SET_DUMPABLE = 4
CONNECTIONS = 6
"""One commits, one claims, the others load, beat and care. More do not help: statements are batched."""
YOUNG = 10_000
"""Objects between two collections of the youngest: most of what a run needs has gone by itself before that."""
T = TypeVar("T")


async def serve(settings: RunnerSettings) -> None:
    """Run until SIGTERM or SIGINT, then drain."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, stop.set)
    objects = Objects.connect(settings.artifacts_url) if settings.artifacts_url else None
    setup = KindSetup(KindSettings())
    kinds = load_kinds(setup)
    runners: list[Runner] = []
    async with AsyncExitStack() as stack:
        if settings.metrics_port is not None:
            unready = lambda: runners[0].unready if runners else "connecting to Postgres"  # noqa: E731
            await stack.enter_async_context(Probes(settings.metrics_host, settings.metrics_port, unready))
        store = await _unless(stop, _connected(settings.database_url.get_secret_value()))
        if store is None:
            return
        stack.push_async_callback(store.close)
        queue = RabbitQueue(settings.amqp_url.get_secret_value(), settings.namespace)
        stack.push_async_callback(queue.close)
        await queue.start()
        options = RunnerOptions(
            settings.name,
            settings.pool,
            settings.slots,
            settings.cpu_slots,
            settings.heartbeat,
            settings.grace,
            ability_of(kinds, settings.pool_revision),
            objects,
            frozenset(filter(None, settings.tenants.split(","))),
        )
        runner = Runner(store, queue, kinds, options, installed(setup.kubernetes))
        rounds = CaretakerOptions(
            settings.heartbeat / 4, silent_for=3 * settings.heartbeat, retention=settings.retention_days * 86_400
        )
        caretakers = Caretakers(store, queue, rounds, objects=objects)
        gc.collect()
        gc.freeze()  # what is there now stays: no collection has to look at it again, which shows in the slowest steps
        gc.set_threshold(YOUNG)
        await runner.start()
        runners.append(runner)
        caretakers.start()
        await stop.wait()
        await caretakers.stop()
        await runner.stop()


async def _unless(stop: asyncio.Event, work: Awaitable[T]) -> T | None:
    """What the work gives, or None as soon as the process has to go."""
    task, stopped = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    await asyncio.wait((task, stopped), return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if task.done():
        return task.result()
    task.cancel()
    return None


async def _connected(dsn: str) -> Store:
    """The store, as soon as Postgres answers; a wrong schema is not waited for."""
    async for attempt in AsyncRetrying(
        retry=retry_if_exception_type(StoreUnavailable), wait=wait_random_exponential(multiplier=0.2, max=5)
    ):
        with attempt:
            return await Store.connect(dsn, size=CONNECTIONS)
    raise AssertionError  # pragma: no cover  the loop above has no end


def _keep_environment_private() -> None:
    """Scripts run as the same user: without this they could read the runner's credentials in /proc."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0)


def main() -> None:
    """Start the process; exit 1 with one sentence when it cannot work."""
    _keep_environment_private()
    settings = RunnerSettings()
    configure(settings.log_level, mask_held, process="runner", pool=settings.pool)
    with left_alone():
        try:
            with overhearing():
                uvloop.run(serve(settings))
        except LeatError as error:
            sys.exit(f"leat-runner: {error}")


if __name__ == "__main__":
    main()
