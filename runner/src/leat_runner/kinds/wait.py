"""wait: let time pass without holding a slot. The wait is a timer in the store, so it outlives every process."""

from datetime import UTC, timedelta
from typing import ClassVar

from leat_engine.kind import StepContext, Weight
from leat_engine.result import Outcome, Parked, Succeeded
from leat_engine.spec.duration import parse_duration
from leat_engine.spec.kinds import Wait
from leat_runner.kinds.setup import KindSetup


class WaitKind:
    """Parks the attempt until its time; when it is claimed again the wait is over."""

    weight: ClassVar[Weight] = Weight.IO

    def __init__(self, setup: KindSetup) -> None:
        self._clock = setup.clock

    async def execute(self, step: StepContext, fields: Wait) -> Outcome:
        """Park until ``until``, or for ``duration`` from now."""
        # The timer alone decides that the time has come: this runner's clock may be behind the one that set it.
        if step.resumed:
            return Succeeded()
        now = self._clock()
        until = fields.until or now + timedelta(seconds=parse_duration(fields.duration or "0s"))
        return Parked(until.astimezone(UTC)) if until > now else Succeeded()

    async def close(self) -> None:
        """Nothing is held."""
