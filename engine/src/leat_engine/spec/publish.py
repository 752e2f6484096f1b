"""The fields of the `publish` kind: a message to a broker. Each broker is a field, of which a step has one."""

from typing import Annotated, Any, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from leat_engine.spec.brokers import EXAMPLE, check_topic
from leat_engine.spec.kinds import Outward, Text
from leat_engine.spec.model import Model
from leat_engine.spec.places import check_scheme, is_written

ShortText = Annotated[str, Field(max_length=255)]


class Amqp(Model):
    """A message by AMQP 0-9-1, such as RabbitMQ speaks."""

    url: Annotated[str, Field(min_length=1, max_length=8192)]
    """The broker and the virtual host: `amqps://HOST/VHOST`; `amqp://` sends in clear text."""
    username: str | None = None
    """Who connects, instead of the URL's user."""
    password: str | None = None
    """The password, instead of the URL's; here its characters need no escaping."""
    exchange: ShortText = ""
    """The exchange, which exists; the default exchange, which leads to the queue that `routingKey` names, if empty."""
    routing_key: ShortText = ""
    """The routing key."""
    body: Any = None
    """The message: text is sent as it is, anything else as JSON."""
    headers: Annotated[dict[ShortText, Text], Field(max_length=256)] = Field(default_factory=dict)
    """Headers by name."""
    content_type: ShortText | None = None
    """Content type; that of the body unless stated: `application/json`, or `text/plain` for text."""
    persistent: bool = True
    """Whether the broker keeps the message on disk where the queue does."""
    mandatory: bool = True
    """Whether a message that no queue takes is an error. With false it is dropped without a word."""

    @field_validator("url")
    @classmethod
    def _leads_to_a_broker(cls, url: str, info: ValidationInfo) -> str:
        return check_scheme(url, ("amqp", "amqps"), "amqps://HOST/VHOST") if is_written(info) else url


class Kafka(Model):
    """A record of a Kafka topic."""

    url: Annotated[str, Field(min_length=1, max_length=8192)]
    """The brokers, any of which knows the others: `kafkas://HOST:9092,HOST:9092`; `kafka://` sends in clear text. Who
    logs in does so by SCRAM-SHA-512 unless the URL ends with `?mechanism=PLAIN` or `SCRAM-SHA-256`."""
    username: str | None = None
    """Who logs in, instead of the URL's user."""
    password: str | None = None
    """The password, instead of the URL's; here its characters need no escaping."""
    topic: Annotated[str, Field(min_length=1, max_length=249)]
    """The topic, which exists."""
    key: Any = None
    """The key, by which Kafka chooses the partition: text is sent as it is, anything else as JSON; none with null."""
    value: Any = None
    """The value: text is sent as it is, anything else as JSON; null is a tombstone, and needs a key."""
    headers: Annotated[dict[ShortText, Text], Field(max_length=256)] = Field(default_factory=dict)
    """Headers by name."""

    @field_validator("url")
    @classmethod
    def _leads_to_brokers(cls, url: str, info: ValidationInfo) -> str:
        return check_scheme(url, ("kafka", "kafkas"), EXAMPLE) if is_written(info) else url

    @field_validator("topic")
    @classmethod
    def _can_be_there(cls, topic: str, info: ValidationInfo) -> str:
        return check_topic(topic) if is_written(info) and "${" not in topic else topic


class Publish(Model):
    """Publishes a message and waits until the broker has confirmed it.

    The output is `{messageId}`, and with Kafka also `topic`, `partition` and `offset`. The id of the message is the
    idempotency key of the step, the same for all its attempts, by which a consumer drops what came twice; with Kafka it
    is the header `idempotency-key`. More, with errors: docs/how-to/databases-brokers-mail.md.
    """

    amqp: Annotated[Amqp | None, Outward()] = None
    """A message to an AMQP broker; this or `kafka`."""
    kafka: Annotated[Kafka | None, Outward()] = None
    """A record to a Kafka topic; this or `amqp`."""

    @model_validator(mode="after")
    def _one_broker(self) -> Self:
        if (self.amqp is None) == (self.kafka is None):
            raise ValueError("expected exactly one of `amqp` and `kafka`")
        return self
