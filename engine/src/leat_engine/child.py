"""Child runs: what a step that starts one is told, and what it makes of that. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from leat_engine import limits
from leat_engine.redaction import Redaction
from leat_engine.result import ErrorType, Failed, Phase, StepError, Succeeded

_BASE_CHARS = 240
_SUFFIX_CHARS = 8
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""Without vowels, so that no name has a word in it that nobody meant."""


@dataclass(frozen=True, slots=True)
class Call:
    """What a step wants: a run of this workflow. ``wait``: it ends when the run does."""

    workflow: str
    inputs: Mapping[str, Any]
    wait: bool


@dataclass(frozen=True, slots=True)
class Called:
    """What the store has of the Workflow that a step calls.

    Attributes:
        revision: Its current one; None when there is none.
        problem: Why there is none, if there is such a Workflow.
        waited: Seconds since the step was first queued.
    """

    revision: str | None
    problem: str | None
    waited: float


@dataclass(frozen=True, slots=True)
class Parent:
    """What a run says to a child that one of its steps starts.

    Attributes:
        seconds: Until its own timeout, or None without one.
        depth: How many runs are above it; children: how many it has started.
        hidden: As in `RunRecord`.
    """

    suspended: bool
    priority: int
    seconds: float | None
    depth: int
    children: int
    hidden: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Astray:
    """A child that its parent's step waits for, and what is to be done with it.

    Attributes:
        parent: The parent's name.
        stop: Nobody waits for it any more: it is cancelled.
        suspended: What it is to be, or None; priority: the same.
    """

    run_id: UUID
    parent: str
    stop: bool
    suspended: bool | None
    priority: int | None


def child_name(parent: str, step: str, run_id: UUID) -> str:
    """The name of a child run: its parent's, the step's, and a suffix that its id gives; a name as resources have."""
    base = re.sub(r"[^a-z0-9.-]", "-", f"{parent}-{step}".lower())[:_BASE_CHARS]
    number, suffix = run_id.int & (2**62 - 1), ""
    for _ in range(_SUFFIX_CHARS):
        number, digit = divmod(number, len(_ALPHABET))
        suffix += _ALPHABET[digit]
    return f"{base}-{suffix}"


def too_many(parent: Parent) -> StepError | None:
    """Why a run may have no further child, or None."""
    if parent.depth >= limits.CHILD_DEPTH:
        message = f"{parent.depth} runs are above this one already; a child run may have {limits.CHILD_DEPTH} above it"
        return StepError(ErrorType.CHILD_LIMIT, message, "TooDeep", retriable=False)
    if parent.children >= limits.CHILDREN:
        message = f"the run has started {parent.children} child runs; it may start {limits.CHILDREN}"
        return StepError(ErrorType.CHILD_LIMIT, message, "TooMany", retriable=False)
    return None


def forsaken(parent: str) -> StepError:
    """Why a child is stopped that nobody waits for any more."""
    message = f"nobody waits for its end any more: its parent, run {parent}, was stopped, or gave it up"
    return StepError(ErrorType.CANCELLED, message, "ParentStopped", retriable=False)


def time_of(*limits_: float | None) -> float | None:
    """The seconds that a child may take: the least of several limits, of which some may not be."""
    known = [seconds for seconds in limits_ if seconds is not None]
    return max(0.0, min(known)) if known else None


def outcome_of(name: str, phase: Phase, output: Any, error: Mapping[str, Any] | None) -> Succeeded | Failed:
    """How a step ends whose child has ended so. The error is one that may be shown."""
    if phase is Phase.SUCCEEDED:
        return Succeeded(output)
    details = {"run": name, "phase": phase.label, "error": error}
    said = (error or {}).get("message", "")
    message = f"run {name} {'was cancelled' if phase is Phase.CANCELLED else 'failed'}" + (f": {said}" if said else "")
    # Somebody wanted an end of the child that was cancelled; another one would begin what they ended.
    return Failed(StepError(ErrorType.CHILD_FAILED, message, retriable=phase is Phase.FAILED, details=details))


def not_there(workflow: str, namespace: str, grace: float) -> StepError:
    """The error of a step whose Workflow did not come."""
    message = f"there is no Workflow {workflow} in namespace {namespace}, {grace:g} s after the step was first queued"
    return StepError(ErrorType.WORKFLOW_NOT_FOUND, f"{message}; create it, or mend the name")


def invalid(workflow: str, problem: str) -> StepError:
    """The error of a step whose Workflow is wrong."""
    return StepError(ErrorType.INVALID, f"Workflow {workflow} is invalid: {problem}", "WorkflowInvalid")


def hidden_with(redaction: Redaction, value: Any) -> tuple[str, ...]:
    """What the run that gets ``value`` has to hide with it: all that is hidden where it comes from, if any is in it."""
    return redaction.texts if redaction.value(value) != value else ()
