"""script: bash or Python, fed by environment, stdin and files; a value is never spliced into code.

- The script runs in an empty directory of its own, which is also HOME and TMPDIR, and is removed afterwards.
- bash runs as ``bash --noprofile --norc -eo pipefail FILE``: the first failing command ends it, also within a pipe.
  Unset variables stay empty, as people expect of bash; write ``set -u`` to change that. Python is the runner's own.
- The environment is PATH, LANG, HOME, TMPDIR, the step's ``env``, ``LEAT_RUN``, ``LEAT_RUN_ID``, ``LEAT_NAMESPACE``,
  ``LEAT_WORKFLOW``, ``LEAT_STEP``, ``LEAT_ATTEMPT``, ``LEAT_IDEMPOTENCY_KEY``, ``LEAT_OUTPUT`` and ``TRACEPARENT``.
  Nothing of the runner's own environment is passed on. Values that are not texts are JSON, in ``env`` and in stdin.
- The output is what the file ``$LEAT_OUTPUT`` holds: JSON if it parses, else text without the line ends at its end.
- A step leaves no process behind: its whole process group is killed when the script ends or is cancelled.

This keeps honest scripts apart. A hostile one has the runner's user, so it belongs into a pool or container of its own.
"""

import asyncio
import errno
import os
import signal
import sys
from asyncio.subprocess import Process
from contextlib import suppress
from typing import Any, ClassVar

from leat_engine.kind import StepContext, Weight
from leat_engine.result import ErrorType, Failed, Outcome, StepError
from leat_engine.spec.kinds import Script
from leat_runner.kinds.pipes import draining
from leat_runner.kinds.setup import KindSetup
from leat_runner.kinds.workspace import Workspace, environment

COMMANDS = {
    "bash": ("bash", "--noprofile", "--norc", "-eo", "pipefail"),
    "python": (sys.executable,),
}

FLUSH = 1.0
"""Seconds for what the script left in the background to close its output, such as ``> >(tee log)``, after its end."""


class ScriptKind:
    """Runs scripts as process groups."""

    weight: ClassVar[Weight] = Weight.CPU

    def __init__(self, setup: KindSetup) -> None:
        self._grace = setup.settings.script_grace

    async def execute(self, step: StepContext, fields: Script) -> Outcome:
        """Run the script once. Any exit code but 0 is a failure, with the tail of stderr."""
        workspace = Workspace.create()
        try:
            return await self._run(step, fields, workspace)
        finally:
            await asyncio.to_thread(workspace.remove)

    async def close(self) -> None:
        """Nothing is held."""

    async def _run(self, step: StepContext, fields: Script, workspace: Workspace) -> Outcome:
        async with draining("stdout") as out, draining("stderr") as err:
            try:
                process = await _start(step, fields, workspace, (out.fd, err.fd))
            except (OSError, ValueError) as error:
                return _not_started(fields, error)
            out.handed_over()
            err.handed_over()
            exited = asyncio.ensure_future(process.wait())
            # The pipes close when everyone in the group has ended, not only the shell.
            everyone: set[asyncio.Future[Any]] = {exited, out.closed, err.closed}
            try:
                await asyncio.wait({exited})
                await asyncio.wait(everyone, timeout=FLUSH)
            except asyncio.CancelledError:
                _signal(process, signal.SIGTERM)
                await asyncio.wait(everyone, timeout=self._grace)
                raise
            finally:
                _signal(process, signal.SIGKILL)
                await exited
            return workspace.output() if exited.result() == 0 else _failed(exited.result(), err.tail)


async def _start(step: StepContext, fields: Script, workspace: Workspace, outputs: tuple[int, int]) -> Process:
    env = environment(step, fields.env, workspace)
    workspace.fill(fields.run, fields.stdin)
    # stdin is a file and not a pipe, so that a script which never reads it blocks nobody.
    with workspace.stdin.open("rb") as source:
        starting = asyncio.ensure_future(
            asyncio.create_subprocess_exec(
                *COMMANDS[fields.shell],
                str(workspace.script),
                stdin=source,
                stdout=outputs[0],
                stderr=outputs[1],
                cwd=workspace.home,
                env=env,
                # A session of its own is also a process group of its own, with the process's id.
                start_new_session=True,
            )
        )
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            # Cancelled half-way, asyncio would kill the shell but not what the shell has started by then.
            await asyncio.wait({starting})
            if starting.exception() is None:
                _signal(starting.result(), signal.SIGKILL)
                await starting.result().wait()
            raise


def _signal(process: Process, number: signal.Signals) -> None:
    # ProcessLookupError: all have ended. PermissionError: the same on macOS, where the dead still have a group.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _not_started(fields: Script, error: OSError | ValueError) -> Failed:
    match error:
        case FileNotFoundError():
            message = f"script.shell: '{fields.shell}' is not installed in this pool's image"
            return Failed(StepError(ErrorType.NOT_FOUND, message, reason="ShellNotFound", retriable=False))
        case OSError(errno=errno.E2BIG):
            message = "script.env: the values are larger than the system takes; pass them by stdin"
            return Failed(StepError(ErrorType.INVALID, message, retriable=False))
        case OSError():
            return Failed(StepError(ErrorType.INTERNAL, f"the script could not be started: {error.strerror}"))
        case _:
            return Failed(StepError(ErrorType.INVALID, str(error), retriable=False))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"  # the real-time ones have no names


def _failed(code: int, stderr: str) -> Failed:
    if code > 0:
        details = {"exitCode": code, "stderr": stderr}
        return Failed(StepError(ErrorType.EXIT_CODE, f"the script ended with exit code {code}", details=details))
    name = _signal_name(-code)
    message = f"the script was killed by {name}"
    if -code == signal.SIGKILL:
        message += "; often that is the memory limit of the pod"
    # 128 + n is what a shell reports of a child that a signal ended.
    details = {"exitCode": 128 - code, "signal": name, "stderr": stderr}
    return Failed(StepError(ErrorType.EXIT_CODE, message, reason="Signal", details=details))
