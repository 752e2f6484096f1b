"""Messages of other people's queues, one by one, each settled when it has been dealt with.

Nothing is declared here: the queue is its owner's. What is not settled goes back to it with the session.
"""

from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

from aiormq import Channel
from aiormq.abc import DeliveredMessage
from yarl import URL

from leat_engine.queue.rabbit.connection import Link, Session
from leat_engine.queue.rabbit.topology import RPC_TIMEOUT
from leat_engine.trigger import Fate

PORTS = {"amqp": 5672, "amqps": 5671}


@dataclass(frozen=True, slots=True)
class Message:
    """A message. ``id`` is what its publisher called it, or None; ``timestamp`` is the publisher's too."""

    id: str | None
    body: bytes
    headers: Mapping[str, Any]
    routing_key: str
    exchange: str
    content_type: str
    timestamp: datetime | None


class Events:
    """Consumes one queue, anew on every reconnect, at most ``prefetch`` messages at a time.

    ``handle`` takes as long as it needs; when it fails, the message goes back to the queue with all that are unsettled.
    """

    def __init__(self, url: str, queue: str, *, prefetch: int, handle: Callable[[Message], Awaitable[Fate]]) -> None:
        parsed = URL(url)
        if parsed.port is None:
            parsed = parsed.with_port(PORTS.get(parsed.scheme, PORTS["amqp"]))
        self._queue = queue
        self._prefetch = prefetch
        self._handle = handle
        self._link: Link[None] = Link(parsed, self._subscribe)

    @property
    def away(self) -> str | None:
        """Why nothing is consumed at the moment; None while something is."""
        return None if self._link.live is not None else self._link.away

    def start(self) -> None:
        """Begin."""
        self._link.start()

    async def close(self) -> None:
        """Give back what is not settled, and disconnect."""
        await self._link.close()

    async def _subscribe(self, session: Session) -> None:
        channel = await session.channel(confirms=False)
        channel.on_consumer_cancel_callbacks.add(lambda _: session.lose("the broker cancelled the consumer"))
        await channel.basic_qos(prefetch_count=self._prefetch, timeout=RPC_TIMEOUT)
        await channel.basic_consume(self._queue, partial(self._deliver, session, channel), timeout=RPC_TIMEOUT)

    async def _deliver(self, session: Session, channel: Channel, delivered: DeliveredMessage) -> None:
        session.run(self._settle(session, channel, delivered))  # the client would cancel a callback that takes long

    async def _settle(self, session: Session, channel: Channel, delivered: DeliveredMessage) -> None:
        tag = delivered.delivery_tag
        fate = await self._handle(message_of(delivered))
        if tag is None or not session.alive:  # it has gone back to the queue already
            return
        if fate is Fate.DONE:
            await channel.basic_ack(tag, wait=False)
        else:
            await channel.basic_reject(tag, requeue=False, wait=False)


def message_of(delivered: DeliveredMessage) -> Message:
    """What the client delivered, as values."""
    properties = delivered.header.properties
    return Message(
        id=properties.message_id or None,
        body=bytes(delivered.body),
        headers={key: plain(value) for key, value in (properties.headers or {}).items()},
        routing_key=delivered.routing_key or "",
        exchange=delivered.exchange or "",
        content_type=properties.content_type or "",
        timestamp=properties.timestamp,
    )


def plain(value: Any) -> Any:
    """A header's value as JSON has it: what AMQP knows beyond that becomes text."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case bytes() | bytearray():
            try:
                return bytes(value).decode()
            except UnicodeDecodeError:
                return b64encode(value).decode()
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case datetime():
            return value.replace(tzinfo=value.tzinfo or UTC).isoformat()
        case date():
            return value.isoformat()
        case _:
            return str(value)
