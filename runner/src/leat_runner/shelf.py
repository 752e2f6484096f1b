"""Where attempts put their files and large outputs, and where expressions and kinds get those of others.

An artifact has a row before it is there, so that nothing is left in the object store that nobody knows of. The row
names the attempt: it counts when that attempt is the one that the commit lets succeed, and is a leftover otherwise.
"""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from leat_engine.artifacts import ArtifactGone, ArtifactsRefused, ArtifactsUnavailable, Objects
from leat_engine.artifacts.masking import StreamMask
from leat_engine.crash import crash_point
from leat_engine.kind import NO_STORE, ArtifactProblem, Source
from leat_engine.limits import ARTIFACT_BYTES, FETCHED_BYTES
from leat_engine.look import wanted
from leat_engine.plan import PlanStep
from leat_engine.reference import OUTPUT, Foreign, Reference, key_of, reference_in
from leat_engine.result import ErrorType, Failed, Outcome, StepError, Succeeded
from leat_engine.store.artifacts import ArtifactRows, ObjectId
from leat_engine.view import RunView
from leat_runner.desk import persistently
from leat_runner.pieces import bytes_source, file_source, write

if TYPE_CHECKING:
    from leat_runner.attempt import Attempt

ANY_TYPE = "application/octet-stream"

PUT_SECONDS = 60.0
"""For how long a put is tried again while the object store is away; then the attempt fails, and can be tried again."""

PAUSE = 1.0
FETCH_INTERVAL = 5.0
"""Seconds between two tries to read what a step has to look into."""

log = structlog.get_logger()


class Shelf:
    """The object store of a runner. ``runner`` is the id that the store has to know as the claim's."""

    def __init__(self, rows: ArtifactRows, objects: Objects | None) -> None:
        self.runner = 0
        self.rows = rows
        self.objects = objects

    def of(self, attempt: "Attempt", secrets: Collection[str]) -> "AttemptArtifacts":
        """The artifacts of one attempt; ``secrets`` are texts that no artifact may hold."""
        return AttemptArtifacts(self, attempt, secrets)

    async def fetch(self, view: RunView, node: PlanStep) -> Failed | None:
        """Read the large outputs that expressions of the step look into; why it fails if that cannot be done.

        While the object store is away it waits here. It is not parked: to a kind that waits itself, a step that comes
        again would look like one whose time is over.
        """
        while True:
            try:
                for read in dict.fromkeys(view.unfetched(node, {})):
                    await self._fetch(view, node, read)
            except ArtifactsUnavailable as error:
                log.warning("fetch_held", step=node.name, reason=str(error))
                if view.halted:
                    return None  # what is cancelled evaluates nothing, and must not wait
                await asyncio.sleep(FETCH_INTERVAL)
            except ArtifactProblem as problem:
                return Failed(problem.error)
            else:
                return None

    async def _fetch(self, view: RunView, node: PlanStep, read: int) -> None:
        """Put the large values into the output of the step ``read``, as far as ``node`` looks into them."""
        owner, result = view.of(read), view.result(read, {})
        value: Any = owner.fetched.get(read, None if result is None else result.output)
        needed = {place: ref for at, look in node.looks if at == read for place, ref in wanted(look, value)}
        for place, reference in needed.items():
            inner = await self._value(view.namespace, reference)
            value = inner if not place else {**value, place[0]: inner}
        owner.fetched[read] = value

    async def _value(self, namespace: str, reference: Reference) -> Any:
        content = bytearray()
        async for piece in self.bytes_of(namespace, reference):
            content += piece
            if len(content) > FETCHED_BYTES:
                message = (
                    f"output {reference.key} has {reference.size} bytes, and expressions look into {FETCHED_BYTES}: "
                    "hand it on as a whole to `files` or `stdin` of a script, and give less from there"
                )
                raise ArtifactProblem(StepError(ErrorType.TOO_LARGE, message, retriable=False))
        if reference.content_type.partition(";")[0].strip().endswith(("/json", "+json")):
            try:
                return orjson.loads(content)
            except orjson.JSONDecodeError:
                pass  # as in a small output: text
        return content.decode(errors="replace").rstrip("\r\n")

    async def bytes_of(self, namespace: str, reference: Reference) -> AsyncIterator[bytes]:
        """The bytes behind a reference that a run of ``namespace`` has."""
        if self.objects is None:
            raise ArtifactProblem(NO_STORE)
        try:
            async for piece in self.objects.get(reference.key_within(namespace)):
                yield piece
        except Foreign as error:
            raise ArtifactProblem(_problem(error, "ForeignArtifact")) from error
        except ArtifactGone as error:
            raise ArtifactProblem(_problem(error, "ArtifactGone")) from error
        except ArtifactsRefused as error:
            raise ArtifactProblem(_problem(error, "ArtifactsRefused")) from error


