"""The resource `RunQuota`."""

from typing import Annotated, Literal

from pydantic import Field

from leat_engine.spec.meta import Metadata
from leat_engine.spec.model import Model
from leat_engine.spec.status import Condition

Count = Annotated[int, Field(ge=0, le=1_000_000)]


class RunQuotaSpec(Model):
    """What the runs of the namespace may use together. A word that is left out limits nothing; 0 lets nothing begin."""

    active_runs: Count | None = None
    """Runs at once, from when they begin until they are over."""
    starts_per_minute: Count | None = None
    """Runs that begin in a minute. Starts come out of a token bucket that is filled evenly, and holds those of five
    seconds."""
    steps: Count | None = None
    """Steps that runners execute at once, of all runs. Steps without effects and those that wait do not count."""


class QuotaFigures(Model):
    """A figure for each word of the quota."""

    active_runs: int | None = None
    """Runs."""
    starts_per_minute: int | None = None
    """Runs that began in the last minute."""
    steps: int | None = None
    """Steps."""


class QuotaWaiting(Model):
    """What waits for room."""

    runs: int = 0
    """Runs, which are Pending with the reason QuotaExceeded."""
    steps: int = 0
    """Steps, without a runner."""


class RunQuotaStatus(Model):
    """How much of it is used."""

    observed_generation: int | None = None
    """The generation of the spec that this status speaks of; -1 until the operator has seen it."""
    conditions: list[Condition] = Field(default_factory=list)
    """Ready: whether it is in force. Reconciling and Stalled as kstatus, Argo CD and Flux read them."""
    hard: QuotaFigures | None = None
    """What this quota allows. Where a namespace has several, all hold."""
    used: QuotaFigures | None = None
    """What the namespace uses of it, as it was some seconds ago."""
    waiting: QuotaWaiting | None = None
    """What waits in the namespace, as it was some seconds ago."""
    runs: str | None = None
    """Used and allowed runs, such as `3/100`."""
    starts: str | None = None
    """Used and allowed starts of the last minute."""
    steps: str | None = None
    """Used and allowed steps."""


class RunQuota(Model):
    """Limits what the runs of its namespace use together. Over it nothing is refused: runs and steps wait for room.

    It belongs to whoever runs the cluster, as a ResourceQuota does.
    """

    api_version: Literal["leat.dev/v1alpha1"]
    kind: Literal["RunQuota"]
    metadata: Metadata
    spec: RunQuotaSpec
    """What is allowed."""
    status: RunQuotaStatus | None = None
    """How much of it is used."""
