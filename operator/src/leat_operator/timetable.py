"""The timetable: runs of schedules are started at their moments, each moment once, whoever dies.

How far a schedule is settled is a row in the store; it moves on after a run was started, never before. An operator
that dies in between leaves a moment that the next one takes up again, and finds started. The clock is an argument of
`round`.
"""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto

import structlog

from leat_engine.errors import Rejected
from leat_engine.schedule import OnMiss, Policy, Settled, TriggerKey, turn
from leat_engine.spec.trigger import Schedule
from leat_engine.trigger import Trigger, run_at, written
from leat_operator import metrics
from leat_operator.catalog import Catalog, Listed
from leat_operator.cluster import NotFound, Refused
from leat_operator.insist import insist
from leat_operator.standing import Standing
from leat_operator.start import Starter

log = structlog.get_logger(__name__)

TICK = 0.5
AT_ONCE = 8
"""Schedules that are due at the same moment, and are served at the same time."""
PAUSE = 5.0
"""Seconds until a moment is tried again that could not be run now."""


class Outcome(Enum):
    """What became of a moment."""

    RUN = auto()
    PASSED = auto()  # no run is to be started for it
    HELD = auto()  # it is tried again


@dataclass(slots=True)
class Entry:
    """A schedule that is kept. ``not_before``: by the steady clock."""

    listed: Listed
    trigger: Trigger
    policy: Policy
    schedule: Schedule
    next_at: datetime | None = None
    not_before: float = 0.0

    @property
    def key(self) -> TriggerKey:
        """Its row in the store."""
        ref = self.listed.ref
        return TriggerKey(ref.namespace, ref.name, self.trigger.name, ref.uid)


