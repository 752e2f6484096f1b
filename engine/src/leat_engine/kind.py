"""The port that every step kind implements. Found by entry point, so that a third party's kind is a package.

A kind is two entry points of the same name: ``leat.specs`` gives the pydantic model of its fields, which `plan`, `lint`
and the operator need; ``leat.kinds`` gives the class that executes it, which only runners import.
"""

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Protocol, TypeGuard
from uuid import UUID

from pydantic import BaseModel

from leat_engine.child import Call
from leat_engine.errors import LeatError
from leat_engine.job import StepKey
from leat_engine.reference import reference_in
from leat_engine.result import ErrorType, Failed, Outcome, StepError
from leat_engine.waits import Heard, Wanted


class Weight(StrEnum):
    """What a step of the kind mostly costs; decides how many run at once in one runner."""

    IO = "io"
    CPU = "cpu"


END_WORK = "leat: end the work"
"""The message of a cancel that ends the step's work: the run was stopped, or a time limit has passed. A cancel without
it only ends this runner's part: the runner leaves, or was declared dead, and another one goes on with the step."""


def ends_work(cancel: BaseException) -> bool:
    """Whether a caught `asyncio.CancelledError` ends the step's work, and not only this runner's part in it."""
    return END_WORK in cancel.args


class StepLog(Protocol):
    """Takes what a step says, line by line. Bounded, masked, and never in the way: it neither waits nor fails."""

    def __call__(self, stream: str, text: str, at: datetime | None = None) -> None:
        """Keep one line of ``stream`` (`stdout` or `stderr`), said at ``at``, or now."""
        ...


class Mail(Protocol):
    """What a step that waits hears from outside. It answers as soon as the store does."""

    async def hear(self, wanted: Wanted) -> Heard:
        """Begin to wait, or go on, and say what was told so far. A step that has not heard enough parks."""
        ...

    async def dismiss(self, signal_id: str, why: str) -> None:
        """Do not take this one; another one may come."""
        ...

    async def close(self) -> None:
        """Nothing that comes later is for this step."""
        ...


class NoMail:
    """Of steps that nobody can tell anything."""

    async def hear(self, wanted: Wanted) -> Heard:  # noqa: ARG002  the port's signature
        """Nothing was told."""
        return Heard()

    async def dismiss(self, signal_id: str, why: str) -> None:
        """There is nothing to dismiss."""

    async def close(self) -> None:
        """Nothing comes anyway."""


Source = Callable[[], AsyncIterator[bytes]]
"""Gives the bytes of a file, in pieces; asked again, it begins at the beginning."""


class ArtifactProblem(LeatError):
    """An artifact cannot be put or read. A kind lets it through: it is how the attempt ends."""

    def __init__(self, error: StepError) -> None:
        super().__init__(error.message)
        self.error = error


class Artifacts(Protocol):
    """Files of an attempt, and outputs that are too large for the store of runs."""

    @property
    def available(self) -> bool:
        """Whether there is an artifact store, so that outputs may be large."""
        ...

    @property
    def paths(self) -> Mapping[str, str | None]:
        """What the step declares, by name, with the path of each if it has one."""
        ...

    async def put(self, name: str, source: Source) -> None:
        """Put a declared artifact. Raises `ArtifactProblem`."""
        ...

    async def put_output(self, source: Source, content_type: str, *, once: bool = False) -> dict[str, Any]:
        """Put a large output, or a part of it; gives the reference that stands for it. Raises `ArtifactProblem`.

        ``once``: the source cannot begin again.
        """
        ...

    def read(self, reference: Any) -> AsyncIterator[bytes] | None:
        """The bytes behind a reference, in pieces, or None when the value is none. Raises `ArtifactProblem`."""
        ...

    async def file(self, reference: Any) -> Path:
        """A file with what is behind a reference, until the end of the attempt. Raises `ArtifactProblem`."""
        ...

    def leave(self, name: str, content: Path | bytes) -> None:
        """Take a declared artifact, to be put when the step has done its work; a file is moved away."""
        ...

    @property
    def reachable(self) -> bool:
        """Whether others can put and get what is there by a URL."""
        ...

    async def get_url(self, reference: Any) -> str | None:
        """A secret URL for what is behind a reference, or None when the value is none. Raises `ArtifactProblem`."""
        ...

    async def put_url(self, name: str) -> tuple[str, str]:
        """A secret URL to put a declared artifact at, for work that goes on without its runner, and its content type.

        Whoever follows the same try says `arrived` at the end. Raises `ArtifactProblem`.
        """
        ...

    async def arrived(self, name: str, size: int, sha256: str) -> None:
        """What was to be put at the URL is there, of ``size`` bytes. Raises `ArtifactProblem`: it is not."""
        ...


