"""What one commit writes, as the columns of its statement, and what the store says of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from leat_engine.job import StepKey, dumps
from leat_engine.records import Block, Stop
from leat_engine.result import Phase, Result, State


@dataclass(frozen=True, slots=True)
class Lateness:
    """A claimed attempt that is to wait ``seconds``.

    Attributes:
        error: JSON text of a failed attempt's error, else None.
        epoch: Of the run, as its runner knows it.
    """

    key: StepKey
    attempt: int
    seconds: float
    pool: str
    error: str | None
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run whose part was applied: its phase now, and the phase it is being stopped with."""

    phase: Phase
    stopping: Phase | None


Granted = dict[tuple[UUID, int], dict[int, int]]
"""Steps that have become live: their attempts by run and scope, and by node."""


@dataclass(slots=True)
class Written:
    """What the store applied. Runs that are missing in ``runs`` were refused whole."""

    runs: dict[UUID, Outcome] = field(default_factory=dict)
    claimed: Granted = field(default_factory=dict)
    readied: Granted = field(default_factory=dict)


@dataclass(slots=True)
class Opened:
    """What the store opened: the first scope of each step that did, by its address. Those missing were refused."""

    bases: dict[StepKey, int] = field(default_factory=dict)
    claimed: Granted = field(default_factory=dict)
    readied: Granted = field(default_factory=dict)


class Openings:
    """The columns of the `open` statement, filled row by row."""

    __slots__ = ("_epochs", "_openers", "_roots", "_seconds")

    def __init__(self) -> None:
        self._openers: tuple[list[Any], ...] = tuple([] for _ in range(11))
        self._roots: tuple[list[Any], ...] = tuple([] for _ in range(8))
        self._epochs: list[int] = []
        self._seconds: list[float | None] = []

    def opener(
        self, key: StepKey, attempt: int, block: Block, nodes: int, terms: tuple[int, float | None] = (0, None)
    ) -> None:
        """A step that opens scopes, how its block is afterwards, and how many steps the run has more for that.

        ``terms``: the epoch of its run, and the seconds that its body may take from when it is opened first, or None.
        """
        epoch, seconds = terms
        self._epochs.append(epoch)
        self._seconds.append(seconds)
        row = (block.body, block.size, nodes, block.opened, block.settled, block.failed, block.target)
        for column, value in zip(self._openers, (*key, attempt, *row), strict=True):
            column.append(value)

    def root(self, opener: StepKey, index: int, root: int, state: State, queue: tuple[str, int]) -> None:
        """A first step of a scope: claimed, or ready for the queue, which is its pool and priority."""
        for column, value in zip(self._roots, (*opener, index, root, int(state), *queue), strict=True):
            column.append(value)

    @property
    def columns(self) -> tuple[list[Any], ...]:
        """The columns in the order of the statement's parameters."""
        return (*self._openers, *self._roots, self._epochs, self._seconds)


class Writes:
    """The columns of the commit statement, filled row by row.

    They travel as array literals (Postgres manual, "Array Input and Output Syntax"): the driver examines every element
    of a list in Python, which costs more than all the rest of a commit here.
    """

    __slots__ = ("_coming", "_ended", "_epochs", "_overs", "stops")

    def __init__(self) -> None:
        self._ended: tuple[list[str], ...] = tuple([] for _ in range(7))
        self._coming: tuple[list[str], ...] = tuple([] for _ in range(10))
        self._overs: tuple[list[str], ...] = tuple([] for _ in range(4))
        self._epochs: list[str] = []
        self.stops: list[tuple[UUID, Stop]] = []

    def end(self, key: StepKey, attempt: int, result: Result, epoch: int = 0) -> None:
        """An attempt is over. ``epoch``: of its run, as its runner knows it."""
        self._epochs.append(str(epoch))
        _add(self._ended, *_address(key), str(attempt), _NUMBER[result.state], *_end(result))

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
        count, missing = needs
        pool, priority = queue
        row = (_NUMBER[state], str(count), str(missing), _quoted(pool), str(priority), *_end(result))
        _add(self._coming, *_address(key), *row)

    def over(self, run_id: UUID, phase: Phase, output: Any, error: Mapping[str, Any] | None) -> None:
        """The run ends with this commit."""
        _add(self._overs, run_id.hex, str(int(phase)), _value(output), _value(error))

    def literals(self) -> list[str]:
        """The columns in the order of the statement's parameters."""
        return ["{" + ",".join(column) + "}" for column in (*self._ended, *self._coming, *self._overs, self._epochs)]


_NUMBER = {state: str(int(state)) for state in State}
_NO_END = ("NULL", "NULL")


def _add(columns: tuple[list[str], ...], *row: str) -> None:
    for column, value in zip(columns, row, strict=True):
        column.append(value)


def _address(key: StepKey) -> tuple[str, str, str]:
    run_id, scope, step = key
    return run_id.hex, str(scope), str(step)


def _end(result: Result | None) -> tuple[str, str]:
    return _NO_END if result is None else (_value(result.output), _value(result.error))


def _value(value: Any) -> str:
    return "NULL" if value is None else _quoted(dumps(value))


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
