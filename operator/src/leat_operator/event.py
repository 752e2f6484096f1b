"""From a message of a queue, or a record of a topic, to what expressions read as ``event``. Pure."""

from base64 import b64encode
from typing import Any

import orjson

from leat_engine import limits
from leat_engine.errors import Reason, Rejected
from leat_engine.kafka.record import Record
from leat_engine.queue.rabbit import Message
from leat_engine.trigger import written


def event_of(message: Message | Record) -> dict[str, Any]:
    """What expressions read as ``event``.

    Raises:
        Rejected: It is too large, or neither JSON nor text.
    """
    if isinstance(message, Record):
        return {
            "id": message.id,
            "key": _text(message.key),
            "value": None if message.value is None else _value(message.value, "event.value"),
            "headers": {name: _text(value) for name, value in message.headers.items()},
            "topic": message.topic,
            "partition": message.partition,
            "offset": message.offset,
            "timestamp": written(message.timestamp),
        }
    return {
        "id": message.id,
        "body": _value(message.body, "event.body", message.content_type),
        "headers": dict(message.headers),
        "routingKey": message.routing_key,
        "exchange": message.exchange,
        "contentType": message.content_type,
        "timestamp": None if message.timestamp is None else written(message.timestamp),
    }


def _text(value: bytes | None) -> str | None:
    """Text, or what is none in base64."""
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return b64encode(value).decode()


def _value(value: bytes, path: str, content_type: str = "") -> Any:
    """JSON if it is that, else text."""
    if len(value) > limits.EVENT_BYTES:
        found = f"is {len(value)} bytes, expected at most {limits.EVENT_BYTES}"
        raise Rejected([Reason(path, f"{found}: keep what is large elsewhere, and send where it is")])
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError as error:
        if "json" in content_type:
            raise Rejected([Reason(path, f"is no JSON, as its content type says: {error}")]) from error
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise Rejected([Reason(path, "is neither JSON nor text in UTF-8")]) from error
