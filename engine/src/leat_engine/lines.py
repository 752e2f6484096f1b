"""Lines that steps say, on their way into the store and out of it."""

from dataclasses import dataclass
from datetime import datetime

from leat_engine.job import StepKey


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line that a step said. ``seq`` ascends within a run, in the order in which lines became readable.

    Attributes:
        step: The node of the plan.
        stream: `stdout`, `stderr`, or `leat` for what the runner adds.
    """

    seq: int
    at: datetime
    scope: int
    step: int
    attempt: int
    stream: str
    text: str


@dataclass(frozen=True, slots=True)
class NewLine:
    """A line on its way into the store, heard by ``runner``."""

    runner: int
    key: StepKey
    attempt: int
    at: datetime
    stream: str
    text: str
