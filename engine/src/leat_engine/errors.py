"""What can go wrong, sorted by the first question asked of an error: will trying again help?"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar


class LeatError(Exception):
    """Base of every error that Leat raises on purpose. ``retriable``: the same call may succeed later."""

    retriable: ClassVar[bool] = False


@dataclass(frozen=True, slots=True, order=True)
class Reason:
    """One thing that is wrong with what a user wrote.

    Attributes:
        path: Field path from the top of the resource, such as ``spec.steps[2].http.url``.
        message: What was found, what is expected and what to do, as one or two sentences.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class Rejected(LeatError):
    """What the user wrote cannot run. Carries every reason that was found, not only the first."""

    def __init__(self, reasons: Iterable[Reason]) -> None:
        self.reasons = tuple(dict.fromkeys(reasons))
        super().__init__("; ".join(str(reason) for reason in self.reasons))


class ExpressionError(LeatError):
    """An expression could not be evaluated on the values it met."""


class StoreUnavailable(LeatError):
    """Postgres did not answer, or the connection was lost: the outcome of the statement is unknown."""

    retriable = True


class StoreRefused(LeatError):
    """Postgres answered, and refused: a wrong password, database or right. The message says what to do."""


class SchemaMismatch(LeatError):
    """The database's schema is not the one this program knows. The message names the command that helps."""


class QueueUnavailable(LeatError):
    """The broker did not take the message. Nothing is lost: ``resend`` will publish it again."""

    retriable = True
