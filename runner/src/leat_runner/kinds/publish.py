"""publish: one message to a broker, confirmed by it. Its id is the step's idempotency key."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from leat_engine.kind import StepContext, Weight
from leat_engine.limits import OUTPUT_BYTES
from leat_engine.result import ErrorType, Failed, Outcome, StepError
from leat_engine.spec.brokers import Brokers as KafkaBrokers
from leat_engine.spec.publish import Amqp, Publish
from leat_runner.kinds.address import Address, BadAddress, Rule, address_of
from leat_runner.kinds.amqp import Brokers, Message, NotPublished
from leat_runner.kinds.output import succeeded, too_large
from leat_runner.kinds.record import BadMessage, Record, brokers_at, encoded, record_of
from leat_runner.kinds.setup import KindSetup

if TYPE_CHECKING:
    from leat_runner.kinds.kafka import Clusters

CONFIRM_TIMEOUT = 30.0
"""Seconds for steps without a ``timeout``, to connect and be confirmed."""

SHORT = 255
"""Bytes of a name on the wire."""

RULE = Rule("publish.amqp.url", {"amqp": 5672, "amqps": 5671}, "amqps://HOST/VHOST", frozenset({"cafile", "heartbeat"}))

Addressed = tuple[str, int, Callable[[], Awaitable[dict[str, Any]]]]


class PublishKind:
    """Publishes messages."""

    weight: ClassVar[Weight] = Weight.IO

    def __init__(self, setup: KindSetup) -> None:
        self._public_only = not setup.settings.http_private_networks
        self._brokers = Brokers(public_only=self._public_only)
        self._clusters: Clusters | None = None

    async def execute(self, step: StepContext, fields: Publish) -> Outcome:
        """Publish the message once, and succeed when the broker has confirmed it."""
        try:
            to, size, publish = self._addressed(step, fields)
        except (BadAddress, BadMessage) as error:
            return Failed(StepError(ErrorType.INVALID, str(error), retriable=False))
        if size > OUTPUT_BYTES:
            return too_large("the message", size, OUTPUT_BYTES)
        try:
            # A step with a timeout is cut by the runner.
            async with asyncio.timeout(CONFIRM_TIMEOUT if step.timeout is None else None):
                return succeeded(await publish())
        except NotPublished as error:
            return Failed(error.error)
        except TimeoutError:
            text = f"{to} did not confirm within {CONFIRM_TIMEOUT:g} s; the message may have arrived"
            return Failed(StepError(ErrorType.TIMEOUT, text))

    async def close(self) -> None:
        """Close the connections."""
        await self._brokers.close()
        if self._clusters is not None:
            await self._clusters.close()

    def _addressed(self, step: StepContext, fields: Publish) -> Addressed:
        """Where the message goes, its bytes, and how it gets there.

        Raises:
            BadAddress, BadMessage: The fields say nothing that can be sent.
        """
        if fields.kafka is not None:
            brokers, record = brokers_at(fields.kafka), record_of(step, fields.kafka)
            size = len(record.key or b"") + len(record.value or b"")
            return str(brokers), size, partial(self._to_kafka, brokers, record)
        if fields.amqp is None:
            raise AssertionError("the model has exactly one broker")
        amqp = fields.amqp
        address = address_of(RULE, amqp.url, amqp.username, amqp.password)
        message = message_of(step, amqp)
        return str(address), len(message.body), partial(self._to_amqp, address, message)

    async def _to_amqp(self, address: Address, message: Message) -> dict[str, Any]:
        await self._brokers.publish(address, message)
        return {"messageId": message.id}

    async def _to_kafka(self, brokers: KafkaBrokers, record: Record) -> dict[str, Any]:
        if self._clusters is None:
            from leat_runner.kinds.kafka import Clusters  # noqa: PLC0415  12 MB that few runners need

            self._clusters = Clusters(public_only=self._public_only)
        place = await self._clusters.publish(brokers, record)
        return {"messageId": record.id, "topic": record.topic, "partition": place.partition, "offset": place.offset}


def message_of(step: StepContext, fields: Amqp) -> Message:
    """The message of a step.

    Raises:
        BadMessage: A field has no form on the wire.
    """
    for name, text in (("exchange", fields.exchange), ("routingKey", fields.routing_key)):
        _check(f"publish.amqp.{name}", text)
    for name in fields.headers:
        _check(f"publish.amqp.headers[{name!r}]", name)
    body, content_type = encoded(fields.body)
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
