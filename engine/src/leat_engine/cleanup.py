"""What a run does when its steps are over: compensations, last things first, then `finally`. Pure.

How it ends is settled before; what comes after can only make it worse. `END` does one thing, waits for its end, and is
asked again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from leat_engine.job import StepKey
from leat_engine.plan import Plan
from leat_engine.records import Block
from leat_engine.result import ErrorType, Phase, Result, State, StepError
from leat_engine.unfold import Open


@dataclass(frozen=True, slots=True)
class Cleanup:
    """How far a run is that cleans up.

    Attributes:
        outcome: How the run ends if all goes well; ``output`` and ``error`` are the run's.
        block: What `END` has opened: the scope of ``finally``, if ``opened`` is 1, and, counted in ``target``, the
            compensations that were begun.
        undo: The first compensation that did not end well yet.
        undo_state: How that is; None when it has not begun. undo_error: Why it failed.
        final: How the scope of ``finally`` ended; None before.
    """

    outcome: Phase
    output: Any
    error: Mapping[str, Any] | None
    block: Block
    undo: StepKey | None
    undo_state: State | None
    undo_error: Mapping[str, Any] | None
    final: Result | None


@dataclass(frozen=True, slots=True)
class Clean:
    """There is nothing left to do: the run ends like this."""

    phase: Phase
    error: Mapping[str, Any] | None


def clean_up(plan: Plan, look: Cleanup) -> Open | Clean:
    """What `END` does next.

    A compensation that failed is the last one: what was done before it may not be undone while it stands. `finally`
    is executed all the same.
    """
    block, stuck = look.block, look.undo_state is State.FAILED
    if look.undo is not None and not stuck:
        return Open(replace(block, target=block.target + 1), {}, 0, look.undo)
    if plan.final is not None and look.final is None:
        return Open(replace(block, opened=1, target=block.target + 1), {0: {}}, plan.final.nodes)
    if stuck:
        return Clean(Phase.FAILED, _stuck(plan, look))
    if look.final is not None and look.final.state is State.FAILED and look.outcome is not Phase.FAILED:
        return Clean(Phase.FAILED, look.final.error)
    return Clean(look.outcome, look.error)


def _stuck(plan: Plan, look: Cleanup) -> Mapping[str, Any]:
    undo = plan.steps[look.undo.step] if look.undo is not None else plan.steps[0]
    step, said = undo.name.partition(".")[0], (look.undo_error or {}).get("message", "")
    message = f"step {step} could not be undone: {said}"
    if look.error is not None:
        message += f"; the run was to end as {look.outcome.label}: {look.error.get('message', '')}"
    error = StepError(ErrorType.COMPENSATION_FAILED, message, retriable=False, details={"cause": look.error})
    return {**error.as_json(), "step": undo.name}
