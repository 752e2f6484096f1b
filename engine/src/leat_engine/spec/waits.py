"""The fields of the step kinds that wait for somebody outside: `signal` and `approval`."""

from typing import Annotated, Any, Literal

import jsonschema_rs
from pydantic import AfterValidator, Field

from leat_engine import limits
from leat_engine.spec.duration import Duration
from leat_engine.spec.inputs import validator_of
from leat_engine.spec.kinds import Verbatim
from leat_engine.spec.model import Model

WaitName = Annotated[str, Field(min_length=1, max_length=limits.SIGNAL_NAME_CHARS)]
Who = Annotated[list[Annotated[str, Field(min_length=1, max_length=253)]], Field(min_length=1, max_length=64)]


def _valid_schema(schema: dict[str, Any]) -> dict[str, Any]:
    try:
        validator_of(schema, masked=False)
    except jsonschema_rs.ValidationError as error:
        raise ValueError(f"is no valid JSON Schema: {error.message}") from error
    except (jsonschema_rs.ReferencingError, ValueError) as error:
        raise ValueError(f"is no valid JSON Schema: {error}") from error
    return schema


PayloadSchema = Annotated[dict[str, Any], AfterValidator(_valid_schema)]


class Signal(Model):
    """Waits for a payload that somebody sends to the run under a name, without holding a runner.

    A payload that came before the wait is kept, and taken then: the oldest first, one for each wait. The output is
    `{payload, by, at}`.
    """

    name: WaitName
    """What the signal is called: `leat signal RUN NAME`. Steps that wait at the same time and want their own signals
    need names of their own, such as `paid-${ inputs.order }`."""
    payload_schema: Annotated[PayloadSchema | None, Verbatim(), Field(alias="schema")] = None
    """JSON Schema of the payload. A payload that is not so is refused, and the wait goes on. No expressions in it."""
    timeout: Duration | None = None
    """How long to wait; without it, for ever."""
    on_timeout: Literal["fail", "continue"] = "fail"
    """What a passed timeout does: `fail` fails the step with `Timeout`, `continue` ends it with a null payload."""


class Approval(Model):
    """Waits until people approve, without holding a runner. One who rejects fails the step with `Rejected`.

    Only what is said while the step waits counts. The output is `{approved, by, comments}`.
    """

    name: WaitName | None = None
    """What the approval is called; the step's name unless stated: `leat approve RUN NAME`."""
    groups: Who | None = None
    """Groups whose members may approve or reject. Without `groups` and `users`, whoever may send the run signals."""
    users: Who | None = None
    """Users who may approve or reject, besides the members of `groups`."""
    minimum: Annotated[int, Field(ge=1, le=100)] = 1
    """How many different people have to approve."""
    timeout: Duration | None = None
    """How long to wait; without it, for ever."""
    on_timeout: Literal["fail", "approve", "reject"] = "fail"
    """What a passed timeout does: `fail` fails the step with `Timeout`, `reject` with `Rejected`, `approve` ends it as
    approved by nobody."""
    message: Annotated[str, Field(max_length=512)] | None = None
    """What is to be approved, for people."""
