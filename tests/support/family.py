"""Runs that start others, on a runner and caretakers in this process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from tests.support.fleet import FUNCTIONS
from tests.support.graphs import Spec
from tests.support.load import a_run, revision_of
from tests.support.queue import eventually

from leat_engine.caretakers import CaretakerOptions, Caretakers
from leat_engine.kin import ChildRecord
from leat_engine.queue.local import LocalQueue
from leat_engine.records import NewRun, RunRecord
from leat_engine.store import Store
from leat_engine.store.children import Shelved
from leat_runner.family import Family, Household
from leat_runner.kinds import KindSettings, KindSetup, load_kinds
from leat_runner.work import Runner, RunnerOptions

NOTHING = cast("Any", None)
BORN = datetime(2026, 1, 1, tzinfo=UTC)


def no_family() -> Family:
    """A family that starts nothing."""
    return Family(Household(NOTHING, NOTHING, NOTHING, NOTHING, 0))


async def shelve(store: Store, name: str, spec: Spec, namespace: str = "test", generation: int = 1) -> str:
    """Let steps find this Workflow; its revision."""
    revision = revision_of(spec)
    await store.save_revision(revision)
    await store.children.put(Shelved(namespace, name, f"uid-of-{name}", BORN, generation, revision.id))
    return revision.id


@dataclass
class House:
    """A store with what works on it."""

    store: Store
    queue: LocalQueue

    async def begin(self, spec: Spec, **changes: Any) -> NewRun:
        """Let a run enter."""
        await self.store.save_revision(revision_of(spec))
        run = a_run(spec, **changes)
        (accepted,) = await self.store.accept([run])
        await self.queue.publish(list(accepted.jobs))
        return run

    async def ended(self, run_id: Any, seconds: float = 30) -> RunRecord:
        """The run, as soon as it is over."""

        async def over() -> bool:
            found = await self.store.run(run_id)
            return found is not None and found.phase.done

        await eventually(over, True, seconds)
        found = await self.store.run(run_id)
        assert found is not None
        return found

    async def run(self, spec: Spec, **changes: Any) -> RunRecord:
        """A run from its beginning to its end."""
        return await self.ended((await self.begin(spec, **changes)).run_id)

    async def child(self, run: Any, phase: str = "") -> ChildRecord:
        """The one child of a run, as soon as it is there, and in this phase if one is given."""

        async def there() -> bool:
            found = await self.store.children.show(run.run_id)
            return len(found) == 1 and phase in {"", found[0].phase.label}

        await eventually(there, True, 20)
        (child,) = await self.store.children.show(run.run_id)
        return child


@asynccontextmanager
async def a_house(store: Store, *, grace: float = 300.0, caretakers: bool = True) -> AsyncIterator[House]:
    queue = LocalQueue()
    kinds = load_kinds(KindSetup(KindSettings(functions=(str(FUNCTIONS),))))
    options = RunnerOptions("in-process", slots=20, heartbeat=0.2, grace=5, workflow_grace=grace)
    runner = Runner(store, queue, kinds, options)
    caring = Caretakers(store, queue, CaretakerOptions(interval=0.1, sweep_interval=0.1, forget_interval=0.1))
    await runner.start()
    if caretakers:
        caring.start()
    try:
        yield House(store, queue)
    finally:
        await caring.stop()
        await runner.stop()
        await queue.close()
