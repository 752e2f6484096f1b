"""One run, here: engine and runner in this process, and a database that nobody else uses."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from secrets import token_bytes
from tempfile import TemporaryDirectory
from uuid import UUID

from leat_cli.database import Database
from leat_cli.events import show_log
from leat_cli.follow import Read, exit_code, follow
from leat_cli.interrupts import interrupts
from leat_cli.order import Order
from leat_cli.problems import Invalid, Unavailable
from leat_cli.progress import Progress
from leat_cli.questions import Questions
from leat_cli.snapshot import RunSnapshot
from leat_engine.artifacts import Objects
from leat_engine.caretakers import CaretakerOptions, Caretakers
from leat_engine.errors import LeatError
from leat_engine.job import uuid7
from leat_engine.kin import ChildRecord
from leat_engine.queue.local import LocalQueue
from leat_engine.records import NewRun, Revision, Root, Stop
from leat_engine.result import ErrorType, Phase, StepError
from leat_engine.store import Store, migrate
from leat_engine.store.children import Shelved
from leat_runner.kinds import KindSettings, KindSetup, load_kinds
from leat_runner.secrets import SecretReader
from leat_runner.work import Runner, RunnerOptions

_EVERY = 0.05  # seconds between two looks at the store, which is in the next process
_ROUND = 0.2  # seconds between two rounds of the caretakers, and so what the timeout of a run may be late
_HEARTBEAT = 0.2  # seconds; also how soon running steps hear of a cancel
_GRACE = 0.5  # seconds for steps that still run at the end, which are there only when this process is being killed
_CANCELLED = StepError(ErrorType.CANCELLED, "the run was cancelled", retriable=False).as_json()
_CANCEL = Stop(Phase.CANCELLED, interrupt=True, error=_CANCELLED)


@dataclass(frozen=True, slots=True)
class Means:
    """What the steps have here: modules with functions, secrets, and where artifacts go; "" is a passing directory."""

    functions: tuple[str, ...]
    secrets: SecretReader
    artifacts_url: str = ""


@dataclass(frozen=True, slots=True)
class End:
    """How a run ended here, and the exit code that says so."""

    run: RunSnapshot
    code: int


def run_here(order: Order, means: Means, url: str, progress: Progress) -> End:
    """Run the order to its end, in the database behind ``url``, which may be empty.

    Raises:
        Invalid: The functions, or a kind, cannot be loaded.
        KeyboardInterrupt: A second interrupt came before the end.
    """
    show_log(progress.note)
    try:
        return asyncio.run(_run(order, means, url, progress))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


async def _run(order: Order, means: Means, url: str, progress: Progress) -> End:
    await migrate(url)
    async with AsyncExitStack() as stack:
        store = await Store.connect(url)
        stack.push_async_callback(store.close)
        queue = LocalQueue()
        stack.push_async_callback(queue.close)
        run_id = uuid7(datetime.now(UTC), token_bytes(10))
        stop = partial(_stop, store, queue, run_id, progress)
        with interrupts(stop) as interrupted:
            await _shelve(store, order)
            await _accept(store, queue, run_id, order)
            read = partial(_read, store, run_id)
            if order.suspend and not order.cancel:
                progress.note("spec.suspend is true, and nobody could resume the run here: nothing was started")
                return End(await read(), 1)
            await stack.enter_async_context(_runners(store, queue, order, means))
            asking = Questions(store, read, url, progress.note)
            run = await follow(asking.read, progress, _EVERY)
            await _outlived(store, run_id, asking.read, progress)
        code = exit_code(run) if interrupted.received is None else 128 + interrupted.received
        return End(run, code)


async def _shelve(store: Store, order: Order) -> None:
    """Let steps find the Workflows of the file."""
    for number, callee in enumerate(order.callees, start=1):
        revision = None
        if callee.plan is not None:
            revision = callee.plan.revision
            await store.save_revision(Revision(revision, callee.namespace, callee.name, callee.spec))
        now = datetime.now(UTC)
        shelved = Shelved(callee.namespace, callee.name, f"document {number}", now, 1, revision, callee.problem)
        await store.children.put(shelved)


async def _accept(store: Store, queue: LocalQueue, run_id: UUID, order: Order) -> None:
    plan = order.plan
    await store.save_revision(Revision(plan.revision, order.namespace, order.workflow, order.spec))
    new = NewRun(
        run_id=run_id,
        namespace=order.namespace,
        name=order.name,
        workflow=order.workflow,
        revision=plan.revision,
        inputs=order.inputs,
        roots=tuple(Root(node, plan.steps[node].pool) for node in plan.roots),
        total=plan.total,
        pool=plan.steps[0].pool,
        priority=order.priority,
        suspended=order.suspend,
        timeout=plan.timeout,
    )
    (accepted,) = await store.accept([new])
    jobs = await store.stop(run_id, _CANCEL) if order.cancel else accepted.jobs
    await queue.publish(jobs)


async def _stop(store: Store, queue: LocalQueue, run_id: UUID, progress: Progress) -> None:
    progress.note("cancelling the run; once more to kill it")
    await queue.publish(await store.stop(run_id, _CANCEL))
    for child in await _under_way(store, run_id):  # detached ones, too: nobody else would end them here
        await queue.publish(await store.stop(child.run_id, _CANCEL))


async def _outlived(store: Store, run_id: UUID, read: Read, progress: Progress) -> None:
    """Wait for child runs that go on when the run is over, detached ones or those that clean up: they end with us."""
    said: set[str] = set()
    while left := await _under_way(store, run_id):
        if new := [child.name for child in left if child.name not in said]:
            said.update(new)
            progress.note(f"the run is over; its child runs go on: {', '.join(new[:5])}{', ...' if new[5:] else ''}")
        await asyncio.sleep(_EVERY)
        await read()


async def _under_way(store: Store, run_id: UUID) -> list[ChildRecord]:
    return [child for child in await store.children.show(run_id) if not child.phase.done]


async def _read(store: Store, run_id: UUID) -> RunSnapshot:
    run = await store.run(run_id)
    if run is None:
        raise Unavailable(f"the store lost run {run_id}")
    return await Database(store).whole(run)


@asynccontextmanager
async def _runners(store: Store, queue: LocalQueue, order: Order, means: Means) -> AsyncIterator[None]:
    """The caretakers, and one runner for each pool that the plans name, all in this process."""
    setup = KindSetup(KindSettings(functions=means.functions))
    plans = [order.plan, *(callee.plan for callee in order.callees if callee.plan is not None)]
    pools = sorted({step.pool for plan in plans for step in plan.steps})
    try:
        kinds = {pool: load_kinds(setup) for pool in pools}
    except LeatError as error:
        raise Invalid.because(str(error)) from error
    async with AsyncExitStack() as stack:
        url = means.artifacts_url or Path(stack.enter_context(TemporaryDirectory(prefix="leat-artifacts-"))).as_uri()
        objects = Objects.connect(url)
        caretakers = Caretakers(store, queue, CaretakerOptions(interval=_ROUND), objects=objects)
        caretakers.start()
        stack.push_async_callback(caretakers.stop)
        for pool in pools:
            # No Workflow comes later than the file's.
            options = RunnerOptions(
                f"leat-run-{pool}", pool, heartbeat=_HEARTBEAT, grace=_GRACE, objects=objects, workflow_grace=0.0
            )
            runner = Runner(store, queue, kinds[pool], options, means.secrets)
            await runner.start()
            stack.push_async_callback(runner.stop)
        yield
