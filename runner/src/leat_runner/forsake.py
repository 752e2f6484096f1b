"""What goes on without its runner is ended when nobody follows it any more: after a cancel, or a start that failed."""

from collections.abc import Mapping, Sequence

import structlog

from leat_engine.job import END, StepKey, effect_key
from leat_engine.kind import Kind, outlives_runner
from leat_engine.plan import PlanStep
from leat_engine.view import RunView

log = structlog.get_logger()


async def forsake(view: RunView, node: PlanStep, kinds: Mapping[str, Kind]) -> None:
    """End what earlier runners have left of ``node``, or, when that is `END`, of all steps that were cancelled."""
    keys = view.cancelled if node.id == END else [StepKey(view.run_id, view.scope, node.id)]
    await forsake_all(view, keys, kinds)


async def forsake_all(view: RunView, keys: Sequence[StepKey], kinds: Mapping[str, Kind]) -> None:
    """End what earlier runners have left of these steps."""
    left: dict[str, set[str]] = {}
    for key in keys:
        kind = view.plan.steps[key.step].kind
        if outlives_runner(kinds.get(kind)):
            left.setdefault(kind, set()).add(effect_key(key))
    for name, effects in left.items():
        kind_of = kinds[name]
        if outlives_runner(kind_of):
            try:
                await kind_of.forsake(view.namespace, view.run_id, effects)
            except Exception:
                log.exception("forsake_defect", kind=name, run=str(view.run_id))  # the run has to end all the same
