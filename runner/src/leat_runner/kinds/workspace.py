"""What a script finds around itself: its directory, its environment and the file it writes its output to."""

import os
import shutil
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import structlog

from leat_engine.kind import StepContext
from leat_engine.limits import OUTPUT_BYTES
from leat_engine.result import ErrorType, Failed, StepError, Succeeded
from leat_runner.kinds.output import succeeded, too_large

log = structlog.get_logger(__name__)


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
        self.stdin.write_text("" if stdin is None else _text(stdin), encoding="utf-8")

    def output(self) -> Succeeded | Failed:
        """What the script wrote to ``$LEAT_OUTPUT``: JSON if it parses, else text; null when there is nothing."""
        try:
            # A script may have put a link or a named pipe there: the first could lead anywhere, the second blocks.
            fd = os.open(self.output_file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return Succeeded()
        except OSError as error:
            return _unreadable(str(error.strerror))
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                return _unreadable("not a plain file")
            if status.st_size > OUTPUT_BYTES:
                return too_large("the file $LEAT_OUTPUT", status.st_size, OUTPUT_BYTES)
            return succeeded(_value(os.read(fd, OUTPUT_BYTES)))
        finally:
            os.close(fd)

    def remove(self) -> None:
        """Delete everything. A step is not wrong because that fails, but a disk fills up: somebody must hear of it."""
        try:
            shutil.rmtree(self.root)
        except OSError as error:
            log.warning("script.directory_left", path=str(self.root), error=error.strerror)


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
