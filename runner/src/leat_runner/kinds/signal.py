"""signal: wait for a payload from outside, without holding a slot. What came before the wait is taken first."""

from datetime import timedelta
from typing import Any, ClassVar

from leat_engine.kind import StepContext, Weight
from leat_engine.result import ErrorType, Failed, Outcome, Parked, StepError, Succeeded
from leat_engine.spec.duration import parse_duration
from leat_engine.spec.waits import Signal
from leat_engine.waits import SCHEMA, Wanted, payload_problem
from leat_runner.kinds.setup import KindSetup


class SignalKind:
    """Takes the oldest payload of the name that meets the schema; parks the attempt until there is one."""

    weight: ClassVar[Weight] = Weight.IO

    def __init__(self, setup: KindSetup) -> None:
        self._clock = setup.clock

    async def execute(self, step: StepContext, fields: Signal) -> Outcome:
        """Take a payload, or park."""
        rule: dict[str, Any] = {} if fields.payload_schema is None else {SCHEMA: fields.payload_schema}
        seconds = None if fields.timeout is None else parse_duration(fields.timeout)
        wanted = Wanted(fields.name, False, rule, seconds, f"waits for signal {fields.name!r}")
        while True:
            heard = await step.mail.hear(wanted)
            if not heard.signals:
                break
            (signal,) = heard.signals
            problem = payload_problem(signal.payload, rule)
            if problem is None:
                at = None if signal.at is None else signal.at.isoformat()
                return Succeeded({"payload": signal.payload, "by": signal.by, "at": at})
            step.log("stderr", f"a signal {fields.name!r} by {signal.by or 'somebody'} was not taken: {problem}")
            await step.mail.dismiss(signal.id, problem)
        if not heard.over:
            return Parked(self._clock() + timedelta(seconds=heard.seconds))
        if fields.on_timeout == "continue":
            return Succeeded({"payload": None, "by": None, "at": None})
        message = f"no signal {fields.name!r} came within {fields.timeout}"
        return Failed(StepError(ErrorType.TIMEOUT, message, "SignalTimeout", retriable=False))

    async def close(self) -> None:
        """Nothing is held."""
