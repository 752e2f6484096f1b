"""What the quotas of a namespace allow together, and how many of its waiting runs may begin now. Pure.

Starts come out of a token bucket, by GCRA as in `bucket`: ``spent`` is the time at which it would be full again. It
holds the starts of five seconds, so that what comes in small bursts is not spread. The law: in any ``w`` seconds
there are at most ``burst + w / interval`` starts, by the database's clock.
"""

from collections.abc import Iterable
from dataclasses import dataclass

BURST_SECONDS = 5
QUOTA = "quota of the namespace"
"""How the note of a step begins that waits for a seat; `reports.sql` knows it too."""
_GRAIN = 1e-6


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a namespace may use at once, and start in a minute; None where nothing is said."""

    active_runs: int | None = None
    starts_per_minute: int | None = None
    steps: int | None = None

    @property
    def limits_runs(self) -> bool:
        """Whether runs may have to wait."""
        return self.active_runs is not None or self.starts_per_minute is not None

    @property
    def burst(self) -> int:
        """Starts that the bucket holds."""
        return 0 if not self.starts_per_minute else max(1, self.starts_per_minute * BURST_SECONDS // 60)

    @property
    def interval(self) -> float:
        """Seconds between two starts that go on for long."""
        return 60 / self.starts_per_minute if self.starts_per_minute else 0.0


NOTHING_SAID = Allowance()


@dataclass(frozen=True, slots=True)
class Use:
    """How much of it a namespace uses for runs.

    Attributes:
        active: Runs that have begun and are not over; counted up to the limit.
        started: Runs that were let in within the last minute.
        spent: Of the bucket.
        now: The database's time, in seconds since 1970.
    """

    active: int
    started: int
    spent: float
    now: float


@dataclass(frozen=True, slots=True)
class Room:
    """How many runs may begin, and why no more of them, for people."""

    starts: int
    why: str


def together(quotas: Iterable[Allowance]) -> Allowance:
    """What several quotas allow: all of them hold, so of each word the smallest counts."""
    listed = list(quotas)
    return Allowance(
        _least(quota.active_runs for quota in listed),
        _least(quota.starts_per_minute for quota in listed),
        _least(quota.steps for quota in listed),
    )


def room(allowed: Allowance, use: Use, most: int) -> Room:
    """How many of the waiting runs may begin now; ``most`` at once."""
    free = most if allowed.active_runs is None else allowed.active_runs - use.active
    due = most if allowed.starts_per_minute is None else _due(allowed, use)
    if allowed.starts_per_minute is not None and due < free:
        why = f"startsPerMinute: {use.started} of {allowed.starts_per_minute} used, starts are spread over the minute"
    elif allowed.active_runs is not None:
        why = f"activeRuns: {use.active + max(0, min(free, due))} of {allowed.active_runs} used"
    else:
        why = ""
    return Room(max(0, min(free, due, most)), why)


def steps_waiting(allowed: int) -> str:
    """What a step without a seat waits for, for people."""
    return f"{QUOTA}, steps: {allowed} of {allowed} used"


def _due(allowed: Allowance, use: Use) -> int:
    if not allowed.interval:
        return 0
    full = max(use.now, use.spent)
    return max(0, int((use.now + allowed.burst * allowed.interval - full) / allowed.interval + _GRAIN))


def _least(words: Iterable[int | None]) -> int | None:
    return min((word for word in words if word is not None), default=None)
