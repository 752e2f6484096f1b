"""One attempt on its way through the gates of its step: slot, rate, breaker, in this order.

The slot comes first, so that a token is taken only for what starts then; the breaker last, so that the one attempt that
it lets through half-open runs at once.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog
from prometheus_client import Counter

from leat_engine.fuse import Position
from leat_engine.restraint import Fuse, Kept, Rate, Slots, key_of
from leat_engine.result import ErrorType, Failed, Outcome, Parked, StepError
from leat_engine.store.turns import Key, Wish
from leat_runner.desk import persistently
from leat_runner.lobby import MET, Lobby, busy, lost, time_left

if TYPE_CHECKING:
    from leat_runner.attempt import Attempt

Perform = Callable[["Attempt"], Awaitable[Outcome]]

log = structlog.get_logger()
OPENED = Counter("leat_breaker_opened", "Times that a breaker opened")


@dataclass(frozen=True, slots=True)
class Keys:
    """The parts of a step's restraint, each with its key."""

    slots: tuple[Slots, Key] | None
    rate: tuple[Rate, Key] | None
    fuse: tuple[Fuse, Key] | None
    cache: tuple[Kept, Key] | None


class Passage:
    """What an attempt goes through. ``went_on``: it had passed before, parked by its own kind, and goes on now."""

    def __init__(self, lobby: Lobby, attempt: "Attempt", keys: Keys) -> None:
        self._lobby = lobby
        self._attempt = attempt
        self._keys = keys
        self._went_on = attempt.resumed and keys.slots is None and keys.rate is None
        self._probe = False

    async def enter(self) -> Outcome | None:
        """None when the attempt may execute; else it waits, or fails."""
        left = time_left(self._attempt)
        if left is not None and left <= 0:
            self._leave()
            return Failed(StepError(ErrorType.TIMEOUT, "the deadline passed while it waited", retriable=False))
        stopped = await self._slot() or await self._token() or await self._breaker()
        if isinstance(stopped, Failed):
            self._leave()
        return stopped

    async def perform(self, perform: Perform) -> Outcome:
        """Execute, and tell those who come after how it ended."""
        attempt = self._attempt
        try:
            outcome = await perform(attempt if self._went_on else replace(attempt, resumed=False))
        except asyncio.CancelledError:
            if attempt.view.halted:
                self._leave()  # else the runner goes, and its step keeps the slot for whoever goes on with it
            raise
        if not isinstance(outcome, Parked):
            await self._tell(outcome)
            self._leave()
        return outcome

    def _leave(self) -> None:
        slots, rate = self._keys.slots, self._keys.rate
        if slots is not None or rate is not None:
            self._lobby.aside(self._lobby.leave(self._attempt, None if slots is None else slots[1]))

    async def _slot(self) -> Outcome | None:
        if self._keys.slots is None:
            return None
        lobby, attempt, (slots, key) = self._lobby, self._attempt, self._keys.slots
        wish = Wish(slots.limit, begin=self._keys.rate is None, queue=slots.conflict == "queue")
        entered = await persistently("enter", lambda: lobby.turns.enter(lobby.claimed(attempt), key, wish))
        lobby.hand_over(entered.jobs)
        self._went_on = entered.went_on
        if entered.lost:
            return lost(attempt)
        if entered.held is None:
            MET.labels("concurrency", "rejected").inc()
            return Failed(busy(key, slots.limit))
        if entered.held:
            return None
        MET.labels("concurrency", "queued").inc()
        lobby.lines[attempt.key] = key
        return await lobby.wait(attempt, lobby.net, f"waits for concurrency {key.text} (position {entered.before + 1})")

    async def _token(self) -> Outcome | None:
        if self._keys.rate is None:
            return None
        lobby, attempt, (rate, key) = self._lobby, self._attempt, self._keys.rate
        taken = await persistently("take", lambda: lobby.turns.take(lobby.claimed(attempt), key, rate))
        if taken.lost:
            return lost(attempt)
        self._went_on = taken.went_on
        if taken.counted:
            await asyncio.sleep(taken.wait)
            return None
        MET.labels("rate", "queued").inc()
        return await lobby.wait(attempt, taken.wait, f"waits for rateLimit {key.text} ({taken.wait:.0f} s)")

    async def _breaker(self) -> Outcome | None:
        if self._keys.fuse is None or self._went_on:
            return None
        lobby, attempt, (fuse, key) = self._lobby, self._attempt, self._keys.fuse
        answer = await persistently("ask", lambda: lobby.turns.ask(lobby.claimed(attempt), key, fuse))
        self._probe = answer.probe
        if answer.allowed:
            return None
        MET.labels("breaker", "failed").inc()
        message = f"breaker {key.text} is open; it may be tried in {answer.wait:.0f} s"
        details = {"key": key.text, "retryAfter": round(answer.wait, 3)}
        return Failed(StepError(ErrorType.BREAKER_OPEN, message, details=details))

    async def _tell(self, outcome: Outcome) -> None:
        """Failures that another try would not help speak of the step, not of what it needs."""
        failure = isinstance(outcome, Failed) and outcome.error.retriable
        if self._keys.fuse is None or not (failure or self._probe or self._went_on):
            return
        lobby, attempt, (fuse, key) = self._lobby, self._attempt, self._keys.fuse
        claim = lobby.claimed(attempt)
        after = await persistently("tell", lambda: lobby.turns.tell(claim, key, fuse, failed=failure))
        if failure and after is Position.OPEN:
            OPENED.inc()
            log.warning("breaker_opened", key=key.text, namespace=key.namespace, seconds=fuse.cool_down)


def keys_of(attempt: "Attempt") -> Keys:
    """The keys of an attempt's limits.

    Raises:
        ExpressionError: One has no value, or none that may be shown.
    """
    view, node = attempt.view, attempt.node
    restraint = node.restraint
    if restraint is None:
        return Keys(None, None, None, None)
    bound = view.bindings(node.reads, {}, attempt.clock())
    redaction = view.redaction
    own = f"{view.workflow}/{view.plan.full_name(node)}"

    def key(part: Slots | Rate | Fuse | Kept) -> Key:
        return Key(view.namespace, key_of(part.key, own, bound, redaction))

    slots, rate, fuse, cache = restraint.slots, restraint.rate, restraint.fuse, restraint.cache
    return Keys(
        None if slots is None else (slots, key(slots)),
        None if rate is None else (rate, key(rate)),
        None if fuse is None else (fuse, key(fuse)),
        None if cache is None else (cache, Key(view.namespace, f"{own}/{key(cache).text}")),
    )
