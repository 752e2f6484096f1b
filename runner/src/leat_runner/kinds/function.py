"""function: call the user's Python, by the name it was marked with.

An ``async def`` runs on the runner's loop and must not block it. A plain ``def`` runs in a thread of its own, with the
caller's context variables, so that what it prints is known for its step's; a thread cannot be interrupted, so a
cancelled one goes on in the background with its result thrown away. An exception is a failure of its class's name, and
retriable; `leat.StepFailed` is one of the user's own.
"""

import asyncio
import contextvars
import difflib
import threading
import traceback
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, ClassVar

from leat_engine.kind import ArtifactProblem, StepContext, Weight
from leat_engine.reference import reference_in
from leat_engine.result import ErrorType, Failed, Outcome, StepError
from leat_engine.spec.kinds import Function
from leat_runner.kinds.output import Large, details, encoded, put_large
from leat_runner.kinds.setup import KindSetup
from leat_runner.kinds.user_code import BadArguments, StepFunction, load_functions
from leat_runner.overhear import SPEAKS, Speech
from leat_runner.sdk import StepFailed

TRACEBACK = 4096
"""Characters kept of a traceback: its end, which holds the user's own lines."""

MESSAGE = 4096


class FunctionKind:
    """Calls functions. They are loaded once, when the runner starts."""

    weight: ClassVar[Weight] = Weight.IO

    def __init__(self, setup: KindSetup) -> None:
        self._sources = setup.settings.functions
        self._functions = load_functions(self._sources)

    @property
    def names(self) -> tuple[str, ...]:
        """The functions that can be called."""
        return tuple(sorted(self._functions))

    async def execute(self, step: StepContext, fields: Function) -> Outcome:
        """Call the function once. What it returns, as JSON, is the output."""
        function = self._functions.get(fields.name)
        if function is None:
            return _unknown(fields.name, self._functions.keys(), self._sources)
        try:
            arguments = function.bind(step, await _with_files(step, function, fields.arguments))
        except BadArguments as error:
            return Failed(StepError(ErrorType.INVALID, str(error), reason="BadArguments", retriable=False))
        speech = Speech(step.log)
        outside = SPEAKS.set(speech)
        try:
            outcome = await (_on_loop if function.is_async else _in_thread)(function, arguments)
        finally:
            SPEAKS.reset(outside)
            speech.end()
        return await put_large(step.artifacts, outcome)

    async def close(self) -> None:
        """Nothing is held; threads still in user code are not waited for."""


async def _with_files(step: StepContext, function: StepFunction, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments, with a file in place of each artifact that the function takes as a `Path`."""
    values = dict(arguments)
    for name in function.files & values.keys():
        if reference_in(values[name]) is not None:
            values[name] = str(await step.artifacts.file(values[name]))
    return values


async def _on_loop(function: StepFunction, arguments: dict[str, Any]) -> Outcome | Large:
    try:
        return encoded(await function.call(**arguments))
    except ArtifactProblem as problem:
        return Failed(problem.error)
    except asyncio.CancelledError as error:
        # The user's code may raise it too, by awaiting something that was cancelled: that is only a failure.
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        return failure(error)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it is, it is the user's
        # SystemExit too: sys.exit in a step must not end the runner.
        return failure(error)


def failure(error: BaseException) -> Failed:
    """An exception of the user's code as an error."""
    if isinstance(error, StepFailed):
        kind = error.type or type(error).__name__
        return Failed(StepError(kind, error.message, retriable=error.retriable, details=details(error.details)))
    # The first frame is this file's.
    frames = error.__traceback__.tb_next if error.__traceback__ else None
    trace = "".join(traceback.format_exception(type(error), error, frames))[-TRACEBACK:]
    message = str(error)[:MESSAGE] or type(error).__name__
    return Failed(StepError(type(error).__name__, message, details=details({"traceback": trace})))


async def _in_thread(function: StepFunction, arguments: dict[str, Any]) -> Outcome | Large:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Outcome | Large] = loop.create_future()

    def deliver(outcome: Outcome | Large) -> None:
        if not done.done():
            done.set_result(outcome)

    def work() -> None:
        outcome = _call(function, arguments)
        # RuntimeError: the loop is closed, so the runner has gone on without this step.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(deliver, outcome)

    # Not a pool: functions that never return would fill it, and the interpreter would wait for them at its exit.
    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(work,), name=f"leat-{function.name}", daemon=True).start()
    return await done


def _call(function: StepFunction, arguments: dict[str, Any]) -> Outcome | Large:
    # Nothing may leave the thread as an exception: some, such as StopIteration, cannot be handed to a future.
    try:
        return encoded(function.call(**arguments))
    except ArtifactProblem as problem:
        return Failed(problem.error)
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is the user's
        return failure(error)


def _unknown(name: str, known: Any, sources: tuple[str, ...]) -> Failed:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"it knows {', '.join(sorted(known)[:20]) or 'none'}."
    where = ", ".join(sources) or "no module"
    message = (
        f"function.name: this pool has no function '{name}'; {hint} "
        f"Functions are marked with @leat.step and loaded from LEAT_FUNCTIONS ({where})."
    )
    # Retriable: while a pool is rolled out, an older runner may get the step that a newer one knows.
    return Failed(StepError(ErrorType.NOT_FOUND, message, reason="FunctionNotFound"))
