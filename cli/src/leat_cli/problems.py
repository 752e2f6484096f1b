"""What a command says when it cannot do what it was asked, and the exit code it ends with."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar


class Exit(IntEnum):
    """How a command ends. Interrupted by a signal it is 128 plus the signal's number, as in a shell: 130 for Ctrl-C."""

    OK = 0
    FAILED = 1  # the run failed, was cancelled, or is suspended with nobody to resume it
    INVALID = 2  # what the user wrote is wrong, on the command line or in a file
    UNAVAILABLE = 3  # a database or a cluster does not answer, or refuses


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with what a user wrote, and where.

    Attributes:
        file: As the user named it; "" when it was written on the command line.
        line: From 1; 0 when no line can be named.
        path: Field path from the top of the document, such as ``spec.steps[2].http.url``, or "".
        message: What was found, what is expected, what to do.
        note: True for what deserves a look and stops nothing.
        rule: Of what is right and hardly meant, the rule of `leat lint` that says so; "" for a mistake.
    """

    file: str
    line: int
    path: str
    message: str
    note: bool = False
    rule: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.file and self.line else self.file
        said = f"{self.message} [{self.rule}]" if self.rule else self.message
        return ": ".join(part for part in (place, self.path, said) if part)

    def as_json(self) -> dict[str, Any]:
        """Return ``{file, line, path, message, rule}`` as `leat lint -o json` prints it.

        A line that nobody knows is null, and so is the rule of a mistake.
        """
        place = {"file": self.file, "line": self.line or None, "path": self.path}
        return {**place, "message": self.message, "rule": self.rule or None}


class CommandError(Exception):
    """The command cannot be done; the message is all that the user is shown."""

    code: ClassVar[Exit]


class Invalid(CommandError):
    """What the user wrote is wrong. Carries every problem that was found, not only the first."""

    code = Exit.INVALID

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(dict.fromkeys(problems))
        super().__init__("\n".join(map(str, self.problems)))

    @classmethod
    def because(cls, message: str, *, file: str = "", line: int = 0) -> "Invalid":
        """Return the error for a single problem with no field path."""
        return cls([Problem(file, line, "", message)])


class Unavailable(CommandError):
    """A database or a cluster does not answer, or refuses. ``lasting``: asking again would get the same answer."""

    code = Exit.UNAVAILABLE

    def __init__(self, message: str, *, lasting: bool = False) -> None:
        super().__init__(message)
        self.lasting = lasting
