"""What stands in a test file. Pure models; `load` in `cases` reads one and holds it against its workflow."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, BeforeValidator, Field, model_validator

from leat_engine.spec.duration import Duration
from leat_engine.spec.model import Model

Phase = Literal["Succeeded", "Failed", "Cancelled", "Running"]
START = datetime(2026, 1, 1, tzinfo=UTC)
"""When a run begins that says nothing else."""


class FakeError(Model):
    """An error that a step gives instead of an output."""

    type: Annotated[str, Field(min_length=1)]
    """Such as `HttpStatus`, `Timeout`, or the name of an exception."""
    message: str = "as the test says"
    """What went wrong."""
    reason: str = ""
    """CamelCase word for machines; the type unless stated."""
    retriable: bool | None = None
    """Whether another attempt may follow. True unless stated; of an `HttpStatus` what its `details.status` says."""
    details: dict[str, Any] = Field(default_factory=dict)
    """Readable as `error.KEY` too, such as `{status: 503}`."""


class Fake(Model):
    """What a step gives instead of being executed: an `output` or an `error`."""

    output: Any = None
    """The output: a value, or one with expressions that read `inputs`, `vars`, `run`, `now`, `item`, `index`,
    `iteration`, `last`, `attempt`, and `fields`: what the step was given."""
    error: FakeError | None = None
    """The error."""
    takes: Duration | None = None
    """How long the attempt takes; no time unless stated. It is skipped, and the step's `timeout` holds."""

    @model_validator(mode="after")
    def _one_end(self) -> Self:
        if ("output" in self.model_fields_set) == (self.error is not None):
            raise ValueError("expected exactly one of `output` and `error`")
        return self


def _listed(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


Answers = Annotated[list[Fake], BeforeValidator(_listed, json_schema_input_type=Fake | list[Fake]), Field(min_length=1)]
"""One answer, or one for each time that the step is executed; the last one stays."""


class Told(Model):
    """What somebody tells the run: exactly one of `signal`, `approve` and `reject`, with the name."""

    signal: str | None = None
    """Name of a signal; `order/NAME` is for the run that `order` starts."""
    approve: str | None = None
    """Name of an approval, which is the step's unless it has another one."""
    reject: str | None = None
    """The same, to reject it."""
    payload: Any = None
    """Of a signal."""
    by: str = ""
    """Who says so."""
    groups: list[str] = Field(default_factory=list)
    """Of which this one is a member."""
    comment: str = ""
    """Of a vote."""
    after: Duration | None = None
    """When, from the beginning of the run; as soon as a step waits for it unless stated."""

    @model_validator(mode="after")
    def _one_thing(self) -> Self:
        if sum(name is not None for name in (self.signal, self.approve, self.reject)) != 1:
            raise ValueError("expected exactly one of `signal`, `approve` and `reject`")
        return self


class Expect(Model):
    """What must have come of the run. What is not stated may be anything, but for `phase`."""

    phase: Phase | None = None
    """Phase of the run: Succeeded unless stated, or Failed where `error` is. Running: it waits for somebody, for
    ever."""
    output: Any = None
    """The run's output, as a whole."""
    error: dict[str, Any] | None = None
    """Of the run's error, these keys: `type`, `step`, ...; of `message` a part is enough."""
    path: list[str] | None = None
    """All steps that did something, in the order in which they began."""
    ran: list[str] = Field(default_factory=list)
    """Steps that did something, among others."""
    skipped: list[str] = Field(default_factory=list)
    """Steps that were skipped or could never run, among others."""
    failed: list[str] = Field(default_factory=list)
    """Steps that failed, be it handled or not, among others."""
    cached: list[str] = Field(default_factory=list)
    """Steps that took an earlier result from the cache instead of being executed, among others."""
    attempts: dict[str, int] = Field(default_factory=dict)
    """How often steps were tried."""
    outputs: dict[str, Any] = Field(default_factory=dict)
    """Outputs of steps, each as a whole."""
    fields: dict[str, Any] = Field(default_factory=dict)
    """What steps were given in their last attempt: of an object these keys; secrets are `***`."""
    duration: Duration | None = None
    """How long the run takes, skipped time included; delays of retries are as long as they may be."""

    @property
    def wanted_phase(self) -> str:
        """The phase that is expected."""
        return self.phase or ("Succeeded" if self.error is None else "Failed")


class Common(Model):
    """What a case is played with; in `defaults` for all cases of the file. A case's own entries win."""

    inputs: dict[str, Any] = Field(default_factory=dict)
    """Inputs of the run."""
    steps: dict[str, Answers] = Field(default_factory=dict)
    """What steps give instead of being executed. A name means every execution of the step; `reserve[1]` means one item
    or iteration, counted from 0, and `ship[0]/pack` a step of a body. `order/charge` is the step `charge` of the run
    that `order` starts."""
    secrets: dict[str, dict[str, str]] = Field(default_factory=dict)
    """Secrets as `NAME: {KEY: VALUE}`; any other one is made up."""
    allow: list[str] = Field(default_factory=list)
    """Kinds that are executed for real where a step has no answer, such as `script`."""
    functions: list[str] = Field(default_factory=list)
    """Files with `@leat.step` functions, for `allow: [function]`; seen from this file."""
    now: Annotated[AwareDatetime, Field(strict=False)] | None = None
    """When the run begins: RFC 3339 with a time zone. 2026-01-01T00:00:00Z unless stated."""


class CaseSpec(Common):
    """One run, and what must come of it."""

    name: Annotated[str, Field(min_length=1)]
    """A sentence that tells what is so."""
    signals: list[Told] = Field(default_factory=list)
    """What the run is told from outside."""
    cancel_after: Duration | None = None
    """The run is cancelled then."""
    expect: Expect
    """What must have come of it."""


class TestFile(Model):
    """Tests of one workflow."""

    __test__ = False  # pytest collects classes with such names

    workflow: Annotated[str, Field(min_length=1)]
    """The file with the Workflow, seen from this one; `FILE#NAME` for one of several in it."""
    workflows: list[str] = Field(default_factory=list)
    """Files with other Workflows that its steps may start runs of, seen from this one; those that stand in the file of
    `workflow` need not be named."""
    defaults: Common = Field(default_factory=Common)
    """What holds for every case."""
    cases: Annotated[list[CaseSpec], Field(min_length=1)]
    """The cases."""

    @model_validator(mode="after")
    def _names(self) -> Self:
        names = [case.name for case in self.cases]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"several cases have one name: {', '.join(map(repr, twice))}; each needs its own")
        return self


def over(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of both; a case's own win."""
    return {**defaults, **own}