class Timetable:
    """Keeps the schedules of all Workflows that the catalog knows."""

    def __init__(self, starter: Starter, catalog: Catalog, standing: Standing) -> None:
        self._starter = starter
        self._store = starter.store
        self._catalog = catalog
        self._standing = standing
        self._followed: dict[tuple[str, str], Listed] = {}
        self._entries: dict[tuple[str, str], list[Entry]] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """Keep them until cancelled."""
        while True:
            await self.round(datetime.now(UTC))
            await asyncio.sleep(TICK)

    async def round(self, now: datetime) -> None:
        """Start what is due."""
        await self._follow(now)
        steady = time.monotonic()
        ready = [
            entry
            for entries in self._entries.values()
            for entry in entries
            if entry.next_at is not None and entry.next_at <= now and entry.not_before <= steady
        ]
        await asyncio.gather(*(self._serve(entry, now) for entry in ready if self._is_current(entry)))

    def _is_current(self, entry: Entry) -> bool:
        """Whether its Workflow is still what it was: one that is wrong now keeps its moments for when it is mended."""
        return self._catalog.get(entry.listed.ref.namespace, entry.listed.ref.name) is entry.listed

    async def _follow(self, now: datetime) -> None:
        """Learn of Workflows that are new, have changed or are gone."""
        current = {(listed.ref.namespace, listed.ref.name): listed for listed in self._catalog.all()}
        for key in [key for key in self._followed if key not in current]:
            if self._entries.pop(key, None) is not None:
                await insist(lambda key=key: self._store.schedules.forget(*key))  # type: ignore[misc]  # of this turn
            del self._followed[key]
        for key, listed in current.items():
            if self._followed.get(key) is not listed and listed.compiled is not None:
                await self._enter(key, listed, now)
            self._followed[key] = listed

    async def _enter(self, key: tuple[str, str], listed: Listed, now: datetime) -> None:
        self._standing.list_triggers(key, (trigger.name for trigger in listed.triggers))
        before = self._entries.pop(key, [])
        entries = [
            Entry(listed, trigger, trigger.policy, trigger.spec.schedule)
            for trigger in listed.triggers
            if trigger.policy is not None and trigger.spec.schedule is not None
        ]
        names = [entry.trigger.name for entry in entries]
        if before and {entry.trigger.name for entry in before} - set(names):
            await insist(lambda: self._store.schedules.forget(*key, names))
        for entry in entries:
            settled = await self._settled(entry, now)
            self._tell(entry, settled.until, settled.fired_at, None)
        if entries:
            self._entries[key] = entries

    async def _settled(self, entry: Entry, now: datetime) -> Settled:
        return await insist(lambda: self._store.schedules.enroll(entry.key, now))

    async def _serve(self, entry: Entry, now: datetime) -> None:
        async with self._slots:
            try:
                await self._fire(entry, now)
            except Exception:  # a defect that one schedule meets must not stop the others
                log.exception("schedule not kept", trigger=entry.trigger.name, workflow=entry.listed.ref.name)
                entry.not_before = time.monotonic() + PAUSE

    async def _fire(self, entry: Entry, now: datetime) -> None:
        settled = await self._settled(entry, now)
        step = turn(entry.policy, settled.until, now)
        fired = settled.fired_at
        for moment in step.moments:
            outcome, why = await self._run(entry, moment)
            if outcome is Outcome.HELD:
                entry.not_before = time.monotonic() + PAUSE
                self._standing.tell_trigger(_standing_key(entry), entry.trigger.name, message=why)
                return
            last = moment == step.moments[-1]
            run = moment if outcome is Outcome.RUN else None
            until = step.until if last else moment
            await insist(lambda until=until, run=run: self._store.schedules.settle(entry.key, until, run))  # type: ignore[misc]
            fired = run or fired
            self._tell(entry, until, fired, why)
        if not step.moments:
            await insist(lambda: self._store.schedules.settle(entry.key, step.until, None))
            self._tell(entry, step.until, fired, None)

    async def _run(self, entry: Entry, moment: datetime) -> tuple[Outcome, str | None]:
        """Start the run of a moment, as far as it is to be started; and what to say of it."""
        ref = entry.listed.ref
        try:
            body = run_at(ref.name, entry.trigger, moment)
        except Rejected as rejected:
            metrics.UNFIRED.labels("misfit").inc()
            log.warning("moment fits no run", **_where(entry), moment=written(moment), reasons=str(rejected))
            return Outcome.PASSED, f"{written(moment)}: {rejected}"
        name = body["metadata"]["name"]
        try:
            if entry.schedule.overlap != "allow" and not await self._starter.was_started(ref.namespace, name):
                held = await self._make_room(entry, name)
                if held is not None:
                    return held
            await self._starter.start(ref.namespace, body, "schedule")
        except (Refused, NotFound) as error:
            metrics.UNFIRED.labels("refused").inc()
            log.warning("run not started", **_where(entry), moment=written(moment), error=str(error))
            return Outcome.HELD, f"{written(moment)}: {error}"
        return Outcome.RUN, None

    async def _make_room(self, entry: Entry, name: str) -> tuple[Outcome, str | None] | None:
        """Act on earlier runs that are not over. What to do with the moment instead of running it, if anything."""
        ref = entry.listed.ref
        found = await self._starter.unfinished(ref.namespace, ref.name, entry.trigger.name)
        earlier = [run for run in found if run.name != name]
        if len(earlier) < len(found) or not earlier:
            return None
        if entry.schedule.overlap == "forbid":
            metrics.UNFIRED.labels("overlap").inc()
            log.info("moment overlaps", **_where(entry), run=name, unfinished=earlier[0].name)
            waits = entry.policy.on_miss is OnMiss.CATCH_UP
            return (Outcome.HELD, f"waits for the end of {earlier[0].name}") if waits else (Outcome.PASSED, None)
        for run in earlier:
            await self._starter.cancel(run)
        return None

    def _tell(self, entry: Entry, until: datetime, fired: datetime | None, message: str | None) -> None:
        suspended = entry.policy.suspended
        entry.next_at = entry.policy.cron.next(until)
        shown = None if suspended or entry.next_at is None else written(entry.next_at)
        self._standing.tell_trigger(
            _standing_key(entry),
            entry.trigger.name,
            lastFiredAt=None if fired is None else written(fired),
            nextAt=shown,
            message="suspended" if suspended else message,
        )


def _standing_key(entry: Entry) -> tuple[str, str]:
    return entry.listed.ref.namespace, entry.listed.ref.name


def _where(entry: Entry) -> dict[str, str]:
    return {"namespace": entry.listed.ref.namespace, "workflow": entry.listed.ref.name, "trigger": entry.trigger.name}
