"""The resource `Workflow`."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from leat_engine import limits
from leat_engine.spec.duration import Duration
from leat_engine.spec.meta import Metadata
from leat_engine.spec.model import Model
from leat_engine.spec.restraint import Breaker, Cache, Concurrency, RateLimit, RunConcurrency
from leat_engine.spec.status import WorkflowStatus
from leat_engine.spec.template import StepTemplate
from leat_engine.spec.trigger import Triggers

Name = Annotated[str, Field(max_length=limits.NAME_CHARS)]
End = Literal["Succeeded", "Failed", "Skipped", "Finished"]
JsonSchema = dict[str, Any]


def _tolerated(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | str):
        found = str(value).lower() if isinstance(value, bool | float) else type(value).__name__
        raise ValueError(f"found {found}, expected a number of items, a share such as 10%, or all")  # noqa: TRY004
    return value


class Backoff(Model):
    """How long to wait between attempts."""

    initial: Duration | None = None
    """Delay before the second attempt. 1s unless stated."""
    factor: Annotated[float, Field(ge=1, le=100)] | None = None
    """What each delay is multiplied by to give the next one. 2 unless stated."""
    max: Duration | None = None
    """The longest delay. 1m unless stated."""
    jitter: Literal["full", "none"] | None = None
    """`full` (unless stated) draws each delay evenly from 0 to its value, so that many failures do not return at
    once."""


class Retry(Model):
    """Whether and when a failed attempt is followed by another one. A step's fields override those of `defaults`."""

    max: Annotated[int, Field(ge=0, le=limits.RETRIES)] | None = None
    """Further attempts after the first. 3 unless stated; 0 means none."""
    backoff: Backoff | None = None
    """How long to wait between attempts."""
    when: bool | str | None = None
    """A condition on `error`, such as `${ error.status >= 500 }`; false ends the attempts. It may read `inputs` and
    `vars` too."""
    max_elapsed: Duration | None = None
    """No further attempt starts later than this after the step was first queued."""


class Defaults(Model):
    """What holds for every step that does not say otherwise."""

    retry: Retry | None = None
    """Retry policy of the steps. Without one a failed attempt is final."""
    timeout: Duration | None = None
    """Time that each attempt of a step may take. Bodies have no attempts: it does not hold for them."""


class Need(Model):
    """A step that has to be done before this one starts."""

    step: Name
    """Name of the step."""
    on: Annotated[list[End], Field(min_length=1, max_length=4)] | None = None
    """Ends of that step which let this one start: Succeeded, Failed, Skipped, Finished (any end). [Succeeded, Skipped]
    unless stated. An edge that takes Failed handles the failure."""

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        """A name alone is a need too. YAML 1.1 reads the key ``on`` as true, and kubectl sends it as "true"."""
        if isinstance(value, str):
            return {"step": value}
        if isinstance(value, Mapping):
            return {"on" if key is True or key == "true" else key: item for key, item in value.items()}
        return value


class Repeat(Model):
    """How often a step is done, one time after the other."""

    until: bool | str | None = None
    """A condition that ends the repetition, looked at after each time. It may read `last`, the output of that time, and
    `iteration`, its number from 0."""
    max: Annotated[int, Field(ge=1, le=limits.ITERATIONS)] | None = None
    """How many times at most: 100 unless stated. When `until` has not become true by then, the step fails; without
    `until`, where it is required, it is done exactly so often."""
    delay: Duration | None = None
    """Time between two times. None unless stated."""


