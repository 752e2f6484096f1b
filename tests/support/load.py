"""Runs put on real runners, and the account that is made of them afterwards: what was lost, doubled, stuck."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Self
from uuid import UUID

import asyncpg
import orjson
from tests.support.fleet import NAMESPACE, RunnerProcess
from tests.support.graphs import INNER, Graph, Spec
from tests.support.queue import eventually

from leat_engine.errors import QueueUnavailable, StoreUnavailable
from leat_engine.job import END, ROOT_SCOPE, Job, uuid7
from leat_engine.plan import Plan, compile_plan, revision_id
from leat_engine.queue.rabbit import RabbitQueue
from leat_engine.records import NewRun, Revision, Root
from leat_engine.result import State
from leat_engine.spec import parse_spec
from leat_engine.spec.kinds import load_models
from leat_engine.store import Store

WITNESS = """
create schema if not exists witness;
create table if not exists witness.written (run_id uuid, scope int, id int, attempt int, state int, output text);
create or replace function witness.note() returns trigger language plpgsql as $$
begin
  if tg_op = 'INSERT' and new.state >= 4
     or tg_op = 'UPDATE' and (new.state >= 4 or old.state >= 4)
        and (old.state, old.output::text, old.error::text, old.attempt)
            is distinct from (new.state, new.output::text, new.error::text, new.attempt) then
    insert into witness.written values (new.run_id, new.scope, new.id, new.attempt, new.state, new.output::text);
  end if;
  return null;
