"""Whether and when a failed attempt is followed by another one."""

from dataclasses import dataclass

from leat_engine.expression import Template
from leat_engine.result import StepError


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When to try again. Durations in seconds.

    Attributes:
        max: Further attempts after the first; 0 means none.
        initial, factor, max_delay: The n-th delay is ``min(initial * factor**(n-1), max_delay)``.
        full_jitter: Draw the delay evenly from 0 to that value, so that many failures do not return together.
        when: Evaluated with ``error``; false ends the attempts.
        max_elapsed: No further attempt may start later than this after the step was first queued.
    """

    max: int = 0
    initial: float = 1.0
    factor: float = 2.0
    max_delay: float = 60.0
    full_jitter: bool = True
    when: Template | None = None
    max_elapsed: float | None = None


NO_RETRY = RetryPolicy()


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed attempt, as the policy sees it: its number (from 1) and seconds since the step was first queued."""

    error: StepError
    attempt: int
    elapsed: float


def delay_before_next(policy: RetryPolicy, failure: Failure, *, wanted: bool, random: float) -> float | None:
    """Seconds until the next attempt, or None when there is none.

    Args:
        policy: The step's policy.
        failure: What happened.
        wanted: What ``policy.when`` said of the error (True without one).
        random: From [0, 1), drawn by the caller.
    """
    if not wanted or not failure.error.retriable or failure.attempt > policy.max:
        return None
    delay = min(policy.initial * policy.factor ** min(failure.attempt - 1, 64), policy.max_delay)
    if policy.full_jitter:
        delay *= random
    if policy.max_elapsed is not None and failure.elapsed + delay > policy.max_elapsed:
        return None
    return delay
