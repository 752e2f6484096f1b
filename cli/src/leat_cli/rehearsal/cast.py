"""Who answers for the steps of a rehearsed run: the port, and the means of `carry_out` that ask it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel

from leat_cli.rehearsal.score import Course
from leat_engine.expression import SecretRef
from leat_engine.job import StepKey
from leat_engine.kind import Kind, Mail, StepContext, Weight
from leat_engine.plan import PlanStep
from leat_engine.redaction import Redactor
from leat_engine.result import Outcome
from leat_engine.view import RunView
from leat_runner.attempt import Attempt, Speech
from leat_runner.logs import AttemptLog
from leat_runner.secrets import SecretReader
from leat_runner.voice import Mask


@dataclass(frozen=True, slots=True)
class Call:
    """One attempt that asks for an answer.

    Attributes:
        course: Of its step, as far as it has gone.
        number: Of the attempt, from 1.
        view: What its expressions may read.
        staged: Without an answer its kind does it on stage: it has no effects outside.
    """

    course: Course
    number: int
    view: RunView
    now: datetime
    staged: bool = False

    @property
    def address(self) -> str:
        """Of the step, as in `Course`."""
        return self.course.address

    @property
    def fields(self) -> Any:
        """What the kind is given, evaluated, as JSON; secrets are masked."""
        return self.course.fields

    @property
    def node(self) -> PlanStep:
        """The step."""
        return self.course.node

    @property
    def name(self) -> str:
        """Name of the step."""
        return self.node.name

    @property
    def kind(self) -> str:
        """Name of its kind."""
        return self.node.kind


class Unanswered(Exception):
    """Nobody answers for a step; the message says what to do. The rehearsal ends there."""


class Cast(Protocol):
    """Answers for steps, and watches the run."""

    async def before(self, attempt: Attempt, course: Course) -> None:
        """An attempt is about to begin; of a step with bodies, before each look at them."""
        ...

    async def answer(self, call: Call) -> Outcome | None:
        """How the attempt ends, or None: the kind has to do it.

        Raises:
            Unanswered: It must not.
        """
        ...

    def said(self, course: Course, line: str) -> None:
        """A step has said something."""
        ...

    def delayed(self, course: Course, seconds: float, error: Mapping[str, Any] | None) -> None:
        """A step goes on after so many seconds, which are skipped; with an error it is tried again then."""
        ...

    def ended(self, view: RunView, course: Course) -> None:
        """A step is over."""
        ...


class Unwatched:
    """Of casts that do not watch."""

    async def before(self, attempt: Attempt, course: Course) -> None:
        """Nobody watches."""

    def said(self, course: Course, line: str) -> None:
        """Nobody watches."""

    def delayed(self, course: Course, seconds: float, error: Mapping[str, Any] | None) -> None:
        """Nobody watches."""

    def ended(self, view: RunView, course: Course) -> None:
        """Nobody watches."""


class Part:
    """A kind on stage: who plays the run answers, or the kind itself."""

    weight: ClassVar[Weight] = Weight.IO

    def __init__(self, name: str, perform: Callable[[str, StepContext, BaseModel], Any]) -> None:
        self._name = name
        self._perform = perform

    async def execute(self, step: StepContext, fields: BaseModel) -> Outcome:
        """Ask."""
        outcome: Outcome = await self._perform(self._name, step, fields)
        return outcome

    async def close(self) -> None:
        """Nothing is held."""


def parts(names: Mapping[str, object], perform: Callable[[str, StepContext, BaseModel], Any]) -> dict[str, Kind]:
    """A part for each kind."""
    return {name: Part(name, perform) for name in names}


@dataclass(slots=True)
class Aside:
    """What an attempt says on stage: lines are told, and not kept."""

    said: Callable[[str], None]
    note: Callable[[str], None]
    mail: Mail
    log_kept: AttemptLog | None = None

    def log(self, stream: str, text: str, at: datetime | None = None) -> None:  # noqa: ARG002  the port's signature
        """Tell a line."""
        self.said(text)


@dataclass(frozen=True, slots=True)
class Prompter:
    """Gives each attempt its speech."""

    speech: Callable[[StepKey, Mask], Speech]

    def of(self, key: StepKey, name: str, attempt: int, mask: Mask | None) -> Speech:  # noqa: ARG002  the port's
        """The speech of an attempt."""
        return self.speech(key, mask or str)


class Props:
    """Secrets that nobody has given: a text stands for each, as fakes do for what it opens."""

    async def read(self, namespace: str, ref: SecretRef) -> bytes | None:  # noqa: ARG002  the port's signature
        """Its name."""
        return str(ref).encode()

    def place(self, namespace: str, ref: SecretRef) -> str:  # noqa: ARG002  the port's signature
        """Nowhere."""
        return "the rehearsal"

    async def close(self) -> None:
        """Nothing is held."""


class Secrets(SecretReader):
    """Reads secrets by another reader, and remembers them for `masked`.

    Attributes:
        made_up: The attempt that begins now is not executed: a text stands for what it names, wherever that is.
    """

    def __init__(self, reader: SecretReader) -> None:
        super().__init__([])
        self.made_up = False
        self._reader = reader
        self._read: set[str] = set()
        self._redactor = Redactor(())

    async def read(self, namespace: str, refs: Sequence[SecretRef]) -> Mapping[SecretRef, str]:
        """The values by what asks for them."""
        if self.made_up:
            return {ref: str(ref) for ref in refs}
        found = await self._reader.read(namespace, refs)
        if new := set(found.values()) - self._read:
            self._read |= new
            self._redactor = Redactor(self._read)
        return found

    async def close(self) -> None:
        """Free what the reader holds."""
        await self._reader.close()

    def masked(self, value: Any) -> Any:
        """The JSON value without what was read so far."""
        return self._redactor.value(value)
