"""publish: one message to a broker, confirmed by it. Its id is the step's idempotency key."""

import asyncio
from typing import Any, ClassVar

import orjson

from leat_engine.kind import StepContext, Weight
from leat_engine.limits import OUTPUT_BYTES
from leat_engine.result import ErrorType, Failed, Outcome, StepError
from leat_engine.spec.publish import Amqp, Publish
from leat_runner.kinds.address import Address, BadAddress, Rule, address_of
from leat_runner.kinds.amqp import Brokers, Message, NotPublished
from leat_runner.kinds.output import succeeded, too_large
from leat_runner.kinds.setup import KindSetup

CONFIRM_TIMEOUT = 30.0
"""Seconds for steps without a ``timeout``, to connect and be confirmed."""

SHORT = 255
"""Bytes of a name on the wire."""

RULE = Rule("publish.amqp.url", {"amqp": 5672, "amqps": 5671}, "amqps://HOST/VHOST", frozenset({"cafile", "heartbeat"}))


class PublishKind:
    """Publishes messages."""

    weight: ClassVar[Weight] = Weight.IO

    def __init__(self, setup: KindSetup) -> None:
        self._brokers = Brokers(public_only=not setup.settings.http_private_networks)

    async def execute(self, step: StepContext, fields: Publish) -> Outcome:
        """Publish the message once, and succeed when the broker has confirmed it."""
        try:
            address = address_of(RULE, fields.amqp.url, fields.amqp.username, fields.amqp.password)
            message = message_of(step, fields.amqp)
        except (BadAddress, BadMessage) as error:
            return Failed(StepError(ErrorType.INVALID, str(error), retriable=False))
        if len(message.body) > OUTPUT_BYTES:
            return too_large("the message", len(message.body), OUTPUT_BYTES)
        try:
            await self._published(step, address, message)
        except NotPublished as error:
            return Failed(error.error)
        except TimeoutError:
            text = f"{address} did not confirm within {CONFIRM_TIMEOUT:g} s; the message may have arrived"
            return Failed(StepError(ErrorType.TIMEOUT, text))
        return succeeded({"messageId": message.id})

    async def close(self) -> None:
        """Close the connections."""
        await self._brokers.close()

    async def _published(self, step: StepContext, address: Address, message: Message) -> None:
        # A step with a timeout is cut by the runner.
        async with asyncio.timeout(CONFIRM_TIMEOUT if step.timeout is None else None):
            await self._brokers.publish(address, message)


class BadMessage(Exception):
    """The fields cannot be sent. The message names the field, never its value."""


def message_of(step: StepContext, fields: Amqp) -> Message:
    """The message of a step.

    Raises:
        BadMessage: A field has no form on the wire.
    """
    for name, text in (("exchange", fields.exchange), ("routingKey", fields.routing_key)):
        _check(f"publish.amqp.{name}", text)
    for name in fields.headers:
        _check(f"publish.amqp.headers[{name!r}]", name)
    body, content_type = _body(fields.body)
    headers: dict[str, Any] = {"traceparent": step.traceparent} if step.traceparent else {}
    return Message(
        id=step.idempotency_key,
        body=body,
        content_type=fields.content_type or content_type,
        headers=headers | fields.headers,
        exchange=fields.exchange,
        routing_key=fields.routing_key,
        persistent=fields.persistent,
        mandatory=fields.mandatory,
    )


def _check(path: str, text: str) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise BadMessage(f"{path}: is no valid text") from error
    if size > SHORT:
        raise BadMessage(f"{path}: is {size} bytes, and AMQP takes {SHORT}")


def _body(value: Any) -> tuple[bytes, str]:
    if isinstance(value, str):
        return value.encode(errors="replace"), "text/plain; charset=utf-8"
    return orjson.dumps(value), "application/json"
