"""Messages of steps to AMQP brokers; with `queue/rabbit` the only module that talks to one.

A connection is shared by the steps that name the same broker, user and password. A channel has one message at a time: a
broker answers a mistake by closing the channel, and nobody else's message may be lost with it. At the first doubt a
channel, and after a silence the connection, is dropped and opened anew.
"""

import asyncio
import errno
import ssl
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast
from urllib.parse import quote, urlencode

import aiormq
from aiormq.connection import TransportFactory
from aiormq.exceptions import (
    AuthenticationError,
    ChannelAccessRefused,
    ChannelClosed,
    ChannelNotFoundEntity,
    ConnectionClosed,
    DeliveryError,
    ProbableAuthenticationError,
    PublishError,
)
from yarl import URL

from leat_engine.queue.rabbit.connection import BROKER_ERRORS, CLOSE_TIMEOUT, guarded
from leat_engine.result import ErrorType, StepError
from leat_runner.kinds.address import Address
from leat_runner.kinds.kept import Kept
from leat_runner.kinds.network import PrivateAddress, connected

CONNECT_TIMEOUT = 10.0
HEARTBEAT = 10
"""Seconds, unless the URL says otherwise."""


T = TypeVar("T")


class NotPublished(Exception):
    """The broker did not take the message, or nobody knows. Carries the step's error."""

    def __init__(self, error: StepError) -> None:
        super().__init__(error.message)
        self.error = error


@dataclass(frozen=True, slots=True)
class Message:
    """A message, ready to send."""

    id: str
    body: bytes
    content_type: str
    headers: Mapping[str, Any]
    exchange: str = ""
    routing_key: str = ""
    persistent: bool = True
    mandatory: bool = True


