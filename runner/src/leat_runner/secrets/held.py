"""What the process holds of secrets right now, and the masks for all that leaves an attempt and goes to the log."""

from collections import Counter
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from leat_engine.redaction import Redactor
from leat_engine.result import Failed, Outcome, Parked, StepError, Succeeded

NOTHING = Redactor(())
"""Masks nothing: for steps without secrets."""

_HELD: Counter[Redactor] = Counter()
"""Of the attempts that run in this process. Their log lines come from tasks and threads that know nothing of them."""


@contextmanager
def holding(redactor: Redactor) -> Iterator[None]:
    """Mask the secrets in every line that this process logs inside the block."""
    _HELD[redactor] += 1
    try:
        yield
    finally:
        _HELD[redactor] -= 1
        if not _HELD[redactor]:
            del _HELD[redactor]


def mask_held(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The processor that takes out of a log line what is held."""
    for redactor in tuple(_HELD):  # threads log too, while the loop begins and ends attempts
        for name, value in event.items():
            event[name] = redactor.details(value)
    return event


def masked(outcome: Outcome, redactor: Redactor) -> Outcome:
    """The outcome of an attempt without its secrets."""
    match outcome:
        case Succeeded(output, artifacts):
            return Succeeded(redactor.value(output), artifacts)
        case Failed(error):
            return Failed(_masked(error, redactor))
        case Parked():
            return outcome


def _masked(error: StepError, redactor: Redactor) -> StepError:
    return replace(
        error,
        type=redactor.text(error.type),
        reason=redactor.text(error.reason),
        message=redactor.text(error.message),
        details=redactor.details(error.details),
    )