class NoArtifacts:
    """Of attempts without an artifact store."""

    available = False
    paths: Mapping[str, str | None] = MappingProxyType({})

    async def put(self, name: str, source: Source) -> None:  # noqa: ARG002  the port's signature
        """There is no place for it."""
        raise ArtifactProblem(NO_STORE)

    async def put_output(
        self,
        source: Source,  # noqa: ARG002  the port's signature
        content_type: str,  # noqa: ARG002
        *,
        once: bool = False,  # noqa: ARG002
    ) -> dict[str, Any]:
        """There is no place for it."""
        raise ArtifactProblem(NO_STORE)

    def read(self, reference: Any) -> AsyncIterator[bytes] | None:
        """A reference leads nowhere."""
        if reference_in(reference) is None:
            return None
        raise ArtifactProblem(NO_STORE)

    async def file(self, reference: Any) -> Path:  # noqa: ARG002  the port's signature
        """A reference leads nowhere."""
        raise ArtifactProblem(NO_STORE)

    def leave(self, name: str, content: Path | bytes) -> None:  # noqa: ARG002  the port's signature
        """There is no place for it."""
        raise ArtifactProblem(NO_STORE)

    reachable = False

    async def get_url(self, reference: Any) -> str | None:
        """A reference leads nowhere."""
        if reference_in(reference) is None:
            return None
        raise ArtifactProblem(NO_STORE)

    async def put_url(self, name: str) -> tuple[str, str]:  # noqa: ARG002  the port's signature
        """There is no place for it."""
        raise ArtifactProblem(NO_STORE)

    async def arrived(self, name: str, size: int, sha256: str) -> None:  # noqa: ARG002  the port's signature
        """Nothing can have arrived."""
        raise ArtifactProblem(NO_STORE)


NO_STORE = StepError(
    ErrorType.ARTIFACT,
    "there is no artifact store: set LEAT_ARTIFACTS_URL for the runners to s3://BUCKET/PREFIX or file:///DIRECTORY",
    reason="NoArtifactStore",
    retriable=False,
)


class Family(Protocol):
    """Runs of other Workflows, for a step that starts one. It answers as soon as the store does."""

    async def call(self, call: Call) -> Outcome:
        """Start the run, once however often it is called, and tell how the step goes on: it ends, or it parks."""
        ...


class NoFamily:
    """Of steps that start no runs."""

    async def call(self, call: Call) -> Outcome:
        """Nothing can be started here."""
        message = f"no run of Workflow {call.workflow} can be started here"
        return Failed(StepError(ErrorType.WORKFLOW_NOT_FOUND, message, retriable=False))


def _unheard(stream: str, text: str, at: datetime | None = None) -> None:
    """Nobody listens."""


def _untold(text: str) -> None:
    """Nobody is told."""


@dataclass(frozen=True, slots=True)
class StepContext:
    """What an attempt may know about itself.

    Attributes:
        idempotency_key: The same for all attempts of the step.
        try_number: From 1; the same for attempts that went on with what a runner left behind, one more for each retry.
        resumed: True when the attempt was parked before and its time has come.
        timeout: Seconds this attempt may take, or None. The runner enforces it by cancelling ``execute``.
        run_uid: Of the resource that stands for the run; "" without one.
        log: Takes what the step says.
        taken_over: Of a kind that outlives its runner: when an earlier runner began this try, or None.
        logged_until: Of a kind that outlives its runner: when the last line was said that the store has, or None.
        note: Tells people what the step waits for, in one short sentence; "" when it does not wait any more.
        mail: What is told from outside, for a kind that waits for it.
        artifacts: Files that the step leaves and reads, and outputs that are large.
        family: Starts runs of other Workflows, for a kind that does so.
    """

    key: StepKey
    name: str
    attempt: int
    namespace: str
    run_name: str
    workflow: str
    idempotency_key: str
    resumed: bool = False
    timeout: float | None = None
    traceparent: str = ""
    try_number: int = 1
    run_uid: str = ""
    log: StepLog = _unheard
    taken_over: datetime | None = None
    logged_until: datetime | None = None
    note: Callable[[str], None] = _untold
    mail: Mail = NoMail()  # noqa: RUF009  it holds nothing
    artifacts: Artifacts = NoArtifacts()  # noqa: RUF009  it holds nothing
    family: Family = NoFamily()  # noqa: RUF009  nor does this

    def keep(self, name: str, content: Path | bytes) -> None:
        """Leave a file, or bytes, as an artifact that the step declares. The file is moved away.

        Raises:
            ArtifactProblem: The step declares no artifact of that name, or there is no artifact store.
            OSError: The file cannot be moved.
        """
        self.artifacts.leave(name, content)


class Kind(Protocol):
    """Executes the steps of one kind.

    One instance per runner. ``execute`` is cancelled on timeout, cancel and hand-back: it must clean up (kill process
    groups, close connections) and let `asyncio.CancelledError` through. It returns an outcome for what it expects to go
    wrong; an exception that escapes becomes an ``Internal`` error.

    A kind whose work goes on without its runner is an `Outliving`.
    """

    weight: ClassVar[Weight]

    async def execute(self, step: StepContext, fields: BaseModel) -> Outcome:
        """Do the work of one attempt. ``fields`` is the kind's spec model, all expressions evaluated."""
        ...

    async def close(self) -> None:
        """Free what the kind holds; called once, when the runner stops."""
        ...


class Outliving(Kind, Protocol):
    """A kind whose work goes on without its runner, such as a Job in a cluster.

    Its runner leaves at once when it has to, and one that takes over finds the work by ``idempotency_key`` and
    ``try_number``. ``execute`` asks `ends_work` of the `asyncio.CancelledError` that it catches: only then it ends the
    work, else it lets it be.
    """

    outlives_runner: ClassVar[bool]
    """True."""

    async def forsake(self, namespace: str, run_id: UUID, keys: Collection[str]) -> None:
        """End what is left of steps that nobody follows any more, named by their idempotency keys.

        A run may wait for it to end: it takes seconds at most, and what takes longer goes on behind it.
        """
        ...


def outlives_runner(kind: Kind | None) -> TypeGuard[Outliving]:
    """Whether steps of the kind go on without the runner that began them."""
    return bool(getattr(kind, "outlives_runner", False))


SpecModels = Mapping[str, type[BaseModel]]
"""Spec models by kind name."""
