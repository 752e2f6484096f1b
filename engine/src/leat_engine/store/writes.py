"""What one commit writes, as the columns of its statement, and what the store says of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from leat_engine.job import StepKey, dumps
from leat_engine.records import Stop
from leat_engine.result import Phase, Result, State


@dataclass(frozen=True, slots=True)
class Lateness:
    """A claimed attempt that is to wait ``seconds``. ``error``: JSON text of a failed attempt's error, else None."""

    key: StepKey
    attempt: int
    seconds: float
    pool: str
    error: str | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run whose part was applied: its phase now, and the phase it is being stopped with."""

    phase: Phase
    stopping: Phase | None


@dataclass(slots=True)
class Written:
    """What the store applied. Runs that are missing in ``runs`` were refused whole."""

    runs: dict[UUID, Outcome] = field(default_factory=dict)
    claimed: dict[UUID, list[int]] = field(default_factory=dict)
    readied: dict[UUID, list[int]] = field(default_factory=dict)


class Writes:
    """Columns, filled row by row."""

    __slots__ = ("coming", "ended", "overs", "stops")

    def __init__(self) -> None:
        self.ended: tuple[list[Any], ...] = tuple([] for _ in range(7))
        self.coming: tuple[list[Any], ...] = tuple([] for _ in range(10))
        self.overs: tuple[list[Any], ...] = tuple([] for _ in range(4))
        self.stops: list[tuple[UUID, Stop]] = []

    def end(self, key: StepKey, attempt: int, result: Result) -> None:
        """An attempt is over."""
        row = (*key, attempt, int(result.state), _text(result.output), _text(result.error))
        for column, value in zip(self.ended, row, strict=True):
            column.append(value)

    def come(
        self, key: StepKey, state: State, needs: tuple[int, int], queue: tuple[str, int], result: Result | None
    ) -> None:
        """A step that follows.

        Args:
            key: Its address.
            state: What it becomes once nothing is missing.
            needs: How many it has, and how many are still missing after this commit.
            queue: Its pool and priority.
            result: Its end, if ``state`` is one.
        """
        end = (None, None) if result is None else (_text(result.output), _text(result.error))
        for column, value in zip(self.coming, (*key, int(state), *needs, *queue, *end), strict=True):
            column.append(value)

    def over(self, run_id: UUID, phase: Phase, output: Any, error: Mapping[str, Any] | None) -> None:
        """The run ends with this commit."""
        for column, value in zip(self.overs, (run_id, int(phase), _text(output), _text(error)), strict=True):
            column.append(value)


def _text(value: Any) -> str | None:
    return None if value is None else dumps(value)