class Case(Model):
    """One way that a `switch` may take."""

    when: bool | str | None = None
    """The condition of this case; the first case whose condition is true is taken."""
    default: Literal[True] | None = None
    """Instead of `when`, in the last case: it is taken when no other one is."""
    steps: "Annotated[list[Step], Field(min_length=1, max_length=limits.STEPS)]"
    """The steps of this case."""
    output: Any = None
    """What the case gives; it may read the steps of the case."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.when is None) == (self.default is None):
            raise ValueError("expected exactly one of `when` and `default: true`")
        return self


class Artifact(Model):
    """A file that a step leaves, for later steps and for people."""

    path: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    """Of a script: the file, relative to the directory in which the script runs; of a container, to the directory
    `$LEAT_FILES`. A function hands its file over."""
    content_type: Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$&^_.+-]+/[ -~]+$", max_length=253)] | None = None
    """What kind of file it is, such as `text/csv`. `application/octet-stream` unless stated."""


class Compensation(Model):
    """How what a step did is undone, when its run does not end well: a kind with its fields, or a body of `steps`.

    It runs once for each time that the step succeeded, and reads what the step could read, the step's own result, and
    `error`, why the run does not end well.
    """

    model_config = ConfigDict(extra="allow")

    use: Annotated[str, Field(max_length=253)] | None = None
    """A template that gives it its kind."""
    arguments: Annotated[dict[str, Any], Field(max_length=256)] | None = Field(default=None, alias="with")
    """The parameters of the template by name: values or expressions."""
    when: bool | str | None = None
    """A condition. When it is false nothing is undone."""
    retry: Retry | None = None
    """Whether and when a failed attempt is followed by another one."""
    timeout: Duration | None = None
    """Time that each attempt may take; of a body, the time that all of it may take."""
    deadline: Duration | None = None
    """Time that all attempts may take together. Not of a body, which is not tried again."""
    pool: Name | None = None
    """The pool of runners that execute it; the workflow's unless stated."""
    steps: "Annotated[list[Step], Field(min_length=1, max_length=limits.STEPS)] | None" = None
    """A body instead of a kind."""


class Step(Model):
    """One step: a name, when it runs, and exactly one kind (`http`, `script`, ...) with the kind's fields, or a body.

    A body is `steps`, or the cases of a `switch`. With `forEach` or `repeat` the kind or the body is done many times.
    """

    model_config = ConfigDict(extra="allow")

    name: Name
    """Name of the step, unique in the workflow: letters, digits, `-` and `_`, at most 63, beginning with a letter."""
    use: Annotated[str, Field(max_length=253)] | None = None
    """A template that gives the step its kind: one of the catalogue, such as `slack/post-message`, or one of the
    workflow's `templates`."""
    arguments: Annotated[dict[str, Any], Field(max_length=256)] | None = Field(default=None, alias="with")
    """The parameters of the template by name: values or expressions."""
    needs: Annotated[list[Need], Field(max_length=limits.NEEDS)] = Field(default_factory=list)
    """Steps that have to be done before this one starts: names, or `{step: NAME, on: [Failed]}`. A step whose result an
    expression reads is needed without being listed."""
    when: bool | str | None = None
    """A condition. When it is false the step is skipped, and its output is null."""
    retry: Retry | None = None
    """Whether and when a failed attempt is followed by another one."""
    timeout: Duration | None = None
    """Time that each attempt may take. Of a body, the time that all of it may take, every item and iteration included,
    from when it begins: then nothing begins in it any more, what runs in it is interrupted, and the step fails with
    `Timeout`. Beside `forEach` or `repeat` and a kind it holds for each time."""
    deadline: Duration | None = None
    """Time that all attempts may take together, from when the step was first queued. Not of a body, which is not tried
    again: `timeout` limits it."""
    pool: Name | None = None
    """The pool of runners that execute it; the workflow's unless stated."""
    for_each: Any = None
    """A list or an object, mostly an expression: the step is done once for each of its items. There, expressions read
    `item` and `index`, from 0; of an object, which is done in the order of its keys, `item` is `{key, value}`. The
    output is the list of the outputs, in the order of the items, or an object with the same keys."""
    max_parallel: Annotated[int, Field(ge=1, le=limits.PARALLEL)] | None = None
    """With `forEach`: how many items may be under way at the same time. 500 unless stated."""
    tolerate: Annotated[int | str, Field(union_mode="left_to_right"), BeforeValidator(_tolerated)] | None = None
    """With `forEach`: how many items may fail, and the step still succeeds: a number, a share such as `10%`, or `all`.
    0 unless stated: after the first failure no further item begins. The output of an item that failed is null."""
    repeat: Repeat | None = None
    """Do the step again and again."""
    switch: Annotated[list[Case], Field(min_length=1, max_length=limits.CASES)] | None = None
    """Do the steps of the first case whose condition is true. The output is that of the case, or null if none is."""
    steps: "Annotated[list[Step], Field(min_length=1, max_length=limits.STEPS)] | None" = None
    """A body: steps of this step. They read the steps around it, but are not read from outside; `output` is."""
    output: Any = None
    """With `steps`: what the body gives; it may read the steps of the body."""
    artifacts: Annotated[dict[Name, Artifact], Field(max_length=limits.ARTIFACTS)] = Field(default_factory=dict)
    """Files that the step leaves, by name; a later step reads one as `steps.NAME.artifacts.ARTIFACT`. They are kept in
    the artifact store as long as the run is in the history."""
    concurrency: Concurrency | None = None
    """How many attempts of steps with the same key may run at once."""
    rate_limit: RateLimit | None = None
    """How often attempts of steps with the same key may start."""
    breaker: Breaker | None = None
    """Fail attempts at once while what they need is down."""
    cache: Cache | None = None
    """Take an earlier result instead of executing the step."""
    compensate: Compensation | None = None
    """Undoes what the step did, if it succeeded and the run fails, is cancelled, or is over its time after that. What
    was done last is undone first. With `forEach` or `repeat`, each time that succeeded is undone by itself."""

    @property
    def others(self) -> dict[str, Any]:
        """The fields that are no field of every step: the kind, if all is well."""
        return self.model_extra or {}


