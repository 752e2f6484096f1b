"""Seats: what a runner asks before it executes a step of a namespace whose quota limits steps; and who follows a run.

Whatever arrived while the last question was under way is the next one, so that many steps share it. Who gets no seat
goes back to the store at once, and waits there without a runner. Other namespaces cost a look into a set.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import structlog
from prometheus_client import Counter

from leat_engine.crash import crash_point
from leat_engine.errors import StoreUnavailable
from leat_engine.job import StepKey
from leat_engine.store import Store
from leat_engine.store.quotas import Claimed, Limited, Seated, Seating
from leat_engine.view import RunView
from leat_runner.desk import RETRY_INTERVAL, Desk, persistently
from leat_runner.lobby import Aside, Publish

if TYPE_CHECKING:
    from leat_runner.attempt import Attempt

    Asking = tuple[Attempt, asyncio.Future[bool]]

FINISH = 2.0
"""Seconds for the last question at a stop."""

log = structlog.get_logger()
PUT_BACK = Counter("leat_steps_put_back", "Claims of steps that got no seat of their namespace's quota")


class Seats:
    """The quotas, as one runner meets them. ``leave`` forgets a run of which nothing is here any more."""

    def __init__(
        self, store: Store, desk: Desk, crossings: tuple[Publish, Aside], leave: Callable[[RunView], None]
    ) -> None:
        self.running: dict[StepKey, Attempt] = {}
        """What is executed here, of any namespace: it counts from the moment that its namespace has a quota."""
        self._store = store
        self._desk = desk
        self._publish, self._aside = crossings
        self._leave = leave
        self._limited = Limited()
        self._asking: dict[str, list[Asking]] = defaultdict(list)
        self._begun: dict[str, list[Attempt]] = defaultdict(list)
        self._leaving: dict[str, list[Claimed]] = defaultdict(list)
        self._returned: set[Claimed] = set()
        self._rounds: dict[str, asyncio.Task[None]] = {}
        self._admitting: dict[str, bool] = {}

    async def learn(self) -> None:
        """Ask the store where quotas are.

        Raises:
            StoreUnavailable: Postgres does not answer.
        """
        limited = await self._store.quotas.limited()
        new = limited.steps - self._limited.steps
        self._limited = limited
        for attempt in self.running.values() if new else ():
            if attempt.view.namespace in new and self.limits(attempt):
                self._begun[attempt.view.namespace].append(attempt)
                self._go(attempt.view.namespace)

    async def finish(self) -> None:
        """Give the seats of what has ended to others; a store that is away leaves that to the caretakers."""
        if self._rounds:
            await asyncio.wait(self._rounds.values(), timeout=FINISH)
        self.clear()

    def clear(self) -> None:
        """Fenced: what was asked is asked by others."""
        for task in self._rounds.values():
            task.cancel()
        for waiting in (self._rounds, self._asking, self._begun, self._leaving, self._returned, self.running):
            waiting.clear()

    # -- steps ----------------------------------------------------------------------------------------------------

    def limits(self, attempt: "Attempt") -> bool:
        """Whether the attempt needs a seat. What is done in a run that is being stopped does not: it is to end soon."""
        view = attempt.view
        return view.namespace in self._limited.steps and not attempt.node.light and not view.halted

    async def ask(self, attempt: "Attempt") -> bool:
        """Whether it may execute; else it is not this runner's any more."""
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._asking[attempt.view.namespace].append((attempt, answer))
        self._go(attempt.view.namespace)
        return await answer

    def left(self, attempt: "Attempt") -> None:
        """The attempt is over, or parked: give its seat to whoever is next."""
        if attempt.view.namespace in self._limited.steps and not attempt.node.light:
            self._leaving[attempt.view.namespace].append((attempt.key, attempt.number))
            self._go(attempt.view.namespace)

    def returned(self, attempt: "Attempt") -> bool:
        """Whether the attempt was put back, so that there is nothing to write; told once."""
        if not self._returned or (claim := (attempt.key, attempt.number)) not in self._returned:
            return False
        self._returned.discard(claim)
        return True

    def _go(self, namespace: str) -> None:
        if namespace not in self._rounds:
            self._rounds[namespace] = asyncio.create_task(self._round(namespace))

    async def _round(self, namespace: str) -> None:
        try:
            while any(waiting.get(namespace) for waiting in (self._asking, self._begun, self._leaving)):
                asking = self._asking.pop(namespace, [])
                try:
                    await self._ask(namespace, asking)
                except Exception:  # a defect must not leave steps asking for ever: the question is put again
                    log.exception("seats_defect", namespace=namespace)
                    self._asking[namespace] += [each for each in asking if not each[1].done()]
                    await asyncio.sleep(RETRY_INTERVAL)
        finally:
            if self._rounds.get(namespace) is asyncio.current_task():
                del self._rounds[namespace]

    async def _ask(self, namespace: str, asking: "list[Asking]") -> None:
        asked = {attempt.key for attempt, _ in asking}
        leaving = [claim for claim in self._leaving.pop(namespace, ()) if claim[0] not in asked]  # it comes again
        known = asked | {key for key, _ in leaving}
        begun = [_claim(attempt) for attempt in self._begun.pop(namespace, ()) if attempt.key not in known]
        seating = Seating([_claim(attempt) for attempt, _ in asking], begun, leaving)
        runner = self._desk.runner
        crash_point("before seat")
        seated: Seated = await persistently("seat", lambda: self._store.quotas.seat(namespace, runner, seating))
        crash_point("after seat")
        if seated.jobs:
            self._aside(self._publish(seated.jobs))
        refused: list[Asking] = []
        for attempt, answer in asking:
            if answer.done():
                continue  # interrupted meanwhile
            if attempt.key in seated.seats:
                answer.set_result(True)
            else:
                refused.append((attempt, answer))
        if refused:
            await self._put_back(namespace, refused)

    async def _put_back(self, namespace: str, refused: "list[Asking]") -> None:
        """With the committer's lock: whoever compares store and desk finds the claims on both, or on neither."""
        runner, age, claims = self._desk.runner, self._desk.age, [_claim(attempt) for attempt, _ in refused]
        async with self._desk.writing:
            crash_point("before put back")
            put_back = partial(self._store.quotas.put_back, namespace, runner, claims)
            jobs = await persistently("put_back", put_back)
            crash_point("after put back")
            for attempt, answer in refused:
                if self._desk.age == age and not answer.done():
                    self._return(attempt)
                    answer.set_result(False)
        PUT_BACK.inc(len(refused))
        if jobs:
            self._aside(self._publish(jobs))

    def _return(self, attempt: "Attempt") -> None:
        view, desk = attempt.view, self._desk
        self._returned.add(_claim(attempt))
        for known in (desk.tasks, desk.begun, self.running):
            known.pop(attempt.key, None)
        view.share()
        view.live.discard(attempt.node.id)
        desk.give(attempt.node)
        root = view.root
        view.close()
        if root.idle:
            self._leave(root)

    # -- runs -----------------------------------------------------------------------------------------------------

    def followed(self, view: RunView) -> None:
        """Nothing of a run is here any more: if it has ended, the next one of its namespace may begin."""
        namespace = view.namespace
        if namespace not in self._limited.runs:
            return
        if namespace in self._admitting:
            self._admitting[namespace] = True
            return
        self._admitting[namespace] = False
        self._aside(self._admit(namespace))

    async def _admit(self, namespace: str) -> None:
        try:
            again = True
            while again:
                self._admitting[namespace] = False
                crash_point("before admit")
                jobs = await self._store.quotas.admit(namespace)
                crash_point("after admit")
                if jobs:
                    self._aside(self._publish(jobs))
                again = self._admitting[namespace]
        except StoreUnavailable as error:
            log.warning("admit_held", namespace=namespace, reason=str(error))  # the caretakers do it
        finally:
            del self._admitting[namespace]


def _claim(attempt: "Attempt") -> Claimed:
    return attempt.key, attempt.number
