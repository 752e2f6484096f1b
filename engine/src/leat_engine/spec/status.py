"""What the operator reports in `.status`. All of it is a projection of the store: delete it, and it comes back."""

from typing import Annotated, Any, Literal

from pydantic import Field

from leat_engine.spec.model import Model

Timestamp = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
PhaseName = Literal["Pending", "Running", "Suspended", "Compensating", "Succeeded", "Failed", "Cancelled"]


class Condition(Model):
    """One statement about the object, as `kubectl wait` and kstatus read it."""

    type: str
    """What the statement is about, such as Ready or Succeeded."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    reason: str
    """CamelCase word for machines."""
    message: str = ""
    """One sentence for people."""
    last_transition_time: Timestamp
    """When `status` last changed."""
    observed_generation: int | None = None
    """The generation of the spec that it speaks of."""


class LastRun(Model):
    """The run that ended last."""

    name: str
    """Name of the WorkflowRun; it may be gone."""
    phase: PhaseName
    """How it ended."""
    finished_at: Timestamp
    """When."""


class TriggerStatus(Model):
    """How a trigger stands."""

    name: str
    """Name of the trigger."""
    last_fired_at: Timestamp | None = None
    """Of a schedule the time that the last run was started for; of a queue when the last message started one."""
    next_at: Timestamp | None = None
    """When a schedule is due next."""
    message: str | None = None
    """Why it starts no runs at the moment."""


class WorkflowStatus(Model):
    """What is known about a workflow."""

    observed_generation: int | None = None
    """The generation of the spec that this status speaks of; -1 until the operator has seen it."""
    conditions: list[Condition] = Field(default_factory=list)
    """Ready: whether runs can start, with every reason and field path when the spec is wrong. Stalled: it
    is wrong, so nothing happens until it is changed."""
    revision: str | None = None
    """The compiled version that new runs take."""
    active: int | None = None
    """Runs that are not over, as they were some seconds ago."""
    last_run: LastRun | None = None
    """The run that ended last, as it was some seconds ago."""
    triggers: list[TriggerStatus] = Field(default_factory=list)
    """How its triggers stand, as they did some seconds ago."""


class StepCounts(Model):
    """How many steps are in which state."""

    total: int = 0
    """Steps of the workflow."""
    succeeded: int = 0
    """Steps that did their work."""
    failed: int = 0
    """Steps whose last attempt failed."""
    running: int = 0
    """Steps that a runner executes."""
    skipped: int = 0
    """Steps that were not to run."""


class StepFailure(Model):
    """A step that failed."""

    step: str
    """Name of the step."""
    reason: str
    """CamelCase word for machines."""
    message: str
    """What happened, for people."""


class WorkflowRunStatus(Model):
    """How far a run is."""

    observed_generation: int | None = None
    """The generation of the spec that this status speaks of; -1 until the operator has seen it."""
    phase: PhaseName | None = None
    """Where the run is on its way."""
    reason: str | None = None
    """Why the run failed, as a CamelCase word: the type of its error, such as RunnerLost, which makes a run a dead
    letter. A field selector may name it: `--field-selector status.reason=RunnerLost`."""
    rerun_of: str | None = None
    """The run that it goes on from."""
    conditions: list[Condition] = Field(default_factory=list)
    """Succeeded (what `kubectl wait` waits for), Reconciling and Stalled (what kstatus, Argo CD and Flux read).
    Migrated, once `spec.revision` asked for another revision: True, or False with every reason why not."""
    run_id: str | None = None
    """Id of the run in the store."""
    revision: str | None = None
    """The compiled version of the workflow that it runs."""
    started_at: Timestamp | None = None
    """When the first step started."""
    finished_at: Timestamp | None = None
    """When the run ended."""
    steps: StepCounts | None = None
    """How many steps are in which state."""
    progress: str | None = None
    """Steps done of all steps, such as `3/5`."""
    message: str | None = None
    """One sentence on where the run is or why it failed."""
    failures: Annotated[list[StepFailure], Field(max_length=20)] = Field(default_factory=list)
    """The first steps that failed."""
    output: Any = None
    """The run's output, if it is small and not sensitive."""
    estimated_finish_at: Timestamp | None = None
    """When the run is likely to end, judged by earlier runs."""
