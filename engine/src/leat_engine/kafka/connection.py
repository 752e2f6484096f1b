"""Connections to Kafka's brokers, made so that it is known why one could not be made.

A client connects by itself, from tasks of its own, to whatever addresses a broker gives it, and tells no more than that
it could not. So the one function by which all its connections are made is ours.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import aiokafka.client
import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import (
    AuthenticationFailedError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from leat_engine.spec.brokers import Brokers

KAFKA_ERRORS = (KafkaError, OSError, TimeoutError)
"""What the client raises when a broker refuses, goes away or is silent."""
LOGIN_ERRORS = (AuthenticationFailedError, SaslAuthenticationFailed, UnsupportedSaslMechanismError)

# The client logs each failed attempt. Whoever uses it says the same once, in one line.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)

CLOSE_TIMEOUT = 2.0

_ends: set[asyncio.Task[None]] = set()

log = structlog.get_logger(__name__)

Wrap = Callable[[asyncio.AbstractEventLoop], Any]


@dataclass(slots=True)
class Way:
    """How the connections of one client are made, and what came of the last one.

    Attributes:
        wrap: Gives the loop that connects: a guard may stand before it. None for the loop as it is.
        trouble: Why the last attempt to connect failed; None if it did not.
    """

    wrap: Wrap | None = None
    trouble: BaseException | None = None


_way: ContextVar[Way] = ContextVar("way")


@contextmanager
def connecting(way: Way) -> Iterator[None]:
    """Have the client's connections of this block, and of the tasks that it starts in it, made in this way."""
    token = _way.set(way)
    try:
        yield
    finally:
        _way.reset(token)


def client_settings(brokers: Brokers, *, timeout: float) -> dict[str, Any]:
    """What a client of these brokers is made with. ``timeout``: seconds for a connection, and for an answer.

    Raises:
        OSError: There is no such file of certificates, or it holds none.
    """
    protocol = ("SASL_" if brokers.mechanism else "") + ("SSL" if brokers.tls else "PLAINTEXT")
    context = ssl.create_default_context(cafile=brokers.cafile) if brokers.tls else None
    return {
        "bootstrap_servers": list(brokers.servers),
        "client_id": "leat",
        "request_timeout_ms": int(timeout * 1000),
        "security_protocol": protocol,
        "ssl_context": context,
        "sasl_mechanism": brokers.mechanism or "PLAIN",
        "sasl_plain_username": brokers.username,
        "sasl_plain_password": brokers.password,
    }


async def end(closing: Coroutine[Any, Any, None]) -> None:
    """Close a client, and wait for it for a while: with brokers that are silent a goodbye takes its time."""
    task = asyncio.ensure_future(_ended(closing))
    _ends.add(task)
    task.add_done_callback(_ends.discard)
    await asyncio.wait({task}, timeout=CLOSE_TIMEOUT)


async def leave(consumer: AIOKafkaConsumer) -> None:
    """Take a consumer out of its group, and close it whatever comes of that."""
    try:
        await consumer.stop()
    finally:  # a fetch that is under way ends the client's own way halfway
        await consumer._client.close()  # noqa: SLF001


async def cut(producer: AIOKafkaProducer) -> None:
    """Close a producer at once. What it has not delivered is given up: whoever waits for it has been told, or is now.

    The client's own way delivers first, for which an idempotent producer tries for ever while the brokers are away.
    """
    producer._closed = True  # noqa: SLF001  as all the rest here: there is no other way to it
    client = producer.client
    closing = asyncio.ensure_future(producer._sender.close())  # noqa: SLF001
    await client.close()  # ends the requests that are under way
    while not closing.done():
        update = client._md_update_fut  # noqa: SLF001
        if update is not None and not update.done():
            update.set_result(False)  # whoever waits for it would wait for ever: who makes updates has ended
        await asyncio.wait({closing}, timeout=0.05)
    producer._message_accumulator.fail_all(KafkaConnectionError("closed by us"))  # noqa: SLF001
    await client.close()  # of what was connected anew meanwhile


def cause(error: BaseException) -> str:
    """Why it went wrong, in a few words without an address."""
    match error:
        case UnsupportedSaslMechanismError():
            return f"it does not take this mechanism of SASL: {_text(error)}"
        case AuthenticationFailedError() | SaslAuthenticationFailed():
            return "it does not know this user with this password"
        case ssl.SSLError():
            return f"TLS: {error.reason}"
        case TimeoutError():
            return "it says nothing"
        case ConnectionRefusedError():
            return "it refuses connections"
        case KafkaConnectionError() | ConnectionError():
            return "the connection was closed; a broker that expects TLS, or somebody who logs in, does so at once"
        case OSError():
            return error.strerror or repr(error)
        case _:
            return _text(error)


def _text(error: BaseException) -> str:
    return str(error.args[-1]) if error.args else type(error).__name__


async def _ended(closing: Coroutine[Any, Any, None]) -> None:
    try:
        await closing
    except Exception as error:  # noqa: BLE001  it is gone either way
        log.debug("Kafka client did not close cleanly", error=repr(error))


async def _connect(host: str, port: int, **settings: Any) -> AIOKafkaConnection:
    """In place of the client's function of the same signature."""
    way = _way.get()
    connection = AIOKafkaConnection(host, port, **settings)
    if way.wrap is not None:
        connection._loop = way.wrap(connection._loop)  # noqa: SLF001  it asks no one else for its socket
    try:
        await connection.connect()
    except KAFKA_ERRORS as error:
        way.trouble = error
        raise
    way.trouble = None
    return connection


aiokafka.client.create_conn = _connect
