"""The resource `WorkflowRun`."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from leat_engine import limits
from leat_engine.spec.meta import Metadata
from leat_engine.spec.model import Model
from leat_engine.spec.status import WorkflowRunStatus
from leat_engine.spec.workflow import WorkflowSpec


class WorkflowRef(Model):
    """The workflow to run, of the same namespace."""

    name: Annotated[str, Field(min_length=1, max_length=253)]
    """Name of the Workflow. A run may be there before its Workflow is."""


class Rerun(Model):
    """What to go on from: a run of the same namespace and workflow that has ended. The new one is of its revision."""

    of: Annotated[str, Field(min_length=1, max_length=253)]
    """Name of the run. Its resource may be gone; what the store keeps of it is enough."""
    from_: str | Annotated[list[str], Field(max_length=limits.STEPS)] | None = Field(default=None, alias="from")
    """A step, or a list of steps, to run again, with all steps that need one of them. Steps that did not end well run
    again in any case, and are all that does unless stated; a run that succeeded has none, so it is required then."""

    compensate: bool = False
    """Go on with undoing where a compensation of the run failed, and undo what is left; no step runs again. `finally`
    is done again after that."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.compensate and self.from_ is not None:
            raise ValueError("expected one of `from` and `compensate`")
        return self

    @field_validator("from_", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        names = value if isinstance(value, list) else [value]
        if value is not None and not all(isinstance(name, str) for name in names):
            raise ValueError(f"found {value!r:.60}, expected the name of a step, or a list of names")
        return value

    @property
    def start(self) -> tuple[str, ...]:
        """Names of the steps to begin with; none when the failed ones are meant."""
        return (self.from_,) if isinstance(self.from_, str) else tuple(self.from_ or ())


class WorkflowRunSpec(Model):
    """What to run. Only `suspend`, `cancel`, `priority`, `revision` and `ttlSecondsAfterFinished` may change later."""

    workflow: WorkflowRef | None = None
    """The workflow to run; this or `inline`."""
    inline: WorkflowSpec | None = None
    """A whole workflow that only this run uses."""
    inputs: Annotated[dict[str, Any], Field(max_length=256)] = Field(default_factory=dict)
    """Inputs by name, as the workflow's `inputs` describe them. With `rerun`, those that differ from the old run's."""
    rerun: Rerun | None = None
    """Go on from a run of the same workflow that has ended: what it need not do again, is copied."""
    suspend: bool = False
    """Pause: running steps end, nothing new starts."""
    cancel: bool = False
    """End the run: running steps are interrupted. It cannot be taken back."""
    priority: Annotated[int, Field(ge=0, le=9)] = 0
    """0 to 9; steps of runs with a higher one are claimed first. A change holds for the steps that are not claimed."""
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")] | None = None
    """Set later: go on by this revision of the Workflow, one that it has had. The condition `Migrated` says what came
    of it. A run begins by the revision that its Workflow has."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0)] | None = None
    """Seconds after its end when the WorkflowRun is deleted; `spec.history` of its Workflow unless stated. The run's
    history in the store has a retention of its own."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.workflow is None) == (self.inline is None):
            raise ValueError("expected exactly one of `workflow` and `inline`")
        return self


class WorkflowRun(Model):
    """One run of a workflow."""

    api_version: Literal["leat.dev/v1alpha1"]
    kind: Literal["WorkflowRun"]
    metadata: Metadata
    spec: WorkflowRunSpec
    """What to run."""
    status: WorkflowRunStatus | None = None
    """How far the run is."""
