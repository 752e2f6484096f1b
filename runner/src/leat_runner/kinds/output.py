"""What may leave a step: JSON values up to a size, the same in memory as after a round trip through the store."""

from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import BaseModel

from leat_engine.kind import Artifacts
from leat_engine.limits import KIB, OUTPUT_BYTES
from leat_engine.result import ErrorType, Failed, Outcome, StepError, Succeeded
from leat_runner.pieces import bytes_source

DETAILS_BYTES = 16 * KIB
"""Bytes of JSON of ``error.details``: they are read in every list of attempts."""


@dataclass(frozen=True, slots=True)
class Large:
    """The JSON of an output that is too large for the store of runs."""

    content: bytes


def succeeded(value: Any) -> Succeeded | Failed:
    """The outcome of a step that produced ``value``: its JSON form, or why it cannot be an output.

    Pydantic models, dataclasses, dates and UUIDs become what they are in JSON. The next step may run in this very
    process, and must not see a tuple or a date where another runner would read a list or a text from the store.
    """
    found = encoded(value)
    return too_large("the output", len(found.content), OUTPUT_BYTES) if isinstance(found, Large) else found


def encoded(value: Any) -> Succeeded | Failed | Large:
    """The same, and the JSON form of a value that is too large."""
    if value is None:
        return Succeeded()
    try:
        content = dumps(value)
    except TypeError as error:
        message = (
            f"the output is not JSON: {error.__cause__ or error}; return null, true, numbers, texts, lists or objects"
        )
        return Failed(StepError(ErrorType.INVALID, message, reason="OutputNotJson", retriable=False))
    return Large(content) if len(content) > OUTPUT_BYTES else Succeeded(orjson.loads(content))


async def put_large(artifacts: Artifacts, outcome: Outcome | Large) -> Outcome:
    """The outcome, with a reference in place of an output that is too large, if there is an artifact store."""
    if not isinstance(outcome, Large):
        return outcome
    if not artifacts.available:
        return too_large("the output", len(outcome.content), OUTPUT_BYTES)
    return Succeeded(await artifacts.put_output(bytes_source(outcome.content), "application/json"))


def too_large(what: str, size: int | None, limit: int) -> Failed:
    """The failure of a value over its limit in bytes; ``size`` is None when reading was given up."""
    found = f"is {size} bytes" if size is not None else "goes on"
    advice = "set LEAT_ARTIFACTS_URL for the runners" if limit == OUTPUT_BYTES else "raise the limit"
    message = (
        f"{what} {found}, over the limit of {limit} bytes; {advice}, or store it elsewhere and pass on its address"
    )
    return Failed(StepError(ErrorType.TOO_LARGE, message, retriable=False, details={"limit": limit}))


def details(value: Any) -> dict[str, Any]:
    """``error.details`` that can be stored. An error must not get lost over its details, so bad ones are left out."""
    try:
        encoded = dumps(value)
    except TypeError as error:
        return {"omitted": f"the details are not JSON: {error.__cause__ or error}"}
    if len(encoded) > DETAILS_BYTES:
        return {"omitted": f"the details are {len(encoded)} bytes, over the limit of {DETAILS_BYTES} bytes"}
    plain = orjson.loads(encoded)
    return plain if isinstance(plain, dict) else {"value": plain}


def dumps(value: Any) -> bytes:
    """JSON of a value. Raises TypeError for what has no JSON form."""
    return orjson.dumps(value, default=_plain, option=orjson.OPT_NON_STR_KEYS)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"a value of type {type(value).__name__} was found")
