"""How often the resource of a run is told something. Pure: the time is an argument, in seconds of a steady clock."""

from dataclasses import dataclass
from enum import StrEnum

from leat_engine.result import Phase

FIRST_DELAY = 0.025
"""A run that ends within this time after it was accepted is told once, with its end: one write fewer for short runs."""

FIRST_INTERVAL = 2.0
LONGEST_INTERVAL = 60.0
"""Each interval between two tellings is twice the last one, so that a run of n seconds costs O(log n) writes."""

_NOTABLE = frozenset({Phase.SUSPENDED, Phase.COMPENSATING})
"""Phases that somebody waits to see: entering and leaving them is told at once."""


class Stage(StrEnum):
    """What a telling is, as the metric counts it."""

    FIRST = "first"
    PROGRESS = "progress"
    FINAL = "final"


@dataclass(slots=True)
class Pace:
    """What one resource was told last, and when it may be told again.

    Attributes:
        not_before: Nothing but the end, a new spec or a notable phase is told earlier than this.
        waiting: What a step was told to wait for.
        news_not_before: What a step waits for is told no earlier than this.
    """

    not_before: float = 0.0
    interval: float = FIRST_INTERVAL
    phase: Phase | None = None
    generation: int = 0
    waiting: str = ""
    news_not_before: float = 0.0

    def due(self, phase: Phase, generation: int, now: float, waiting: str = "") -> float:
        """When to tell the run's ``phase``, that ``generation`` of its spec was seen, and what a step waits for."""
        if phase.done:
            return now
        if self.phase is not None:
            noted = phase is not self.phase and bool({phase, self.phase} & _NOTABLE)
            if noted or generation > self.generation:
                return now
            if waiting != self.waiting:
                return max(now, min(self.not_before, self.news_not_before))
        return max(now, self.not_before)

    def stage(self, phase: Phase) -> Stage:
        """What telling this phase now would be."""
        if phase.done:
            return Stage.FINAL
        return Stage.FIRST if self.phase is None else Stage.PROGRESS

    def told(self, phase: Phase, generation: int, now: float, waiting: str = "") -> None:
        """Remember what was told."""
        self.phase, self.generation = phase, generation
        if waiting != self.waiting:
            self.waiting, self.news_not_before = waiting, now + FIRST_INTERVAL
        self.not_before = now + self.interval
        self.interval = min(self.interval * 2, LONGEST_INTERVAL)


def poll_interval(quiet: float) -> float:
    """Seconds until the store is asked again, when nothing has happened for ``quiet`` seconds.

    A fiftieth of that, so that the end of a run is seen at most 2 % late, and a store that is idle is left alone.
    """
    return min(max(quiet / 50, 0.025), 1.0)
