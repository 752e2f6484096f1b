"""When runs are likely to have ended, for their statuses. It costs no write, and is never worth waiting for.

How far runs are is one question for all that were reported together; what is known of a workflow's steps is asked for
once a minute at most, when a run of it is told something.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog
from cachetools import LRUCache

from leat_engine.durations import Facts, expectations
from leat_engine.errors import StoreUnavailable
from leat_engine.estimate import Forecast, Situation, goes_on
from leat_engine.plan import Plan
from leat_engine.records import RunRecord
from leat_engine.store import Store
from leat_engine.store.durations import WorkflowKey

log = structlog.get_logger(__name__)

YOUNG = timedelta(seconds=1)
"""Nobody asks how far a run is that began so lately: it is where it began."""

FRESH = 60.0
"""Seconds for which what is known of a workflow is not asked for again."""

NEW = 5.0
"""The same, of a workflow of which nothing is known: its first runs are about to end."""

_PATIENCE = 1.0
"""Seconds that a status waits for the store because of an estimate."""

_WORKFLOWS = 2000


@dataclass(frozen=True, slots=True)
class Looked:
    """How far a run was at a moment of the steady clock."""

    situation: Situation
    at: float

    def now(self, clock: float) -> Situation:
        """How far it is, if nothing has ended since."""
        live = {node: seconds + clock - self.at for node, seconds in self.situation.live.items()}
        return replace(self.situation, live=live)


@dataclass(frozen=True, slots=True)
class _Kept:
    revision: str
    at: float
    forecast: Forecast | None


class Forecasts:
    """Estimates for the runs of all workflows."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: LRUCache[WorkflowKey, _Kept] = LRUCache(_WORKFLOWS)
        self._asking = asyncio.Lock()

    async def look(self, runs: Iterable[RunRecord]) -> Mapping[UUID, Looked]:
        """How far these runs are, as far as anybody will ask.

        Raises:
            StoreUnavailable: Postgres does not answer.
        """
        now = datetime.now(UTC)
        asked = [run.run_id for run in runs if goes_on(run) and (run.rerun_of or now - run.started_at > YOUNG)]
        if not asked:
            return {}
        clock = time.monotonic()
        found = await self._store.durations.situations(asked)
        return {run_id: Looked(situation, clock) for run_id, situation in found.items()}

    async def learn(self, run: RunRecord, plan: Plan | None) -> None:
        """Know what is to be known of the run's workflow, or go without it."""
        key = WorkflowKey(run.namespace, run.workflow)
        if plan is None or not goes_on(run) or self._is_fresh(key, run.revision):
            return
        try:
            async with asyncio.timeout(_PATIENCE), self._asking:
                if self._is_fresh(key, run.revision):
                    return
                facts = (await self._store.durations.of([key]))[key]
                forecast = await _forecast(plan, facts) if facts else None
                self._kept[key] = _Kept(run.revision, time.monotonic(), forecast)
        except (StoreUnavailable, TimeoutError) as error:
            log.info("told without an estimate", run=str(run.run_id), error=str(error))

    def finish(self, run: RunRecord, plan: Plan | None, looked: Looked | None) -> datetime | None:
        """When the run is likely to have ended; None when too little is known."""
        kept = self._kept.get(WorkflowKey(run.namespace, run.workflow))
        if plan is None or kept is None or kept.forecast is None or kept.revision != run.revision or not goes_on(run):
            return None
        now = datetime.now(UTC)
        if looked is not None:
            situation = looked.now(time.monotonic())
        elif run.rerun_of:
            return None  # what it has kept is not known here
        else:
            situation = Situation(live=dict.fromkeys(plan.roots, max((now - run.started_at).total_seconds(), 0.0)))
        try:
            return kept.forecast.estimate(situation, now, path=False).finish
        except Exception:  # a defect here must not keep a status from being told
            log.exception("not estimated", run=str(run.run_id))
            return None

    def _is_fresh(self, key: WorkflowKey, revision: str) -> bool:
        kept = self._kept.get(key)
        if kept is None or kept.revision != revision:
            return False
        return time.monotonic() - kept.at < (FRESH if kept.forecast else NEW)


async def _forecast(plan: Plan, facts: Mapping[str, Facts]) -> Forecast | None:
    """What is expected of a plan's steps, worked out beside the loop."""
    try:
        return await asyncio.to_thread(Forecast, plan, expectations(facts))
    except Exception:  # nor here
        log.exception("no forecast", revision=plan.revision)
        return None
