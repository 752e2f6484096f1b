"""What goes on without its runner is ended when nobody follows it any more: after a cancel, or a start that failed."""

from collections.abc import Mapping

import structlog

from leat_engine.job import END, ROOT_SCOPE, StepKey, effect_key
from leat_engine.kind import Kind, outlives_runner
from leat_engine.plan import PlanStep
from leat_engine.result import State
from leat_engine.view import RunView

log = structlog.get_logger()


async def forsake(view: RunView, node: PlanStep, kinds: Mapping[str, Kind]) -> None:
    """End what earlier runners have left of ``node``, or, when that is `END`, of all steps that were cancelled."""
    left: dict[str, set[str]] = {}
    for each in view.plan.steps if node.id == END else (node,):
        if outlives_runner(kinds.get(each.kind)) and (each is node or _cancelled(view, each)):
            left.setdefault(each.kind, set()).add(effect_key(StepKey(view.run_id, ROOT_SCOPE, each.id)))
    for name, keys in left.items():
        kind = kinds[name]
        if outlives_runner(kind):
            try:
                await kind.forsake(view.namespace, view.run_id, keys)
            except Exception:
                log.exception("forsake_defect", kind=name, run=str(view.run_id))  # the run has to end all the same


def _cancelled(view: RunView, step: PlanStep) -> bool:
    result = view.results.get(step.id)
    return result is not None and result.state is State.CANCELLED
