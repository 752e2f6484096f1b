"""What is right by the rules of the language and still hardly meant. For `leat lint`; nothing is rejected for it."""

from collections.abc import Iterator

from leat_engine.errors import Reason
from leat_engine.plan import Plan, PlanStep
from leat_engine.result import State


def advice(plan: Plan) -> Iterator[Reason]:
    """Every doubtful place of a plan, with its field path."""
    for step in plan.steps:
        yield from _errors_never_seen(plan, step)


def _errors_never_seen(plan: Plan, step: PlanStep) -> Iterator[Reason]:
    """Expressions that read the error of a step whose failure keeps this one from running."""
    names = step.fields.reads_error_of | (step.when.reads_error_of if step.when else frozenset())
    taken = {plan.steps[edge.step].name: edge.on for edge in step.needs}
    for name in sorted(names):
        if State.FAILED not in taken.get(name, {State.FAILED}):  # of a step around the body, its opener tells
            message = f"reads steps.{name}.error, which is always null here: the step does not run when {name!r} fails"
            yield Reason(step.path, f"{message}; write needs: [{{step: {name}, on: [Failed]}}]")
