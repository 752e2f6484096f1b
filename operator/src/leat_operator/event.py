"""From a message to what expressions read as ``event``. Pure."""

from typing import Any

import orjson

from leat_engine import limits
from leat_engine.errors import Reason, Rejected
from leat_engine.queue.rabbit import Message
from leat_engine.trigger import written


def event_of(message: Message) -> dict[str, Any]:
    """What expressions read as ``event``.

    Raises:
        Rejected: It is too large, or neither JSON nor text.
    """
    if len(message.body) > limits.EVENT_BYTES:
        found = f"is {len(message.body)} bytes, expected at most {limits.EVENT_BYTES}"
        raise Rejected([Reason("event.body", f"{found}: keep what is large elsewhere, and send where it is")])
    return {
        "id": message.id,
        "body": _body(message),
        "headers": dict(message.headers),
        "routingKey": message.routing_key,
        "exchange": message.exchange,
        "contentType": message.content_type,
        "timestamp": None if message.timestamp is None else written(message.timestamp),
    }


def _body(message: Message) -> Any:
    """JSON if it is that, else text."""
    try:
        return orjson.loads(message.body)
    except orjson.JSONDecodeError as error:
        if "json" in message.content_type:
            raise Rejected([Reason("event.body", f"is no JSON, as its content type says: {error}")]) from error
    try:
        return message.body.decode()
    except UnicodeDecodeError as error:
        raise Rejected([Reason("event.body", "is neither JSON nor text in UTF-8")]) from error