class WorkflowSpec(Model):
    """What a workflow does."""

    description: Annotated[str, Field(max_length=2048)] | None = None
    """What the workflow is for, in a sentence."""
    inputs: Annotated[dict[str, JsonSchema], Field(max_length=256)] = Field(default_factory=dict)
    """Inputs by name, each a JSON Schema. One without `default` is required. `sensitive: true` redacts its value
    wherever people look."""
    vars: Annotated[dict[str, Any], Field(max_length=256)] = Field(default_factory=dict)
    """Values by name that expressions read as `vars.NAME`. They may read `inputs` and `run`."""
    defaults: Defaults | None = None
    """What holds for every step that does not say otherwise."""
    timeout: Duration | None = None
    """Time that the whole run may take; then it is stopped and fails."""
    pool: Name = "default"
    """The pool of runners that execute the steps."""
    templates: Annotated[dict[str, StepTemplate], Field(max_length=256)] = Field(default_factory=dict)
    """Templates of this workflow by name, beside those of the catalogue. Steps `use` them."""
    concurrency: RunConcurrency | None = None
    """How many runs with the same key may be under way at once."""
    steps: Annotated[list[Step], Field(min_length=1, max_length=limits.STEPS)]
    """The steps, in any order: each starts as soon as what it needs is done."""
    output: Any = None
    """The run's output, evaluated when every step is done."""
    finally_: Annotated[list[Step], Field(max_length=limits.STEPS)] = Field(default_factory=list, alias="finally")
    """Steps at the end of every run, however it ends: after the other steps, and after what is compensated. They read
    `run.phase`, which is how the run ends, `error`, which is null if it ends well, and every step: one that never ran
    is Cancelled, and its output is null."""


class History(Model):
    """How many finished WorkflowRuns are kept, and for how long; what is left out has no limit.

    What goes is the resource. What the store knows of its run has a retention of its own.
    """

    succeeded: Annotated[int, Field(ge=0)] | None = None
    """WorkflowRuns that succeeded: only so many of the newest are kept."""
    failed: Annotated[int, Field(ge=0)] | None = None
    """WorkflowRuns that failed or were cancelled: only so many of the newest are kept."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0)] | None = None
    """Seconds after its end when a WorkflowRun goes that says nothing of this itself."""


class WorkflowResourceSpec(WorkflowSpec):
    """What a workflow does, what starts it, and what is kept of its runs."""

    history: Annotated[History | None, Field(exclude=True)] = None  # no part of a revision: runs do nothing else for it
    """How many finished WorkflowRuns of the workflow are kept, and for how long. Those that are there count too: a
    change of it holds for earlier runs."""
    triggers: Annotated[Triggers, Field(exclude=True)] = Field(default_factory=list)  # nor this
    """What starts runs by itself: times, or messages of a queue. A change of it makes no new revision."""


class Workflow(Model):
    """A workflow: steps, and what each of them needs. Runs of it are WorkflowRuns."""

    api_version: Literal["leat.dev/v1alpha1"]
    kind: Literal["Workflow"]
    metadata: Metadata
    spec: WorkflowResourceSpec
    """What the workflow does."""
    status: WorkflowStatus | None = None
    """What the operator found out about it."""
