"""What holds steps and runs back: concurrency, rates, breakers; and what spares a step, its cache."""

from typing import Annotated, Literal

from pydantic import Field

from leat_engine import limits
from leat_engine.spec.duration import Duration
from leat_engine.spec.model import Model

Key = Annotated[str, Field(min_length=1, max_length=limits.EXPRESSION_CHARS)]


class Concurrency(Model):
    """How many attempts of steps with the same key may run at once, over all runs and runners of the namespace."""

    key: Key | None = None
    """What is limited, such as `${ inputs.customer }`. Attempts with equal keys share the limit; the workflow's and the
    step's name unless stated."""
    limit: Annotated[int, Field(ge=1, le=limits.HOLDERS)] = 1
    """How many may run at once; 1 is a mutex."""
    on_conflict: Literal["queue", "reject"] = "queue"
    """What the next one does when all are taken: wait without a slot of a runner, the older run first; or fail as
    `Busy`."""


class RunConcurrency(Model):
    """How many runs with the same key may be under way at once in the namespace."""

    key: Key | None = None
    """What is limited; it may read `inputs`, `vars` and `run`. The workflow's name unless stated. Keys of runs and keys
    of steps are apart."""
    limit: Annotated[int, Field(ge=1, le=limits.HOLDERS)] = 1
    """How many may be under way at once."""
    on_conflict: Literal["queue", "reject", "replace"] = "queue"
    """What the next run does when all are taken: wait; fail as `Busy`; or have every earlier run with this key
    cancelled, those that wait included, and follow when they have ended."""


class RateLimit(Model):
    """How often attempts of steps with the same key may start: a token bucket over all runners of the namespace."""

    key: Key | None = None
    """What is limited; the workflow's and the step's name unless stated."""
    rate: Annotated[int, Field(ge=1, le=limits.RATE)]
    """Starts in each time of `per`."""
    per: Duration = "1s"
    """The time in which `rate` attempts may start."""
    burst: Annotated[int, Field(ge=1, le=limits.RATE)] = 1
    """Starts at once after a quiet time."""


class Breaker(Model):
    """Attempts that fail at once while what they need is down, so that it can recover."""

    key: Key | None = None
    """What may be down; the workflow's and the step's name unless stated."""
    failures: Annotated[int, Field(ge=1, le=limits.BREAKER_FAILURES)] = 5
    """So many failures worth another try, within `window`, open it: attempts then fail as `BreakerOpen`."""
    window: Duration = "1m"
    """The time in which failures are counted."""
    cool_down: Duration = "30s"
    """How long it stays open. Then one attempt is let through: its success closes it, its failure opens it again."""


class Cache(Model):
    """An earlier result that is taken instead of executing the step."""

    key: Key
    """What the result depends on, such as `${ inputs.customer }`. Results are kept by namespace, workflow, step and
    key."""
    ttl: Duration
    """How long a result may be taken."""
