"""The `END` of a run that has something to clean up: settle how it ends, then one thing after the other."""

from collections.abc import Mapping
from datetime import UTC, datetime

from leat_engine.cleanup import Clean, Cleanup, clean_up
from leat_engine.commit import Ended
from leat_engine.crash import crash_point
from leat_engine.decide import End, settle
from leat_engine.job import END
from leat_engine.kind import Kind
from leat_engine.opening import Opening
from leat_engine.result import Failed, Phase, Result, State
from leat_engine.store import Store
from leat_runner.attempt import Attempt
from leat_runner.desk import persistently
from leat_runner.forsake import forsake
from leat_runner.recall import locate, recall
from leat_runner.shelf import Shelf


async def clean(attempt: Attempt, store: Store, shelf: Shelf, kinds: Mapping[str, Kind]) -> Ended | Opening:
    """What `END` does now. Who has lost it meanwhile is refused when it is written."""
    view = attempt.view
    if view.outcome is None:  # a claim would have said so; settled all the same, nothing is settled twice
        unread = await recall(view, attempt.node, store, shelf) or await shelf.fetch(view, attempt.node)
        if view.stopping is not None:
            await forsake(view, attempt.node, kinds)
        end = settle(view, {}, datetime.now(UTC)) if unread is None else _unread(unread)
        crash_point("before settle")
        await persistently(
            "settle_run",
            lambda: store.cleanups.settle(shelf.runner, view.run_id, attempt.number, end, view.plan.undoing),
        )
        crash_point("after settle")
    look = await _look(attempt, store)
    if look is None:
        return _over(attempt)
    view.settle(look.outcome, look.error)
    step = clean_up(view.plan, look)
    if isinstance(step, Clean):
        view.settle(step.phase, step.error)
        view.output = look.output
        return _over(attempt)
    if step.undo is not None:
        await locate(view, [step.undo.scope], store)
    return Opening(view, END, attempt.number, step)


async def _look(attempt: Attempt, store: Store) -> Cleanup | None:
    return await persistently("cleanup", lambda: store.cleanups.look(attempt.view.run_id))


def _unread(why: Failed) -> End:
    """The end of a run whose output looks into what cannot be read."""
    return End(Phase.FAILED, error=why.error.as_json())


def _over(attempt: Attempt) -> Ended:
    return Ended(attempt.view, END, attempt.number, Result(State.SUCCEEDED))
