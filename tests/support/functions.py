"""Steps for tests of what may die. Each call leaves a line in the file ``LEAT_TEST_EFFECTS``, as an effect would."""

import asyncio
import os
import signal

import leat
from leat_engine.kind import StepContext


def _effect(step: StepContext) -> None:
    """One short line by one write: appends of several processes do not mix, and none is lost with its process."""
    descriptor = os.open(os.environ["LEAT_TEST_EFFECTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, f"{step.key.run_id} {step.name} {step.key.scope} {step.attempt}\n".encode())
    finally:
        os.close(descriptor)


@leat.step
async def add(ctx: StepContext, values: list[int | None], seconds: float = 0.0) -> int:
    """One more than the sum of ``values``; null counts as nothing. Takes ``seconds``."""
    _effect(ctx)
    await asyncio.sleep(seconds)
    return 1 + sum(value or 0 for value in values)


@leat.step
async def stumble(ctx: StepContext, values: list[int | None]) -> int:
    """As `add`, but the first attempt fails."""
    if ctx.attempt == 1:
        raise RuntimeError("the first attempt always fails")
    return await add(ctx, values)


@leat.step
async def hang(ctx: StepContext) -> None:
    """Never ends by itself."""
    _effect(ctx)
    await asyncio.Event().wait()


@leat.step
async def mumble() -> None:
    """Fails with a message that is no valid text: as a file name from another system may be."""
    raise RuntimeError(b"caf\xe9".decode("utf-8", "surrogateescape"))


@leat.step
async def poison() -> None:
    """Takes its runner with it."""
    os.kill(os.getpid(), signal.SIGKILL)


@leat.step
async def occupy(ctx: StepContext, seconds: float = 0.0) -> int:
    """Holds something for ``seconds``, and tells of its beginning and its end."""
    _effect(ctx)
    _tell(f"+ {ctx.key.run_id}")
    await asyncio.sleep(seconds)
    _tell(f"- {ctx.key.run_id}")
    return 1


def _tell(line: str) -> None:
    descriptor = os.open(os.environ["LEAT_TEST_EFFECTS"] + ".held", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)
