"""What a step must know, and this runner does not: read from the store before the step is executed."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from leat_engine.job import END, StepKey
from leat_engine.opener import Fan, Loop
from leat_engine.plan import PlanStep
from leat_engine.result import Failed, Result, State
from leat_engine.store import Store
from leat_engine.unfold import items
from leat_engine.view import UNLOADED, RunView
from leat_runner.desk import persistently
from leat_runner.shelf import Shelf


async def recall(view: RunView, node: PlanStep, store: Store, shelf: Shelf) -> Failed | None:
    """Read the results that the step reads or needs, what `item` is and the like; to end a scope, all its ends.

    Gives why the step fails when a large list that its item is of cannot be read.

    Raises:
        ExpressionError: What the scope's item is cannot be evaluated here, though it could be where it was opened.
    """
    for around in view.chain():
        if around.names is None:
            unnamed = await _name(around, store, shelf)
            if unnamed is not None:
                return unnamed
    missing = view.missing(node, {})
    if node.id <= END and not view.complete:
        survey = await persistently("survey", lambda: store.survey(view.run_id, view.scope))
        for known, (state, error) in survey.items():
            view.results.setdefault(known, Result(state, UNLOADED, error))
        if view.stopping is not None:
            view.cancelled = await persistently("cancelled", lambda: store.cancelled(view.run_id))
        view.complete = view.stopping is None
    await load(view, missing, store)
    return None


async def load(view: RunView, nodes: Sequence[int], store: Store) -> None:
    """Read the results of steps, each of which is in the scope, or in one around it."""
    if nodes:
        keys = [StepKey(view.run_id, view.of(node).scope, node) for node in nodes]
        found = await persistently("load", lambda: store.load(keys))
        leaving = [
            key for key, end in found.items() if view.plan.steps[key.step].artifacts and end.state is State.SUCCEEDED
        ]
        kept = await persistently("artifacts", lambda: store.artifacts.of(leaving)) if leaving else {}
        for key, left in kept.items():
            references = {name: reference.as_json() for name, reference in left.items()}
            found[key] = replace(found[key], artifacts=references)
        for key in keys:
            if key in found:
                view.scopes[key.scope].results[key.step] = found[key]
            elif view.outcome is not None:  # the steps of a run that cleans up are over, those that never began too
                view.scopes[key.scope].results[key.step] = Result(State.CANCELLED)


async def locate(root: RunView, scopes: Sequence[int], store: Store) -> None:
    """Know where scopes are. What is pinned is not forgotten while this waits for the store."""
    strange = sorted({scope for scope in scopes if scope not in root.scopes})
    if not strange:
        return
    root.pins += 1
    for place in await persistently("places", lambda: store.places(root.run_id, strange)):
        root.scopes[place.parent].open(place.scope, place.body, place.index, None)
    root.pins -= 1


async def _name(view: RunView, store: Store, shelf: Shelf) -> Failed | None:
    """Find out what the expressions of a scope read beyond those around it."""
    parent = view.parent
    if parent is None:
        return None
    opener = parent.plan.steps[parent.plan.bodies[view.body].opener]
    match opener.opens:
        case Fan():
            await load(parent, [read for read in opener.reads if _unknown(parent, read)], store)
            if (unfetched := await shelf.fetch(parent, opener)) is not None:
                return unfetched
            if parent.unfetched(opener, {}):  # the run is being stopped, and the artifact store is away
                view.names = {}
                return None
            _, found = items(parent, opener, datetime.now(UTC))
            view.names = {"item": found[view.index], "index": view.index}
        case Loop():
            before = view.scope - 1
            ends = {}
            if view.index:
                result = parent.plan.bodies[view.body].result
                scopes = range(before, before + 1)
                ends = await persistently("ends", lambda: store.ends(view.run_id, scopes, result, outputs=True))
            view.names = {"iteration": view.index, "last": ends[before].output if before in ends else None}
        case _:
            view.names = {}
    return None


def _unknown(view: RunView, node: int) -> bool:
    result = view.result(node, {})
    return result is None or result.output is UNLOADED
