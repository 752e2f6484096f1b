"""approval: wait until people approve, without holding a slot. One who rejects ends it."""

from datetime import timedelta
from typing import Any, ClassVar

from leat_engine.kind import StepContext, Weight
from leat_engine.result import ErrorType, Failed, Outcome, Parked, StepError, Succeeded
from leat_engine.spec.duration import parse_duration
from leat_engine.spec.waits import Approval
from leat_engine.waits import GROUPS, USERS, Tally, Wanted, count
from leat_runner.kinds.setup import KindSetup


class ApprovalKind:
    """Counts votes that were given to the step; parks the attempt until they decide."""

    weight: ClassVar[Weight] = Weight.IO

    def __init__(self, setup: KindSetup) -> None:
        self._clock = setup.clock

    async def execute(self, step: StepContext, fields: Approval) -> Outcome:
        """Decide, or park."""
        name = fields.name or step.name
        seconds = None if fields.timeout is None else parse_duration(fields.timeout)
        heard = await step.mail.hear(Wanted(name, True, _rule(fields), seconds, _note(name, fields)))
        tally = count(heard.signals, fields.minimum)
        if tally.rejected is None and not tally.approved and not heard.over:
            return Parked(self._clock() + timedelta(seconds=heard.seconds))
        if not heard.over:
            await step.mail.close()
        if tally.rejected is not None:
            return _rejected(name, tally)
        if tally.approved or fields.on_timeout == "approve":
            return Succeeded({"approved": True, "by": list(tally.by), "comments": list(tally.comments)})
        message = f"{len(tally.by)} of {fields.minimum} had approved {name!r} when {fields.timeout} had passed"
        kind = ErrorType.REJECTED if fields.on_timeout == "reject" else ErrorType.TIMEOUT
        return Failed(StepError(kind, message, "ApprovalTimeout", False, {"by": list(tally.by)}))

    async def close(self) -> None:
        """Nothing is held."""


def _rule(fields: Approval) -> dict[str, Any]:
    return {key: names for key, names in ((USERS, fields.users), (GROUPS, fields.groups)) if names is not None}


def _note(name: str, fields: Approval) -> str:
    wanted = f"waits for approval {name!r}" if fields.minimum == 1 else f"waits for {fields.minimum} approvals {name!r}"
    return wanted if fields.message is None else f"{wanted}: {fields.message}"


def _rejected(name: str, tally: Tally) -> Failed:
    vote = tally.rejected
    assert vote is not None  # noqa: S101  the caller asked
    said = f": {vote.comment}" if vote.comment else ""
    details = {"by": vote.by, "comments": list(tally.comments)}
    message = f"{vote.by or 'somebody'} rejected {name!r}{said}"
    return Failed(StepError(ErrorType.REJECTED, message, "Rejected", retriable=False, details=details))