end $$;
drop trigger if exists witness on leat.step;
create trigger witness after insert or update on leat.step for each row execute function witness.note();
"""
"""Postgres itself notes every end that is written: one per step is right, a second one is a doubled result."""


@dataclass
class Account:
    """What became of the runs.

    Attributes:
        lost: Steps that must have succeeded, and whose result or effect is not there.
        doubled: Steps whose end was written more than once; attempts that were executed more than once.
        stuck: Runs that did not end in time.
        wrong: Runs that ended otherwise than they must.
    """

    runs: int = 0
    steps: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (self.lost or self.doubled or self.stuck or self.wrong)

    def __str__(self) -> str:
        sums = (f"{name} {len(getattr(self, name))}" for name in ("lost", "doubled", "stuck", "wrong"))
        cases = [*self.lost, *self.doubled, *self.stuck, *self.wrong][:10]
        return "\n".join([f"runs {self.runs}, steps {self.steps}, " + ", ".join(sums), *cases])


class Load:
    """A client of one installation: lets runs enter, waits for them, makes the account."""

    def __init__(self, store: Store, queue: RabbitQueue, dsn: str, effects: Path) -> None:
        self.store = store
        self.dsn = dsn
        self._queue = queue
        self._effects = effects
        self._graphs: dict[UUID, Graph] = {}

    @classmethod
    @asynccontextmanager
    async def connected(cls, dsn: str, amqp_url: str, effects: Path) -> AsyncIterator[Self]:
        async with AsyncExitStack() as stack:
            store = await Store.connect(dsn)
            stack.push_async_callback(store.close)
            queue = await RabbitQueue.connect(amqp_url, NAMESPACE)
            stack.push_async_callback(queue.close)
            yield cls(store, queue, dsn, effects)

    async def kill(self, doomed: RunnerProcess, point: str, waves: Iterable[Iterable[Graph]]) -> None:
        """Submit one wave of graphs after the other until the runner has died at the named point, which it must."""
        for graphs in waves:
            await self.submit(graphs)
            if await doomed.dies(0.5):
                break
        assert await doomed.dies(10), f"it never came to {point!r}"
        assert doomed.code == -9

    async def submit(self, graphs: Iterable[Graph]) -> list[UUID]:
        """Let one run of each graph enter, however often Postgres has to be asked."""
        runs = []
        for graph in graphs:
            new = a_run(graph.spec)
            await insist(self.store.save_revision, revision_of(graph.spec))
            runs.append((new, graph))
        self._graphs |= {new.run_id: graph for new, graph in runs}
        accepted = await insist(self.store.accept, [new for new, _ in runs])
        await self.publish([job for one in accepted for job in one.jobs])
        return [new.run_id for new, _ in runs]

    async def publish(self, jobs: list[Job]) -> None:
        try:
            await self._queue.publish(jobs)
        except QueueUnavailable:
            return  # the store has them: runners poll, and resend

    async def unfinished(self) -> list[UUID]:
        rows = await insist(
            self._ask, "select id from leat.run where finished_at is null and id = any($1) order by id", self._ids
        )
        return [row["id"] for row in rows]

    async def settle(self, seconds: float = 60) -> Account:
        """Wait until every run has ended, then make the account."""
        with suppress(AssertionError):  # the account names them
            await eventually(self.unfinished, [], seconds)
        return await self.account()

    async def account(self) -> Account:
        account = Account(runs=len(self._graphs))
        account.stuck = [await self._describe(run_id) for run_id in await self.unfinished()]
        written = Counter(
            (row["run_id"], row["scope"], row["id"])
            for row in await self._ask(
                "select run_id, scope, id from witness.written where run_id = any($1)", self._ids
            )
        )
        account.doubled += [f"step {key} ended {count} times" for key, count in written.items() if count > 1]
        lines = Counter(self._effects.read_text().splitlines()) if self._effects.exists() else Counter[str]()
        mine = {str(run_id) for run_id in self._graphs}
        account.doubled += [f"attempt {k} was executed {n} times" for k, n in lines.items() if n > 1 and k[:36] in mine]
        effects = {tuple(line.replace(INNER, "").split()[:2]) for line in lines}
        for run_id, graph in self._graphs.items():
            account.steps += len(graph.spec["steps"])
            await self._compare(run_id, graph, account, effects)
        return account

    async def _compare(self, run_id: UUID, graph: Graph, account: Account, effects: set[tuple[str, ...]]) -> None:
        run = await self.store.run(run_id)
        if run is None:
            account.lost.append(f"run {run_id} is not in the store")
            return
        if not run.phase.done:
            return
        if run.error is not None and run.error.get("type") == "RunnerLost":
            return  # so many runners died under one step that it counts as what kills them: as it should be
        if run.phase.label != graph.phase:
            account.wrong.append(f"run {run_id} is {run.phase.label}, expected {graph.phase}: {run.error}")
        if run.live:
            account.wrong.append(f"run {run_id} is over with {run.live} live steps")
        if graph.undoes:
            await self._compare_cleanup(run_id, graph, account)
        if graph.phase != "Succeeded":
            return
        if run.output != graph.outputs:
            account.wrong.append(f"run {run_id}: {run.output}, expected {graph.outputs}")
        names = [step["name"] for step in graph.spec["steps"]]
        records = [step for step in await self.store.steps(run_id) if step.key.scope == ROOT_SCOPE]
        ended = {names[step.key.step - 1] for step in records if step.state is State.SUCCEEDED}
        account.lost += [f"{run_id} {name}: no result" for name in graph.effects - ended]
        account.lost += [f"{run_id} {name}: no effect" for name in graph.effects if (str(run_id), name) not in effects]

    async def _compare_cleanup(self, run_id: UUID, graph: Graph, account: Account) -> None:
        """Of a run that failed, everything that succeeded is undone, what ended last first, one after the other."""
        plan = plan_of(graph.spec)
        by = {undo.node: undo.by for undo in plan.undoing}
        rows = await self._ask(
            "select scope, id, state, started_at, finished_at from leat.step where run_id = $1", run_id
        )
        done = [row for row in rows if row["state"] == State.SUCCEEDED and row["id"] in by]
        undone = {(row["scope"], row["id"]): row for row in rows if row["id"] in by.values()}
        if not any(plan.steps[row["id"]].name == "last" and row["state"] == State.SUCCEEDED for row in rows):
            account.lost.append(f"{run_id}: `finally` was not done")
        if graph.phase == "Succeeded":
            account.wrong += [f"{run_id} {key} was undone, and the run succeeded" for key in undone]
            return
        pairs = [(row, undone.get((row["scope"], by[row["id"]]))) for row in done]
        account.lost += [
            f"{run_id} {(row['scope'], row['id'])} was not undone"
            for row, undo in pairs
            if undo is None or undo["state"] != State.SUCCEEDED
        ]
        order = sorted((undo["started_at"], undo["finished_at"], row["finished_at"]) for row, undo in pairs if undo)
        account.wrong += [
            f"{run_id}: undone in another order: {before}, {after}"
            for before, after in pairwise(order)
            if before[2] < after[2] or before[1] > after[0]
        ]

    @property
    def _ids(self) -> list[UUID]:
        return list(self._graphs)

    async def _describe(self, run_id: UUID) -> str:
        rows = await self._ask(
            "select json_build_object('run', (select row_to_json(r) from (select id, phase, live, stopping, ending,"
            " suspended from leat.run where id = $1) r),"
            " 'steps', (select json_agg(s) from (select id, state, attempt, lost, runner, needs, waiting from leat.step"
            "   where run_id = $1 order by id) s),"
            " 'ready', (select json_agg(d) from leat.ready d where run_id = $1),"
            " 'timers', (select json_agg(t) from leat.timer t where run_id = $1),"
            " 'holds', (select json_agg(h.runner) from leat.hold h where run_id = $1)) as found",
            run_id,
        )
        return str(orjson.loads(rows[0]["found"]))

    async def _ask(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        try:
            connection = await asyncpg.connect(self.dsn, timeout=5)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise StoreUnavailable(str(error)) from error
        try:
            return await connection.fetch(sql, *arguments, timeout=10)
        except (OSError, TimeoutError, asyncpg.PostgresConnectionError) as error:
            raise StoreUnavailable(str(error)) from error
        finally:
            connection.terminate()


async def insist(ask: Any, *arguments: Any) -> Any:
    """Ask the store until it answers."""
    while True:
        try:
            return await ask(*arguments)
        except StoreUnavailable:
            await asyncio.sleep(0.1)


async def witnessed(dsn: str) -> None:
    """Have Postgres note every end of a step from now on."""
    connection = await asyncpg.connect(dsn)
    await connection.execute(WITNESS)
    await connection.close()


def plan_of(spec: Spec) -> Plan:
    parsed = parse_spec(spec)
    return compile_plan(parsed, load_models(), revision_id(parsed.as_json()))


def revision_of(spec: Spec) -> Revision:
    parsed = parse_spec(spec)
    return Revision(revision_id(parsed.as_json()), "test", "test", parsed.as_json())


def a_run(spec: Spec, **changes: Any) -> NewRun:
    """A run of the workflow, as intake would make it."""
    plan = plan_of(spec)
    run_id = uuid7(datetime.now(UTC), os.urandom(10))
    fields: dict[str, Any] = {
        "run_id": run_id,
        "namespace": "test",
        "name": f"run-{run_id.hex[-8:]}",
        "workflow": "test",
        "revision": plan.revision,
        "inputs": {},
        "roots": tuple(Root(node, plan.steps[node].pool) for node in plan.roots),
        "total": plan.total,
        "pool": plan.steps[END].pool,
        "timeout": plan.timeout,
    }
    return NewRun(**{**fields, **changes})
