"""The resource `WorkflowSignal`."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from leat_engine import limits
from leat_engine.spec.meta import Metadata
from leat_engine.spec.model import Model
from leat_engine.spec.status import Condition, Timestamp

ObjectName = Annotated[str, Field(min_length=1, max_length=253)]
MIXED = "expected `name` and perhaps `payload` of a signal, or `approve` and `by` of an approval"


class WorkflowSignalSpec(Model):
    """What a run is told. It never changes."""

    run: ObjectName
    """Name of the WorkflowRun, of the same namespace. A signal may be there before its run is."""
    name: Annotated[str, Field(min_length=1, max_length=limits.SIGNAL_NAME_CHARS)] | None = None
    """Name of the signal that a step waits for. With `approve`: of the approval; the only one that is waited for unless
    stated."""
    payload: Any = None
    """What the step is given, of a signal."""
    approve: bool | None = None
    """Of an approval: true approves, false rejects."""
    comment: Annotated[str, Field(max_length=limits.COMMENT_CHARS)] | None = None
    """What is said to an approval."""
    by: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    """Who says so: the user as the API server knows them, which the policy `leat-signal-identity` checks. `leat`
    fills it in."""
    groups: Annotated[list[Annotated[str, Field(max_length=253)]], Field(max_length=256)] | None = None
    """Groups that this user is a member of, of those that matter; checked in the same way."""

    @model_validator(mode="after")
    def _one_meaning(self) -> Self:
        if (self.approve is None and self.name is None) or (self.approve is not None and self.by is None):
            raise ValueError(MIXED)
        if self.approve is not None and self.payload is not None:
            raise ValueError(MIXED)
        return self


class WorkflowSignalStatus(Model):
    """What became of it."""

    observed_generation: int | None = None
    """The generation of the spec that this status speaks of; -1 until the operator has seen it."""
    phase: Literal["Pending", "Delivered", "Rejected"] | None = None
    """Pending: the run is not there yet. Delivered: the run has it. Rejected: it never will; the message says why."""
    conditions: list[Condition] = Field(default_factory=list)
    """Delivered (what `kubectl wait` waits for), Reconciling and Stalled (what kstatus, Argo CD and Flux read)."""
    message: str | None = None
    """One sentence."""
    delivered_at: Timestamp | None = None
    """When the run had it."""


class WorkflowSignal(Model):
    """Tells a run something: a payload under a name, an approval or a rejection. Whoever may create these may do so."""

    api_version: Literal["leat.dev/v1alpha1"]
    kind: Literal["WorkflowSignal"]
    metadata: Metadata
    spec: WorkflowSignalSpec
    """What the run is told."""
    status: WorkflowSignalStatus | None = None
    """What became of it."""
