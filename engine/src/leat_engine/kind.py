"""The port that every step kind implements. Found by entry point, so that a third party's kind is a package.

A kind is two entry points of the same name: ``leat.specs`` gives the pydantic model of its fields, which `plan`, `lint`
and the operator need; ``leat.kinds`` gives the class that executes it, which only runners import.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Protocol

from pydantic import BaseModel

from leat_engine.job import StepKey
from leat_engine.result import Outcome


class Weight(StrEnum):
    """What a step of the kind mostly costs; decides how many run at once in one runner."""

    IO = "io"
    CPU = "cpu"


@dataclass(frozen=True, slots=True)
class StepContext:
    """What an attempt may know about itself.

    Attributes:
        idempotency_key: The same for all attempts of the step.
        resumed: True when the attempt was parked before and its time has come.
        timeout: Seconds this attempt may take, or None. The runner enforces it by cancelling ``execute``.
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


class Kind(Protocol):
    """Executes the steps of one kind.

    One instance per runner. ``execute`` is cancelled on timeout, cancel and hand-back: it must clean up (kill process
    groups, close connections) and let `asyncio.CancelledError` through. It returns an outcome for what it expects to go
    wrong; an exception that escapes becomes an ``Internal`` error.
    """

    weight: ClassVar[Weight]

    async def execute(self, step: StepContext, fields: BaseModel) -> Outcome:
        """Do the work of one attempt. ``fields`` is the kind's spec model, all expressions evaluated."""
        ...

    async def close(self) -> None:
        """Free what the kind holds; called once, when the runner stops."""
        ...


SpecModels = Mapping[str, type[BaseModel]]
"""Spec models by kind name."""
