"""What every database of the `sql` kind is given and gives back, whichever client speaks with it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from leat_engine.limits import OUTPUT_BYTES
from leat_engine.result import ErrorType, StepError
from leat_engine.spec.placeholders import Numbered
from leat_runner.kinds.address import Address
from leat_runner.kinds.output import too_large
from leat_runner.kinds.sql_values import BadValue

CONNECTIONS = 8
"""Connections of one runner to one database, at most. Further steps wait for one."""

CONNECT_TIMEOUT = 10.0
CLOSE_TIMEOUT = 2.0

BATCH = 100
"""Rows that are fetched at once; after each batch the limits are looked at."""


class NotDone(Exception):
    """The statement was not executed, or nobody knows. Carries the step's error."""

    def __init__(self, error: StepError) -> None:
        super().__init__(error.message)
        self.error = error


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement, ready to execute. ``seconds`` is what the server lets it take."""

    text: Numbered
    parameters: Mapping[str, Any]
    isolation: str
    read_only: bool
    max_rows: int
    seconds: float


class Client(Protocol):
    """Executes statements on the databases of one family."""

    async def execute(self, address: Address, statement: Statement) -> dict[str, Any]:
        """Execute a statement in a transaction of its own and give ``{rows, rowCount}``.

        Raises:
            NotDone: The transaction was rolled back, or its end is unknown.
        """
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


def check_columns(names: Iterable[str]) -> None:
    """Columns become the keys of an object, so each has a name of its own.

    Raises:
        BadValue: Two have the same.
    """
    if repeated := [name for name, times in Counter(names).items() if times > 1]:
        raise BadValue(f"sql.query: two columns are called '{repeated[0]}'; give one another name, with AS")


def too_many_rows(most: int) -> NotDone:
    """The error of a statement that gives more rows than the step takes."""
    text = f"the statement gives more than {most} rows; add a LIMIT, or raise `maxRows`"
    return NotDone(StepError(ErrorType.TOO_LARGE, text, retriable=False, details={"limit": most}))


def too_many_bytes() -> NotDone:
    """The error of a statement whose rows are larger than an output may be."""
    return NotDone(too_large("what the statement gives", None, OUTPUT_BYTES).error)