class AttemptArtifacts:
    """The artifacts of one attempt: `leat_engine.kind.Artifacts`."""

    __slots__ = ("_attempt", "_folder", "_left", "_mask", "_references", "_shelf")

    def __init__(self, shelf: Shelf, attempt: "Attempt", secrets: Collection[str]) -> None:
        self._shelf = shelf
        self._attempt = attempt
        self._mask = secrets
        self._references: dict[str, dict[str, Any]] | None = None
        self._left: dict[str, Path | bytes] | None = None
        self._folder: Path | None = None

    @property
    def available(self) -> bool:
        """Whether there is an artifact store."""
        return self._shelf.objects is not None

    @property
    def paths(self) -> Mapping[str, str | None]:
        """What the step declares, and where it leaves it."""
        return {name: artifact.path for name, artifact in self._attempt.node.artifacts.items()}

    async def put(self, name: str, source: Source) -> None:
        """Put a declared artifact."""
        content_type = self._attempt.node.artifacts[name].content_type or ANY_TYPE
        reference = await self._put(name, source, content_type, once=False)
        self._references = {**(self._references or {}), name: reference.as_json()}

    async def put_output(self, source: Source, content_type: str, *, once: bool = False) -> dict[str, Any]:
        """Put a large output."""
        return (await self._put(OUTPUT, source, content_type, once=once)).as_json()

    def read(self, reference: Any) -> AsyncIterator[bytes] | None:
        """The bytes behind a reference, or None when it is none."""
        found = reference_in(reference)
        return None if found is None else self._read(found)

    async def _read(self, reference: Reference) -> AsyncIterator[bytes]:
        try:
            async for piece in self._shelf.bytes_of(self._attempt.view.namespace, reference):
                yield piece
        except ArtifactsUnavailable as error:
            raise ArtifactProblem(_problem(error, "ArtifactsUnavailable", retriable=True)) from error

    async def file(self, reference: Any) -> Path:
        """A file with what is behind a reference."""
        pieces = self.read(reference)
        if pieces is None:
            raise TypeError("no reference to an artifact")
        path = self._new_file()
        await write(pieces, path)
        return path

    def leave(self, name: str, content: Path | bytes) -> None:
        """Take a declared artifact; a file is moved, as its directory may go before the attempt ends."""
        if name not in self._attempt.node.artifacts:
            known = ", ".join(self._attempt.node.artifacts) or "none"
            message = f"the step declares no artifact {name!r}, it declares {known}; add it to `artifacts` of the step"
            raise ArtifactProblem(StepError(ErrorType.INVALID, message, "UnknownArtifact", retriable=False))
        if self._shelf.objects is None:
            raise ArtifactProblem(NO_STORE)
        if isinstance(content, Path):
            content = Path(shutil.move(content, self._new_file()))
        self._left = {**(self._left or {}), name: content}

    def _new_file(self) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="leat-artifacts-"))
        return self._folder / token_hex(8)

    async def close(self) -> None:
        """Remove what the attempt has here."""
        if self._folder is not None:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    async def kept(self, outcome: Outcome) -> Outcome:
        """The outcome with all that the step has left; a failure when something is missing."""
        declared = self._attempt.node.artifacts
        if not declared or not isinstance(outcome, Succeeded):
            return outcome
        for name, content in (self._left or {}).items():
            await self.put(name, file_source(content) if isinstance(content, Path) else bytes_source(content))
        references = self._references or {}
        missing = [f"artifacts.{name}: the step did not leave it" for name in declared if name not in references]
        if missing:
            return Failed(StepError(ErrorType.INVALID, "; ".join(missing), "ArtifactMissing", retriable=False))
        return replace(outcome, artifacts=references)

    async def _put(self, name: str, source: Source, content_type: str, *, once: bool) -> Reference:
        attempt, rows, objects = self._attempt, self._shelf.rows, self._shelf.objects
        if objects is None:
            raise ArtifactProblem(NO_STORE)
        view, runner = attempt.view, self._shelf.runner
        key = key_of(view.namespace, attempt.key, attempt.node.name, attempt.number, name)
        this = ObjectId(attempt.key, attempt.number, name)
        intend = lambda: rows.intend(runner, this, view.namespace, key, content_type)  # noqa: E731
        if not await persistently("intend_artifact", intend):
            raise ArtifactProblem(_LOST)
        crash_point("before put")
        until = asyncio.get_running_loop().time() + (0 if once else PUT_SECONDS)
        while True:
            pieces = _bounded(source(), key)
            try:
                put = await objects.put(
                    key, StreamMask(self._mask).over(pieces) if self._mask else pieces, content_type
                )
                break
            except ArtifactsUnavailable as error:
                if asyncio.get_running_loop().time() > until:
                    raise ArtifactProblem(_problem(error, "ArtifactsUnavailable", retriable=True)) from error
                log.warning("put_held", key=key, reason=str(error))
                await asyncio.sleep(PAUSE)
            except ArtifactsRefused as error:
                raise ArtifactProblem(_problem(error, "ArtifactsRefused")) from error
        crash_point("after put")
        if not await persistently("keep_artifact", lambda: rows.keep(this, put.size, put.sha256)):
            raise ArtifactProblem(_LOST)
        return Reference(key, put.size, put.sha256, content_type)


_LOST = StepError(ErrorType.RUNNER_LOST, "the step is another runner's already")  # what is written of it is refused


async def _bounded(pieces: AsyncIterator[bytes], key: str) -> AsyncIterator[bytes]:
    size = 0
    async for piece in pieces:
        size += len(piece)
        if size > ARTIFACT_BYTES:
            message = f"artifact {key} is larger than {ARTIFACT_BYTES} bytes"
            raise ArtifactProblem(StepError(ErrorType.TOO_LARGE, message, retriable=False))
        yield piece


def _problem(error: Exception, reason: str, *, retriable: bool = False) -> StepError:
    return StepError(ErrorType.ARTIFACT, str(error), reason, retriable=retriable)
