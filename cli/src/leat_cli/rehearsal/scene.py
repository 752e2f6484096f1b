"""What a run is played with, and what it is told from outside. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from leat_cli.order import Order
from leat_cli.rehearsal.cast import Cast, Secrets
from leat_cli.rehearsal.score import spent
from leat_engine.waits import Signal, Waiting


@dataclass(frozen=True, slots=True)
class Cue:
    """What happens to the run from outside. Seconds since it began.

    Attributes:
        after: When it is sent; None: as soon as a step waits for it.
        signal: None cancels the run.
    """

    after: float | None
    signal: Signal | None


@dataclass(frozen=True, slots=True)
class Scene:
    """What a run is played with."""

    order: Order
    cast: Cast
    secrets: Secrets
    started_at: datetime
    cues: Sequence[Cue] = ()
    functions: Sequence[str] = ()


def unsent(cue: Cue) -> str:
    """Why something was never sent."""
    what = "the cancel" if cue.signal is None else f"what is told of {cue.signal.name or 'an approval'!r}"
    if cue.after is None:
        return f"nobody waited for {what}: mend the name, or leave it out"
    return f"the run was over before {what} came, {spent(cue.after)} after its beginning"


def meant(signal: Signal, waiting: Waiting) -> bool:
    """Whether a step waits for this."""
    return (signal.approve is not None) == waiting.approval and signal.name in {"", waiting.name}