@dataclass(slots=True, eq=False)
class _Broker:
    """One connection, and its channels that carry no message just now."""

    connection: aiormq.Connection
    channels: list[aiormq.Channel] = field(default_factory=list)
    doubtful: bool = False

    @property
    def usable(self) -> bool:
        return not self.doubtful and not self.connection.is_closed

    async def channel(self) -> aiormq.Channel:
        """A channel that nobody else uses, with confirms."""
        while self.channels:
            if not (channel := self.channels.pop()).is_closed:
                return channel
        opened = await self.asked(self.connection.channel(publisher_confirms=True, on_return_raises=True))
        return cast("aiormq.Channel", opened)

    async def asked(self, call: Awaitable[T]) -> T:
        """Await a call of the client, which does not always notice that its connection was lost meanwhile.

        Raises:
            ConnectionResetError: It was.
        """
        task = asyncio.ensure_future(guarded(call))
        try:
            await asyncio.wait({task, self.connection.closing}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise ConnectionResetError(errno.ECONNRESET, "the connection was lost meanwhile")
            return task.result()
        finally:
            task.cancel()


class Brokers:
    """Publishes to any broker.

    Args:
        public_only: Whether brokers in private networks are out of reach.
    """

    def __init__(self, *, public_only: bool) -> None:
        self._public_only = public_only
        self._kept: Kept[Address, _Broker] = Kept(self._open, _close, lambda broker: broker.usable)

    async def publish(self, address: Address, message: Message) -> None:
        """Return when the broker has confirmed the message. How long that may take is the caller's to say.

        Raises:
            NotPublished: It has not.
        """
        try:
            async with self._kept.lent(address) as broker:
                await _publish(broker, message)
        except PublishError as error:
            raise NotPublished(_unroutable(address, message)) from error
        except DeliveryError as error:
            text = f"{address} did not take the message: a queue is full, or has no leader"
            raise NotPublished(StepError(ErrorType.BROKER, text, reason="NotAccepted")) from error
        except ChannelClosed as error:
            raise NotPublished(_refused(address, message, error)) from error
        except BROKER_ERRORS as error:
            raise NotPublished(_away(address, error)) from error

    async def close(self) -> None:
        """Close the connections."""
        await self._kept.close()

    async def _open(self, address: Address) -> _Broker:
        connection = aiormq.Connection(_url(address), transport_factory=_Transport(public_only=self._public_only))
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await guarded(connection.connect())
        except BaseException:
            await _end(connection)
            raise
        return _Broker(connection)


class _Transport(TransportFactory):
    """Connects to where the guard of the private network lets it."""

    def __init__(self, *, public_only: bool) -> None:
        self._public_only = public_only

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host = url.host or ""
        sock = await connected(host, url.port or 0, guarded=self._public_only)
        if url.scheme != "amqps":
            return await asyncio.open_connection(sock=sock)
        context: ssl.SSLContext = await kwargs["ssl_context_provider"].get_context()
        return await asyncio.open_connection(sock=sock, ssl=context, server_hostname=host)


async def _publish(broker: _Broker, message: Message) -> None:
    channel = await broker.channel()
    try:
        await broker.asked(
            channel.basic_publish(
                message.body,
                exchange=message.exchange,
                routing_key=message.routing_key,
                properties=_properties(message),
                mandatory=message.mandatory,
            )
        )
    except DeliveryError:  # settled: the broker said no
        broker.channels.append(channel)
        raise
    except BaseException as error:
        # Nobody knows what the broker made of it, and a silent one may be gone: the next step connects anew.
        broker.doubtful |= not isinstance(error, ChannelClosed)
        raise
    broker.channels.append(channel)


def _properties(message: Message) -> aiormq.spec.Basic.Properties:
    return aiormq.spec.Basic.Properties(
        message_id=message.id,
        content_type=message.content_type,
        headers=dict(message.headers),
        delivery_mode=2 if message.persistent else 1,
    )


async def _close(broker: _Broker) -> None:
    await _end(broker.connection)


async def _end(connection: aiormq.Connection) -> None:
    await guarded(connection.close(ConnectionClosed(200, "closed by us"), timeout=CLOSE_TIMEOUT))


def _url(address: Address) -> URL:
    given = dict(address.query)
    given.setdefault("heartbeat", str(HEARTBEAT))
    return URL.build(
        scheme=address.scheme,
        user=_quoted(address.username),
        password=_quoted(address.password),
        host=address.host,
        port=address.port,
        path=address.path or "/",
        query_string=urlencode(given),
        encoded=True,
    )


def _quoted(text: str | None) -> str | None:
    return None if text is None else quote(text, safe="")


def _unroutable(address: Address, message: Message) -> StepError:
    text = (
        f"{address} has no queue for a message to exchange '{message.exchange}' with routing key "
        f"'{message.routing_key}'; bind one, or let it be dropped by `mandatory: false`"
    )
    return StepError(ErrorType.BROKER, text, reason="Unroutable", retriable=False)


def _refused(address: Address, message: Message, error: ChannelClosed) -> StepError:
    match error:
        case ChannelNotFoundEntity():
            text = f"{address} has no exchange '{message.exchange}'; declare it first"
            return StepError(ErrorType.BROKER, text, reason="NoSuchExchange", retriable=False)
        case ChannelAccessRefused():
            text = f"{address} does not let this user publish to exchange '{message.exchange}'"
            return StepError(ErrorType.BROKER, text, reason="AccessRefused", retriable=False)
        case _:
            text = f"{address} refused the message: {error.args[-1] if error.args else type(error).__name__}"
            return StepError(ErrorType.BROKER, text, reason="Refused", retriable=False)


def _away(address: Address, error: BaseException) -> StepError:
    match error:
        case PrivateAddress() as refused:
            return _connection(address, str(refused.strerror), "PrivateNetwork", retriable=False)
        case ProbableAuthenticationError() | AuthenticationError():
            text = "it does not know this user with this password, or the virtual host is not there for it"
            return _connection(address, text, "NotLoggedIn", retriable=False)
        case ssl.SSLError():
            return _connection(address, f"TLS: {error.reason}", "Tls")
        case TimeoutError():
            return _connection(address, f"no connection within {CONNECT_TIMEOUT:g} s", "NotConnected")
        case _:
            return _connection(address, getattr(error, "strerror", None) or repr(error), "ConnectionLost")


def _connection(address: Address, cause: str, reason: str, *, retriable: bool = True) -> StepError:
    return StepError(ErrorType.CONNECTION, f"{address} did not confirm: {cause}", reason=reason, retriable=retriable)
