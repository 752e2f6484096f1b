"""What many trials come to: quantiles, the critical path, waits. Pure."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from leat_cli.simulation.world import Bar, Limit, Trial

_LEAST = 0.005
"""A share below this is not shown."""


_NO_TIME = 1e-6
"""Seconds: what numbers lose on their way is no wait."""


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Seconds."""

    p50: float
    p90: float
    p99: float
    most: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Quantiles":
        """Return those of some times, of which there is one at least."""
        ordered = sorted(seconds)
        p50, p90, p99 = (ordered[min(int(share * len(ordered)), len(ordered) - 1)] for share in (0.5, 0.9, 0.99))
        return cls(p50, p90, p99, ordered[-1])

    def as_json(self) -> dict[str, float]:
        """Return ``{p50, p90, p99, max}`` in seconds."""
        found = {"p50": self.p50, "p90": self.p90, "p99": self.p99, "max": self.most}
        return {name: round(value, 3) for name, value in found.items()}


@dataclass(frozen=True, slots=True)
class OnPath:
    """A step on the critical path: its share of all time there, and of that the share in which it waited."""

    step: str
    share: float
    waiting: float


@dataclass(frozen=True, slots=True)
class Waits:
    """How long something was waited for.

    Attributes:
        asked: How often it was asked for in one trial, on average.
        delayed: The share of these that had to wait.
        seconds: What all of these waited.
    """

    limit: Limit
    asked: float
    delayed: float
    seconds: Quantiles


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the simulated runs came to. ``failed``: the share of runs that fail."""

    trials: int
    together: int
    seconds: Quantiles
    failed: float
    path: tuple[OnPath, ...]
    waits: tuple[Waits, ...]

    def as_json(self) -> dict[str, Any]:
        """Return what `leat simulate -o json` prints; times are seconds, shares are from 0 to 1."""
        return {
            "runs": self.trials,
            "together": self.together,
            "seconds": self.seconds.as_json(),
            "failed": round(self.failed, 4),
            "criticalPath": [
                {"step": part.step, "share": round(part.share, 4), "waiting": round(part.waiting, 4)}
                for part in self.path
            ],
            "waits": [
                {
                    "limit": found.limit.sort,
                    "key": found.limit.key,
                    "asked": round(found.asked, 2),
                    "delayed": round(found.delayed, 4),
                    "seconds": found.seconds.as_json(),
                }
                for found in self.waits
            ],
        }


def outcome_of(trials: Sequence[Trial]) -> Outcome:
    """Return what the trials, of which there is one at least, came to. Runs that fail count with the time to that."""
    courses = [course for trial in trials for course in trial.courses]
    waited: dict[Limit, list[float]] = defaultdict(list)
    for trial in trials:
        for limit, seconds in trial.waits.items():
            waited[limit] += seconds
    return Outcome(
        len(trials),
        len(trials[0].courses),
        Quantiles.of([course.seconds for course in courses]),
        sum(course.failed for course in courses) / len(courses),
        tuple(_path([course.last for course in courses])),
        tuple(
            Waits(
                limit,
                len(times) / len(trials),
                sum(time > _NO_TIME for time in times) / len(times),
                Quantiles.of(times),
            )
            for limit, times in sorted(waited.items())
        ),
    )


def chain(last: Bar | None) -> Iterator[Bar]:
    """Yield the bars of a critical path, the last one first."""
    while last is not None:
        yield last
        last = last.cause


def typical(trials: Sequence[Trial]) -> Trial:
    """Return the trial that ends when half of all have ended."""
    ordered = sorted(trials, key=lambda trial: max(course.seconds for course in trial.courses))
    return ordered[len(ordered) // 2]


def _path(lasts: Sequence[Bar | None]) -> Iterator[OnPath]:
    """Yield the means of the shares in all runs, so that a run that takes very long counts no more than others."""
    shares: dict[str, float] = defaultdict(float)
    waiting: dict[str, float] = defaultdict(float)
    begins: dict[str, list[float]] = defaultdict(list)
    for last in lasts:
        whole = last.end if last is not None and last.end else 1.0
        for bar in chain(last):
            shares[bar.path] += (bar.end - (bar.cause.end if bar.cause else 0.0)) / whole / len(lasts)
            waiting[bar.path] += (bar.begun - bar.ready) / whole / len(lasts)
            begins[bar.path].append(bar.begun)
    for path in sorted(shares, key=lambda each: sum(begins[each]) / len(begins[each])):
        if shares[path] >= _LEAST:
            yield OnPath(path, shares[path], waiting[path] / shares[path])
