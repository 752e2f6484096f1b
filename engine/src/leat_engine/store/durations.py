"""How long steps take, in the store: folded out of runs that are over, read for estimates.

To fold is one transaction with the mark up to which runs were looked at, so a run counts once, whoever dies. Each time
is bounded in runs and in steps; what comes faster than that is sampled.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from asyncpg.pool import PoolConnectionProxy
from cachetools import LRUCache

from leat_engine.crash import crash_point
from leat_engine.durations import FLOOR, RATIO, Facts, Known, expectations, known_steps
from leat_engine.errors import Rejected
from leat_engine.estimate import Estimate, Forecast, Opened, Situation, goes_on
from leat_engine.job import dumps
from leat_engine.plan import Plan
from leat_engine.records import RunRecord
from leat_engine.result import State
from leat_engine.spec import parse_spec
from leat_engine.store.access import Connect
from leat_engine.store.rows import json_of
from leat_engine.store.schema import bound

RUNS = 200
"""Runs that are folded at once."""

STEPS = 500
"""Steps of one run that are folded, the first ones; as many of its own are looked at for an estimate."""

REMEMBERED = 20_000
"""Runs that are looked at again because they were not over; of more, nothing is learned."""

SETTLED = timedelta(seconds=3)
"""Ids are made before their rows: nothing is learned of a run that was accepted later than that."""

BEHIND = timedelta(minutes=1)
"""Runs that wait to be looked at for longer are passed over."""


class WorkflowKey(NamedTuple):
    """A workflow by its namespace and name."""

    namespace: str
    workflow: str


class _StepKey(NamedTuple):
    namespace: str
    workflow: str
    step: str


class Durations:
    """The crossing to the tables of durations. Everything raises `StoreUnavailable` when Postgres does not answer."""

    def __init__(self, connect: Connect, sql: Mapping[str, str]) -> None:
        self._connect = connect
        self._sql = sql
        self._steps: LRUCache[str, Mapping[int, Known]] = LRUCache(1000)  # by revision

    async def of(self, workflows: Sequence[WorkflowKey]) -> dict[WorkflowKey, dict[str, Facts]]:
        """What is known of the steps of workflows, by path; nothing of those that have never ended a run."""
        found: dict[WorkflowKey, dict[str, Facts]] = {key: {} for key in workflows}
        async with self._connect() as connection:
            columns = [key.namespace for key in found], [key.workflow for key in found]
            for row in await connection.fetch(self._sql["durations"], *columns):
                key = WorkflowKey(row["namespace"], row["workflow"])
                found[key][row["step"]] = Facts.of(row["kind"], json_of(row["facts"]))
        return found

    async def situations(self, runs: Sequence[UUID]) -> dict[UUID, Situation]:
        """How far runs are."""
        async with self._connect() as connection:
            rows = await connection.fetch(self._sql["situations"], list(runs), STEPS)
        return {
            row["run_id"]: Situation(
                frozenset(row["done"]),
                dict(zip(row["live"], row["since"], strict=True)),
                {
                    node: Opened(*numbers)
                    for node, *numbers in zip(row["openers"], row["sizes"], row["opened"], row["settled"], strict=True)
                },
            )
            for row in rows
        }

    async def estimate(self, run: RunRecord, plan: Plan, now: datetime) -> Estimate | None:
        """What is to be expected of a run; None if it is not on its way, or nothing is known of its workflow."""
        if not goes_on(run):
            return None
        key = WorkflowKey(run.namespace, run.workflow)
        facts = (await self.of([key]))[key]
        if not facts:
            return None
        situation = (await self.situations([run.run_id]))[run.run_id]

        def look() -> Estimate:
            return Forecast(plan, expectations(facts)).estimate(situation, now)

        return await asyncio.to_thread(look)  # of a plan with thousands of steps it takes a while

    async def fold(self, now: datetime) -> int:
        """Learn from runs that ended; how many that were. The same run is never learned from twice."""
        until, passed_over = UUID(bound(now - SETTLED)), UUID(bound(now - BEHIND))
        async with self._connect() as connection, connection.transaction():
            upto: UUID = await connection.fetchval(self._sql["lock_folding"])
            again = await connection.fetch(self._sql["look_again"], RUNS)
            new = await connection.fetch(self._sql["look"], upto, until, RUNS, REMEMBERED)
            over = [*(row["run_id"] for row in again), *(row["id"] for row in new if row["over"])]
            if over:
                await self._learn(connection, over)
            reached = max(new[-1]["id"], passed_over) if len(new) == RUNS else until
            if reached > upto:
                await connection.execute(self._sql["folded"], reached)
            crash_point("before fold")
        crash_point("after fold")
        return len(over)

    async def forget(self, after: timedelta) -> None:
        """Forget steps of which nothing was heard for so long."""
        async with self._connect() as connection:
            await connection.execute(self._sql["forget_durations"], after.total_seconds())

    async def _learn(self, connection: PoolConnectionProxy, runs: Sequence[UUID]) -> None:
        counts: dict[_StepKey, dict[str, Any]] = {}
        for row in await connection.fetch(self._sql["observe"], runs, STEPS, FLOOR, RATIO):
            known = (await self._known(connection, row["revision"])).get(row["step"])
            if known is not None:
                key = _StepKey(row["namespace"], row["workflow"], known.path)
                bucket = row["bucket"] - known.body if row["what"] == "body" else row["bucket"]
                _count(counts.setdefault(key, {"kind": known.kind}), row["what"], bucket, row["count"])
        if not counts:
            return
        news = {key: _facts(found) for key, found in counts.items()}
        workflows = sorted({(key.namespace, key.workflow) for key in news})
        rows = await connection.fetch(self._sql["durations"], *zip(*workflows, strict=True))
        before = {
            _StepKey(row["namespace"], row["workflow"], row["step"]): Facts.of(row["kind"], json_of(row["facts"]))
            for row in rows
        }
        facts = {key: found.after(before.get(key)) for key, found in news.items()}
        columns = [[key[index] for key in facts] for index in range(3)]
        kinds, texts = [found.kind for found in facts.values()], [dumps(found.as_json()) for found in facts.values()]
        await connection.execute(self._sql["keep_durations"], *columns, kinds, texts)

    async def _known(self, connection: PoolConnectionProxy, revision: str) -> Mapping[int, Known]:
        if revision not in self._steps:
            rows = await connection.fetch(self._sql["revision"], revision)
            try:
                self._steps[revision] = known_steps(parse_spec(json_of(rows[0]["spec"]))) if rows else {}
            except Rejected:  # of a program that takes another language
                self._steps[revision] = {}
        return self._steps[revision]


def _count(found: dict[str, Any], what: str, bucket: int, count: int) -> None:
    if what == "tries":
        found["tries"] = found.get("tries", 0) + count
        return
    weights = found.setdefault(what, {})
    weights[bucket] = weights.get(bucket, 0) + count


def _facts(found: Mapping[str, Any]) -> Facts:
    """Counts of `observe.sql` as facts; bodies are counted from the first one of their step."""
    states, bodies = found.get("state", {}), found.get("body", {})
    failed = states.get(State.FAILED, 0)
    return Facts(
        kind=found["kind"],
        ran=float(states.get(State.SUCCEEDED, 0) + failed),
        skipped=float(states.get(State.SKIPPED, 0) + states.get(State.OMITTED, 0)),
        failed=float(failed),
        tries=float(found.get("tries", 0)),
        scopes=float(sum(bodies.values())),
        cases={case: float(count) for case, count in bodies.items()},
        took={bucket: float(count) for bucket, count in found.get("took", {}).items()},
        span={bucket: float(count) for bucket, count in found.get("span", {}).items()},
    )
