"""What a script finds around itself: its directory, its environment and the file it writes its output to."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import structlog

from leat_engine.kind import ArtifactProblem, Artifacts, StepContext
from leat_engine.limits import OUTPUT_BYTES
from leat_engine.result import ErrorType, Failed, StepError, Succeeded
from leat_runner.kinds.output import succeeded, too_large
from leat_runner.pieces import bytes_source, file_source, open_plain, write

log = structlog.get_logger(__name__)

_ENDS = 256
"""Bytes at both ends of a large output that are looked at."""

_PROVIDED: Any = object()
"""Stands for a stdin that is there already."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """The directory of one attempt. Leat's files are beside ``home``, so that a script cannot meet them by accident."""

    root: Path

    @classmethod
    def create(cls) -> "Workspace":
        """Make an empty one that only the runner's user may enter."""
        workspace = cls(Path(tempfile.mkdtemp(prefix="leat-script-")))
        workspace.home.mkdir()
        return workspace

    @property
    def home(self) -> Path:
        """Where the script runs."""
        return self.root / "home"

    @property
    def script(self) -> Path:
        """The script itself."""
        return self.root / "script"

    @property
    def stdin(self) -> Path:
        """What the script reads from stdin."""
        return self.root / "stdin"

    @property
    def output_file(self) -> Path:
        """The file called ``$LEAT_OUTPUT``."""
        return self.root / "output"

    def fill(self, script: str, stdin: Any) -> None:
        """Write the script and its stdin: a text as it is, None as nothing, any other value as JSON."""
        self.script.write_text(script, encoding="utf-8")
        if stdin is not _PROVIDED:
            self.stdin.write_text("" if stdin is None else _text(stdin), encoding="utf-8")

    async def provide(self, artifacts: Artifacts, files: Mapping[str, Any], stdin: Any) -> Any:
        """Write the files that the script is given; gives what is left of stdin to be written."""
        for name, value in files.items():
            pieces = artifacts.read(value)
            if pieces is None:
                pieces = bytes_source(b"" if value is None else _text(value).encode())()
            await write(pieces, self.home / name)
        pieces = artifacts.read(stdin)
        if pieces is None:
            return stdin
        await write(pieces, self.stdin)
        return _PROVIDED

    async def leave(self, artifacts: Artifacts) -> None:
        """Put the files that the step declares.

        Raises:
            ArtifactProblem: One is not there, or is no plain file of the script's own.
        """
        missing = []
        for name, relative in artifacts.paths.items():
            path = self.home / (relative or "")
            found = await asyncio.to_thread(_own_file, path, self.home)
            if found:
                missing.append(f"artifacts.{name}.path: {relative!r} {found}; leave a plain file there")
        if missing:
            raise ArtifactProblem(StepError(ErrorType.INVALID, "; ".join(missing), "ArtifactMissing", retriable=False))
        for name, relative in artifacts.paths.items():
            await artifacts.put(name, file_source(self.home / (relative or "")))

    async def output(self, artifacts: Artifacts) -> Succeeded | Failed:
        """What the script wrote to ``$LEAT_OUTPUT``: JSON if it parses, else text; null when there is nothing."""
        try:
            fd = open_plain(self.output_file)
        except FileNotFoundError:
            return Succeeded()
        except OSError as error:
            return _unreadable(str(error.strerror))
        try:
            size = os.fstat(fd).st_size
            if size <= OUTPUT_BYTES:
                return succeeded(_value(os.read(fd, OUTPUT_BYTES)))
            if not artifacts.available:
                return too_large("the file $LEAT_OUTPUT", size, OUTPUT_BYTES)
            content_type = _content_type(os.pread(fd, _ENDS, 0), os.pread(fd, _ENDS, size - _ENDS))
        finally:
            os.close(fd)
        return Succeeded(await artifacts.put_output(file_source(self.output_file), content_type))

    def remove(self) -> None:
        """Delete everything. A step is not wrong because that fails, but a disk fills up: somebody must hear of it."""
        try:
            shutil.rmtree(self.root)
        except OSError as error:
            log.warning("script.directory_left", path=str(self.root), error=error.strerror)


def _own_file(path: Path, home: Path) -> str:
    """What is wrong with a file of the script, or "". A link within the path could lead out of its directory."""
    try:
        real = path.resolve(strict=True)
        if not real.is_relative_to(home.resolve()):
            return "leads out of the script's directory"
        os.close(open_plain(path))
    except FileNotFoundError:
        return "is not there"
    except OSError as error:
        return f"is {error.strerror or 'unreadable'}"
    return ""


def _content_type(first: bytes, last: bytes) -> str:
    """What a large output is taken for, without reading it whole."""
    ends = first.lstrip()[:1] + last.rstrip()[-1:]
    return "application/json" if ends in {b"{}", b"[]"} else "text/plain"


def environment(step: StepContext, env: Mapping[str, Any], workspace: Workspace) -> dict[str, str]:
    """The whole environment of a script; what the step sets wins, but for ``LEAT_*``.

    Raises:
        ValueError: A name or value that no environment can hold. The message names the field.
    """
    given = {name: _text(value) for name, value in env.items()}
    for name, value in given.items():
        if not name or "=" in name or "\0" in name:
            raise ValueError(f"script.env[{name!r}]: not a variable name; use letters, digits and '_'")
        if "\0" in value:
            raise ValueError(f"script.env.{name}: holds a NUL character; pass the value by stdin")
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "HOME": str(workspace.home),
        "TMPDIR": str(workspace.home),
        **given,
        "LEAT_RUN": step.run_name,
        "LEAT_RUN_ID": str(step.key.run_id),
        "LEAT_NAMESPACE": step.namespace,
        "LEAT_WORKFLOW": step.workflow,
        "LEAT_STEP": step.name,
        "LEAT_ATTEMPT": str(step.attempt),
        "LEAT_IDEMPOTENCY_KEY": step.idempotency_key,
        "LEAT_OUTPUT": str(workspace.output_file),
        "TRACEPARENT": step.traceparent,
    }


def _value(content: bytes) -> Any:
    if not content:
        return None
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        # As `$(...)` does: `echo ok > $LEAT_OUTPUT` means "ok".
        return content.decode(errors="replace").rstrip("\r\n")


def _unreadable(found: str) -> Failed:
    message = f"$LEAT_OUTPUT cannot be read: {found}; write a plain file"
    return Failed(StepError(ErrorType.INVALID, message, reason="OutputNotReadable", retriable=False))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
