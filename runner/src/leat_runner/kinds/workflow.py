"""workflow: a run of another Workflow, a child of this one; its end is awaited without holding a slot."""

from typing import ClassVar

from leat_engine.child import Call
from leat_engine.kind import StepContext, Weight
from leat_engine.result import Outcome
from leat_engine.spec.child import ChildRun
from leat_runner.kinds.setup import KindSetup


class WorkflowKind:
    """Starts the child, parks the attempt until the child is over, and ends as the child did."""

    weight: ClassVar[Weight] = Weight.IO

    def __init__(self, setup: KindSetup) -> None:
        """There is nothing to set up: the store knows the Workflows."""

    async def execute(self, step: StepContext, fields: ChildRun) -> Outcome:
        """Start the child, or look how it stands."""
        return await step.family.call(Call(fields.name, fields.inputs, wait=fields.mode == "wait"))

    async def close(self) -> None:
        """Nothing is held."""
