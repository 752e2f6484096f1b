"""What an attempt passes before it executes: the slot of its run, the cache, and the gates of its step (`passage`).

Who waits does so in the store, without a slot of the runner; nothing here is needed again when this process dies. Steps
without limits never come here.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

import structlog
from prometheus_client import Counter

from leat_engine import limits
from leat_engine.errors import ExpressionError, StoreUnavailable
from leat_engine.job import StepKey, dumps
from leat_engine.records import Delayed, Stop
from leat_engine.restraint import CACHED, Kept, Slots, key_of
from leat_engine.result import ErrorType, Failed, Outcome, Phase, StepError, Succeeded
from leat_engine.store.turns import Key, Wish
from leat_engine.view import RunView
from leat_runner.desk import persistently
from leat_runner.lobby import MET, Lobby, busy, lost
from leat_runner.passage import Passage, Perform, keys_of

if TYPE_CHECKING:
    from leat_runner.attempt import Attempt

log = structlog.get_logger()
_LOOKED = Counter("leat_cache_lookups", "Results that were looked for in the cache", ["found"])


class Gates:
    """The gates of one runner."""

    def __init__(self, lobby: Lobby) -> None:
        self.lobby = lobby
        self._runs: dict[UUID, Key] = {}  # runs here that have their slot

    # -- runs -----------------------------------------------------------------------------------------------------

    async def admit(self, attempt: "Attempt") -> Outcome | None:
        """None when the run may go on; else it waits, or it is stopped, which the view then says."""
        lobby, view, slots = self.lobby, attempt.view, attempt.view.plan.slots
        if slots is None or view.run_id in self._runs:
            return None
        try:
            key = _key_of_run(view, slots, attempt.clock())
        except ExpressionError as error:
            problem = StepError(ErrorType.EXPRESSION, str(error), retriable=False)
            return await self._refuse(view, problem)
        wish = Wish(slots.limit, whole=True, queue=slots.conflict != "reject")
        entered = await persistently("enter", lambda: lobby.turns.enter(lobby.claimed(attempt), key, wish))
        lobby.hand_over(entered.jobs)
        if entered.held:
            self._runs[view.run_id] = key
            return None
        if entered.lost:
            return lost(attempt)
        if entered.held is None:
            MET.labels("runs", "rejected").inc()
            return await self._refuse(view, busy(key, slots.limit))
        if slots.conflict == "replace":
            await self._replace(view, key)
        MET.labels("runs", "queued").inc()
        lobby.lines[attempt.key] = key
        return await lobby.wait(attempt, lobby.run_net, f"the run waits for {key.text} (position {entered.before + 1})")

    def left(self, view: RunView) -> None:
        """Nothing of a run is here any more: if it has ended, the next one may begin."""
        slots = view.plan.slots
        if slots is None:
            return
        try:
            key = self._runs.pop(view.run_id, None) or _key_of_run(view, slots, datetime.now(UTC))
        except ExpressionError:
            return  # its key has no value, so it never had a slot
        self.lobby.aside(self.lobby.grant(key))

    def parked(self, attempts: Sequence[Delayed]) -> None:
        """These attempts wait in the store now. Who was granted a slot in the meantime is woken."""
        lines = self.lobby.lines
        came: dict[Key, list[StepKey]] = {}
        for attempt in attempts:
            if attempt.key in lines:
                came.setdefault(lines.pop(attempt.key), []).append(attempt.key)
        for key, steps in came.items():
            self.lobby.aside(self.lobby.grant(key, steps))

    def lost(self, run_ids: Sequence[UUID]) -> None:
        """Nothing was parked of these runs."""
        lines = self.lobby.lines
        for key in [key for key in lines if key.run_id in run_ids]:
            del lines[key]

    def clear(self) -> None:
        """The runner begins anew: others know more."""
        self.lobby.lines.clear()
        self._runs.clear()

    async def _refuse(self, view: RunView, error: StepError) -> Outcome:
        await self.lobby.stop(view, Stop(Phase.FAILED, interrupt=False, error=error.as_json()))
        return Failed(error)

    async def _replace(self, view: RunView, key: Key) -> None:
        lobby = self.lobby
        message = f"run {view.name} took its place: {key.text}, onConflict: replace"
        error = StepError(ErrorType.CANCELLED, message, "Replaced", retriable=False).as_json()
        stop = Stop(Phase.CANCELLED, interrupt=True, error=error)
        for other in await persistently("others", lambda: lobby.turns.others(key, view.run_id)):
            log.info("replaced", run=str(other), by=str(view.run_id), key=key.text)
            lobby.hand_over(await persistently("stop", partial(lobby.store.stop, other, stop)))

    # -- steps ----------------------------------------------------------------------------------------------------

    async def around(self, attempt: "Attempt", perform: Perform) -> Outcome:
        """Execute an attempt of a step that has limits or a cache, as soon as it may."""
        try:
            keys = keys_of(attempt)
        except ExpressionError as error:
            return Failed(StepError(ErrorType.EXPRESSION, str(error), retriable=False))
        if keys.cache is not None:
            found = await self._found(attempt, keys.cache[1])
            if found is not None:
                return found
        passage = Passage(self.lobby, attempt, keys)
        outcome = await passage.enter() or await passage.perform(perform)
        if keys.cache is not None and isinstance(outcome, Succeeded):
            await self._keep(attempt, keys.cache, outcome.output)
        return outcome

    async def _found(self, attempt: "Attempt", key: Key) -> Succeeded | None:
        found = await persistently("cached", lambda: self.lobby.turns.cached(key))
        _LOOKED.labels("no" if found is None else "yes").inc()
        if found is None:
            return None
        await self.lobby.note(attempt, CACHED)
        return Succeeded(found[0])

    async def _keep(self, attempt: "Attempt", cache: tuple[Kept, Key], output: Any) -> None:
        """A result that is not kept is made again: nothing else depends on it."""
        kept, key = cache
        reason = _unkept(attempt.view, output)
        if not reason:
            try:
                await self.lobby.turns.keep(key, output, kept.ttl, attempt.view.run_id)
            except StoreUnavailable as error:
                reason = str(error)
        if reason:
            log.warning("not_cached", step=attempt.node.name, run=str(attempt.view.run_id), reason=reason)


def _unkept(view: RunView, output: Any) -> str:
    """Why an output must not be kept, or ""."""
    try:
        size = 0 if output is None else len(dumps(output))
    except TypeError:
        return "the output is not a JSON value"
    if size > limits.CACHE_BYTES:
        return f"the output has {size} bytes, the limit of the cache is {limits.CACHE_BYTES}"
    if view.redaction.value(output) != output:
        return "the output holds a sensitive input, which other runs do not know to hide"
    return ""


def _key_of_run(view: RunView, slots: Slots, now: datetime) -> Key:
    """The key of a run's slot; apart from the keys of steps, or a step could wait for its own run."""
    bound = {} if slots.key is None else view.bindings((), {}, now)
    text = key_of(slots.key, view.workflow, bound, view.redaction)
    return Key(view.namespace, f"runs of {text}")
