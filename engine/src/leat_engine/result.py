"""What becomes of a step: its states, the error as data, and the closed set of outcomes of one attempt."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any


class State(IntEnum):
    """State of a step. The numbers are stored; never renumber."""

    WAITING = 0  # some of its needs are not done
    READY = 1  # may be claimed
    CLAIMED = 2  # a runner executes it
    DELAYED = 3  # a timer, or somebody outside, will make it ready
    SUCCEEDED = 4
    FAILED = 5
    SKIPPED = 6  # its `when` was false
    CANCELLED = 7  # the run was stopped before or while it ran
    OMITTED = 8  # a need ended in a state that its edge does not take, so it can never run

    @property
    def done(self) -> bool:
        """Whether the step will not change any more."""
        return self >= State.SUCCEEDED

    @property
    def live(self) -> bool:
        """Whether the step keeps its run alive: it is ready, claimed or delayed."""
        return State.READY <= self <= State.DELAYED

    @property
    def label(self) -> str:
        """The word that users read. An omitted step was skipped too; its error tells the difference."""
        return {State.CLAIMED: "Running", State.OMITTED: "Skipped"}.get(self, self.name.title())


class Phase(IntEnum):
    """Phase of a run. The numbers are stored; never renumber."""

    PENDING = 0
    RUNNING = 1
    SUSPENDED = 2
    COMPENSATING = 3
    SUCCEEDED = 4
    FAILED = 5
    CANCELLED = 6

    @property
    def done(self) -> bool:
        """Whether the run will not change any more."""
        return self >= Phase.SUCCEEDED

    @property
    def label(self) -> str:
        """The word that users read."""
        return self.name.title()


class ErrorType(StrEnum):
    """The documented list of ``error.type``. Functions may add their own exception class names."""

    HTTP_STATUS = "HttpStatus"  # the answer's status is not an expected one
    CONNECTION = "Connection"  # no answer: DNS, TCP, TLS or a closed connection
    TIMEOUT = "Timeout"  # `timeout`, `deadline` or the run's `timeout` passed
    SQL = "Sql"  # the database refuses the statement; the reason says why, `sqlState` is its code
    BROKER = "Broker"  # the broker does not take the message; the reason says why
    MAIL = "Mail"  # the mail server does not take the mail; the reason says why, `code` is its answer
    EXIT_CODE = "ExitCode"  # a script or container ended with another code than 0
    OUT_OF_MEMORY = "OutOfMemory"  # a container was killed at its memory limit
    EVICTED = "Evicted"  # a container's pod was evicted, preempted or deleted, its node was lost, or its Job is gone
    NOT_STARTED = "NotStarted"  # a container's pod could not begin in time; the reason says why
    KUBERNETES = "Kubernetes"  # the API server refuses a container's Job; the reason is its own
    EXPRESSION = "Expression"  # an expression could not be evaluated
    INVALID = "Invalid"  # evaluated fields are not what the kind takes
    TOO_LARGE = "TooLarge"  # an output or an answer is over its limit
    ARTIFACT = "Artifact"  # a file or a large output cannot be put, read or found; the reason says why
    NOT_FOUND = "NotFound"  # the pool does not know the kind or the function
    FORBIDDEN = "Forbidden"  # the pool does not serve the run's namespace
    SECRET_NOT_FOUND = "SecretNotFound"  # a secret, or its key, is in none of the places where the runner looks
    SECRET_NOT_READABLE = "SecretNotReadable"  # a secret does not let workflows read it, or the pool may not
    BUSY = "Busy"  # all that a concurrency limit with `onConflict: reject` lets run are running
    BREAKER_OPEN = "BreakerOpen"  # what the step needs has failed too often; `error.retryAfter` seconds are left
    WORKFLOW_NOT_FOUND = "WorkflowNotFound"  # the Workflow of a child run is not there
    CHILD_FAILED = "ChildFailed"  # a child run failed or was cancelled; `error.run` is its name, `error.phase` its end
    CHILD_LIMIT = "ChildLimit"  # a run has too many child runs, or too many runs above it
    FAIL = "Fail"  # a `fail` step
    REJECTED = "Rejected"  # somebody rejected what a step asked approval for
    COMPENSATION_FAILED = "CompensationFailed"  # what a step did could not be undone; what was done before it stands
    EXHAUSTED = "Exhausted"  # `until` of a `repeat` was not true after `max` times
    RUNNER_LOST = "RunnerLost"  # the step took several runners with it
    CANCELLED = "Cancelled"  # the run was cancelled
    INTERNAL = "Internal"  # a defect of Leat or of a kind


@dataclass(frozen=True, slots=True)
class StepError:
    """An error as data, as expressions and people see it.

    Attributes:
        type: One of `ErrorType`, or the exception's class name for functions.
        message: For people; never holds secrets.
        reason: CamelCase word for machines, narrower than ``type``.
        retriable: False forbids another attempt whatever the retry policy says.
        details: Small JSON object, such as ``{"status": 503}``; its keys are readable as ``error.KEY`` too.
    """

    type: str
    message: str
    reason: str = ""
    retriable: bool = True
    details: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The stored and shown form: ``{type, reason, message, retriable, details}``.

        Texts are made valid: an exception may name a file in bytes that are no UTF-8, and must be told all the same.
        """
        return {
            "type": _valid(self.type),
            "reason": _valid(self.reason or self.type),
            "message": _valid(self.message),
            "retriable": self.retriable,
            "details": dict(self.details),
        }


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The attempt did its work. ``output`` is a JSON value, ``artifacts`` are references by name."""

    output: Any = None
    artifacts: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt did not do its work; the retry policy decides whether there is another one."""

    error: StepError


@dataclass(frozen=True, slots=True)
class Parked:
    """The attempt waits without a slot until ``until`` (aware UTC). It is then claimed again, same attempt."""

    until: datetime


Outcome = Succeeded | Failed | Parked


@dataclass(frozen=True, slots=True)
class Result:
    """How a step ended, as later steps see it.

    Attributes:
        artifacts: References by name, of a step that declares some; None when they are in the store and were not read.
    """

    state: State
    output: Any = None
    error: Mapping[str, Any] | None = None
    artifacts: Mapping[str, Any] | None = None


def _valid(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()
