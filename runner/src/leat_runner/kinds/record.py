"""From the fields of a step to a record for Kafka. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from leat_engine.kind import StepContext
from leat_engine.spec.brokers import CAFILE, MECHANISM, Brokers, brokers_of, check_topic
from leat_engine.spec.kinds import Text
from leat_engine.spec.publish import Kafka
from leat_runner.kinds.address import BadAddress

IDEMPOTENCY_KEY = "idempotency-key"
"""The header of a record that has the id of the message."""


@dataclass(frozen=True, slots=True)
class Record:
    """A record, ready to send."""

    id: str
    topic: str
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record is now."""

    partition: int
    offset: int


class BadMessage(Exception):
    """The fields cannot be sent. The message names the field, never its value."""


def brokers_at(fields: Kafka) -> Brokers:
    """Where the record goes.

    Raises:
        BadAddress: Nowhere.
    """
    try:
        return brokers_of(fields.url, fields.username, fields.password, parameters=(MECHANISM, CAFILE))
    except ValueError as error:
        raise BadAddress(f"publish.kafka.url: {error}") from error


def record_of(step: StepContext, fields: Kafka) -> Record:
    """The record of a step.

    Raises:
        BadMessage: A field has no form on the wire.
    """
    try:
        topic = check_topic(fields.topic)
    except ValueError as error:
        raise BadMessage(f"publish.kafka.topic: {error}") from error
    if fields.key is None and fields.value is None:
        raise BadMessage("publish.kafka.value: is null, which is a tombstone, and needs `key`")
    headers = {"traceparent": step.traceparent} if step.traceparent else {}
    texts = headers | {name: _text(value) for name, value in fields.headers.items()}
    return Record(
        id=step.idempotency_key,
        topic=topic,
        key=None if fields.key is None else encoded(fields.key)[0],
        value=None if fields.value is None else encoded(fields.value)[0],
        headers={
            _checked(f"publish.kafka.headers[{name!r}]", name): value.encode(errors="replace")
            for name, value in (texts | {IDEMPOTENCY_KEY: step.idempotency_key}).items()
        },
    )


def _text(value: Text) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _checked(path: str, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadMessage(f"{path}: is no valid text") from error
    return text


def encoded(value: Any) -> tuple[bytes, str]:
    """What is sent for a value, and its content type."""
    if isinstance(value, str):
        return value.encode(errors="replace"), "text/plain; charset=utf-8"
    return orjson.dumps(value), "application/json"
