"""script: bash or Python, fed by environment, stdin and files; a value is never spliced into code.

- The script runs in an empty directory of its own, which is also HOME and TMPDIR, and is removed afterwards.
- bash runs as ``bash --noprofile --norc -eo pipefail FILE``: the first failing command ends it, also within a pipe.
  Unset variables stay empty, as people expect of bash; write ``set -u`` to change that. Python is the runner's own.
- The environment is PATH, LANG, HOME, TMPDIR, the step's ``env``, ``LEAT_RUN``, ``LEAT_RUN_ID``, ``LEAT_NAMESPACE``,
  ``LEAT_WORKFLOW``, ``LEAT_STEP``, ``LEAT_ATTEMPT``, ``LEAT_IDEMPOTENCY_KEY``, ``LEAT_OUTPUT`` and ``TRACEPARENT``.
  Nothing of the runner's own environment is passed on. Values that are not texts are JSON, in ``env`` and in stdin.
- The output is what the file ``$LEAT_OUTPUT`` holds: JSON if it parses, else text without the line ends at its end.
- What ``files`` gives is in the directory when the script begins; what ``artifacts`` names is read when it succeeds.
- A step leaves no process behind: its whole process group is killed when the script ends or is cancelled,
  or when the runner dies.

This keeps honest scripts apart. A hostile one has the runner's user, so it belongs into a pool or container of its own.
"""

import asyncio
import errno
import os
import signal
import sys
from asyncio.subprocess import Process
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar

from leat_engine.kind import StepContext, Weight
from leat_engine.result import ErrorType, Failed, Outcome, StepError
from leat_engine.spec.kinds import Script
from leat_runner.kinds.lifeline import Lifeline
from leat_runner.kinds.pipes import Output
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
        self._lifeline = Lifeline()

    async def execute(self, step: StepContext, fields: Script) -> Outcome:
        """Run the script once. Any exit code but 0 is a failure, with the tail of stderr."""
        workspace = Workspace.create()
        try:
            return await self._run(step, fields, workspace)
        finally:
            await asyncio.to_thread(workspace.remove)

    async def close(self) -> None:
        """End the process that watches over scripts."""
        self._lifeline.close()

    async def _run(self, step: StepContext, fields: Script, workspace: Workspace) -> Outcome:
        try:
            stdin = await workspace.provide(step.artifacts, fields.files, fields.stdin)
        except OSError as error:
            message = f"script.files: a file cannot be written: {error.strerror}"
            return Failed(StepError(ErrorType.INVALID, message, retriable=False))
        starting = asyncio.ensure_future(_start(step, fields, stdin, workspace))
        try:
            running = await asyncio.shield(starting)
        except asyncio.CancelledError:
            # Half a start cannot be undone; a whole one can.
            await asyncio.wait({starting})
            if starting.exception() is None:
                await starting.result().terminate(self._grace)
            raise
        except (OSError, ValueError) as error:
            return _not_started(fields, error)
        self._lifeline.hold(running.process.pid, workspace.root)
        try:
            code = await running.ended()
        except asyncio.CancelledError:
            await running.terminate(self._grace)
            raise
        finally:
            self._lifeline.release(running.process.pid)
        if code:
            return _failed(code, running.err.tail)
        await workspace.leave(step.artifacts)
        return await workspace.output(step.artifacts)


@dataclass(frozen=True, slots=True)
class Running:
    """A script's process group and its outputs."""

    process: Process
    exited: asyncio.Future[int]
    out: Output
    err: Output

    async def ended(self) -> int:
        """Wait for the script, and a moment for what it left behind, and kill the rest. Returns the exit code."""
        await asyncio.wait({self.exited})
        await asyncio.wait(self._everyone(), timeout=FLUSH)
        await self._end()
        return self.exited.result()

    async def terminate(self, grace: float) -> None:
        """Ask everyone in the group to end, and kill who has not after ``grace`` seconds."""
        self._signal(signal.SIGTERM)
        try:
            await asyncio.wait(self._everyone(), timeout=grace)
        finally:
            await self._end()

    async def _end(self) -> None:
        self._signal(signal.SIGKILL)
        self.out.close()
        self.err.close()
        await self.exited

    def _everyone(self) -> set[asyncio.Future[Any]]:
        # The pipes close when everyone who has them has ended, not only the shell.
        return {self.exited, self.out.closed, self.err.closed}

    def _signal(self, number: signal.Signals) -> None:
        # ProcessLookupError: all have ended. PermissionError: the same on macOS, where the dead still have a group.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)


async def _start(step: StepContext, fields: Script, stdin: Any, workspace: Workspace) -> Running:
    env = environment(step, fields.env, workspace)
    workspace.fill(fields.run, stdin)
    outputs: list[Output] = []
    try:
        outputs.append(await Output.open("stdout", step.log))
        outputs.append(await Output.open("stderr", step.log))
        # stdin is a file and not a pipe, so that a script which never reads it blocks nobody.
        with workspace.stdin.open("rb") as given:
            process = await asyncio.create_subprocess_exec(
                *COMMANDS[fields.shell],
                str(workspace.script),
                stdin=given,
                stdout=outputs[0].fd,
                stderr=outputs[1].fd,
                cwd=workspace.home,
                env=env,
                # A session of its own is also a process group of its own, with the process's id.
                start_new_session=True,
            )
    except BaseException:
        for output in outputs:
            output.close()
        raise
    finally:
        for output in outputs:
            output.handed_over()
    return Running(process, asyncio.ensure_future(process.wait()), *outputs)


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
